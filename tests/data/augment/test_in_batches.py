"""All augmentations at once, inside tf.data: to the pixel, as by hand, and the same after a restart."""

from pathlib import Path

import numpy as np
import pytest

from segtrain.data import Blur, ColorJitter, CopyPaste, CutMix, Cutout, Noise, Sample, ScaleCropFlip
from segtrain.data.loading.batch_loader import BatchLoader
from segtrain.data.loading.batches import training_batches
from segtrain.data.loading.crops import Crops

pytestmark = pytest.mark.tensorflow

VOID, SIDE, CROP = 255, 15, (24, 32)
SAMPLES = [Sample(f"{number}", Path(f"{number}.jpg"), Path(f"{number}.png")) for number in range(6)]


def read(sample, reduction=1):
    """15 x 15 pixels, each with a label of its own: red is 16 times its column, green 16 times its row."""
    rows, columns = np.indices((SIDE, SIDE), np.uint8)
    image = np.stack([16 * columns, 16 * rows, np.full_like(rows, 40 * int(sample.name))], -1)
    return image, SIDE * rows + columns


def moved(**steps):
    """Everything that moves pixels, and nothing that changes their colors."""
    mixing = {"cut_mix": CutMix(0.4), "copy_paste": CopyPaste(VOID, probability=0.4), "cutout": Cutout(VOID)}
    turned = {"vertical_flip": 0.3, "rotate": 45, "max_class_share": 0.9, "class_balanced": 0.5}
    return ScaleCropFlip(CROP, VOID, (), scale=(0.6, 4), steps=mixing | steps, **turned)


def strong():
    return moved(color=ColorJitter(hue=0.2), blur=Blur(), noise=Noise())


def loader(augment, workers=2):
    return BatchLoader(Crops(SAMPLES, read, augment, crop_size=CROP, batch_size=2, seed=3), workers=workers)


def test_image_and_labels_move_together_to_the_pixel_inside_tf_data():
    # Nearest is half a pixel off at most, rounding a level 1/32 and OpenCV's positions another. At the rim of an image
    # its colors run into the padding's.
    seen = np.zeros(len(SAMPLES), int)
    for images, labels in training_batches(loader(moved()), 0, 60):
        image, ids = images.numpy().astype(float), labels.numpy()
        rows, columns = np.divmod(ids.astype(int), SIDE)
        inner = (ids != VOID) & (rows > 0) & (rows < SIDE - 1) & (columns > 0) & (columns < SIDE - 1)
        assert np.abs(image[..., 0] / 16 - columns)[inner].max() <= 0.5 + 1 / 32 + 1 / 32
        assert np.abs(image[..., 1] / 16 - rows)[inner].max() <= 0.5 + 1 / 32 + 1 / 32
        seen += [int((image[..., 2][inner] == 40 * number).any()) for number in range(len(SAMPLES))]
    # 120 crops: of 6 samples 20 each, and with those that were mixed in, more.
    assert (seen > 20).all()


def test_tf_data_gives_what_the_parts_give_by_hand():
    for step, (images, labels) in enumerate(training_batches(loader(strong()), 0, 7)):
        for position in range(2):
            image, ids = loader(strong()).crops.crop(2 * step + position)
            np.testing.assert_array_equal(images[position], image)
            np.testing.assert_array_equal(labels[position], ids)


@pytest.mark.parametrize("first_step", [1, 4])  # of 3 steps an epoch
def test_a_restart_in_mid_epoch_goes_on_with_the_very_batches(first_step):
    through = [(images.numpy(), labels.numpy()) for images, labels in training_batches(loader(strong()), 0, 8)]
    restarted = training_batches(loader(strong(), workers=1), first_step, 8)
    for (images, labels), (again, labels_again) in zip(through[first_step:], restarted, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
    assert len({images.tobytes() for images, _ in through}) == 8
