"""Which sample comes when follows from (seed, epoch, sample), and errors arrive as they were raised.

B batch, H height, W width.
"""

import threading
from contextlib import closing

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import toys
from segtrain.data import Cihp, Dataset, Folder, Sample, ScaleCropFlip
from segtrain.data.loading.batch_loader import BatchLoader
from segtrain.data.loading.batches import training_batches, whole_images
from segtrain.data.loading.crops import Crops, num_steps
from segtrain.errors import DataError
from segtrain.process.threads import left_running

pytestmark = pytest.mark.tensorflow

SIZE = (4, 6)
ARGUMENTS = {"crop_size": SIZE, "batch_size": 2, "seed": 0}


class Numbered(Dataset):
    """Images of one gray each; the gray of sample 3 is 3, and so is its label."""

    def __init__(self, folder, count, sizes=(SIZE,)):
        super().__init__([f"class {index}" for index in range(20)], np.zeros((20, 3), np.uint8))
        self.listed = []
        for index in range(count):
            sample = Sample(f"{index:02d}", folder / f"{index:02d}.png", folder / f"{index:02d}_ids.png")
            height, width = sizes[index % len(sizes)]
            Image.new("RGB", (width, height), (index, index, index)).save(sample.image)
            Image.new("L", (width, height), index).save(sample.labels)
            self.listed.append(sample)

    def samples(self, split):
        return self.listed


def unchanged(image, labels, rng, another=None):
    return image, labels


def chance(image, labels, rng, another=None):
    """Write the sample's number into channel 0 and what its generator gives into channel 1."""
    image = image.copy()
    image[..., 1] = rng.integers(256)
    return image, labels


def batches(dataset, augment=unchanged, **options):
    arguments = {"crop_size": SIZE, "batch_size": 2, "seed": 0, "first_step": 0, "last_step": 9, **options}
    first_step, last_step = arguments.pop("first_step"), arguments.pop("last_step")
    workers = arguments.pop("workers", 2)
    crops = Crops(dataset.samples("train"), arguments.pop("read", dataset.read), augment, **arguments)
    return training_batches(BatchLoader(crops, workers=workers), first_step, last_step)


def order(dataset, **options):
    """The numbers of the samples, a row a batch."""
    return [labels.numpy()[:, 0, 0].tolist() for _, labels in batches(dataset, **options)]


# Order --------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_sample_once(tmp_path):
    seen = np.array(order(Numbered(tmp_path, 6))).reshape(3, 6)  # 3 epochs of 3 steps of 2
    for epoch in seen:
        assert sorted(epoch) == [0, 1, 2, 3, 4, 5]


def test_samples_left_over_are_not_shown_twice_and_differ_by_epoch(tmp_path):
    # 7 samples are 3 steps of 2; one is left over.
    seen = np.array(order(Numbered(tmp_path, 7), last_step=30)).reshape(10, 6)
    assert all(len(set(epoch)) == 6 for epoch in seen)
    assert len({frozenset(epoch) for epoch in seen}) > 1


def test_another_epoch_and_another_seed_have_another_order(tmp_path):
    dataset = Numbered(tmp_path, 12)
    seen = np.array(order(dataset, last_step=12)).reshape(2, 12)
    assert seen[0].tolist() != seen[1].tolist()
    assert order(dataset, seed=1) != order(dataset, seed=0)


def test_one_seed_gives_one_order_for_any_number_of_workers(tmp_path):
    dataset = Numbered(tmp_path, 12)
    assert order(dataset, workers=1) == order(dataset, workers=2) == order(dataset, workers=5)


def test_without_shuffle_the_order_is_the_list(tmp_path):
    assert order(Numbered(tmp_path, 5), shuffle=False, last_step=4) == [[0, 1], [2, 3], [0, 1], [2, 3]]


@pytest.mark.parametrize("first_step", [1, 3, 4, 8])
def test_batches_from_a_step_are_those_of_the_uninterrupted_training(tmp_path, first_step):
    # Steps 3 and 6 begin an epoch; 1, 4 and 8 lie inside one.
    dataset = Numbered(tmp_path, 7)
    whole = [(image.numpy(), labels.numpy()) for image, labels in batches(dataset, chance)]
    resumed = list(batches(dataset, chance, first_step=first_step))
    assert len(resumed) == 9 - first_step
    for (image, labels), (expected_image, expected_labels) in zip(resumed, whole[first_step:], strict=True):
        np.testing.assert_array_equal(image, expected_image)
        np.testing.assert_array_equal(labels, expected_labels)


def test_a_slow_sample_keeps_its_place(tmp_path):
    dataset, later_is_done = Numbered(tmp_path, 4), threading.Event()

    def late(image, labels, rng, another=None):
        if labels[0, 0] == 0:
            later_is_done.wait(10)
        if labels[0, 0] == 1:
            later_is_done.set()
        return image, labels

    pipeline = batches(dataset, late, shuffle=False, last_step=2, workers=2)
    assert [labels.numpy()[:, 0, 0].tolist() for _, labels in pipeline] == [[0, 1], [2, 3]]


# Augmentation -------------------------------------------------------------------------------------------------


def draws(dataset, **options):
    """{(epoch, sample): what its generator gave}, for epochs of 3 steps."""
    found = {}
    for step, (image, _) in enumerate(batches(dataset, chance, **options)):
        for pixel in image.numpy()[:, 0, 0]:
            found[step // 3, int(pixel[0])] = int(pixel[1])
    return found


def test_chance_follows_from_seed_epoch_and_sample_not_from_the_place(tmp_path):
    # Shuffled or not, sample 3 of epoch 1 is changed in the same way.
    dataset = Numbered(tmp_path, 6)
    shuffled, listed = draws(dataset), draws(dataset, shuffle=False)
    assert len(shuffled) == 18 and shuffled == listed


def test_epochs_samples_and_seeds_have_chances_of_their_own(tmp_path):
    dataset = Numbered(tmp_path, 6)
    found = draws(dataset)
    assert len(set(found.values())) >= 14  # 18 draws from 256: 17.4 different ones expected
    other = draws(dataset, seed=1)
    assert sum(found[key] == other[key] for key in found) <= 2


def test_augmented_batches_are_what_the_parts_give_by_hand(cihp_root):
    dataset = Cihp(str(cihp_root))
    augment = ScaleCropFlip((32, 40), dataset.ignore_class, dataset.flip_pairs)
    pipeline = batches(dataset, augment, crop_size=(32, 40), shuffle=False, seed=5, last_step=4)
    seen = [pair for images, labels in pipeline for pair in zip(images.numpy(), labels.numpy(), strict=True)]
    for position, (image, labels) in enumerate(seen):
        epoch, index = divmod(position, 4)
        rng = np.random.default_rng([2, 5, epoch, index])  # stream 2 is augmentation
        expected = augment(*dataset.read(dataset.samples("train")[index]), rng)
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_array_equal(labels, expected[1])


def test_batches_have_static_shapes_and_bytes(tmp_path):
    pipeline = batches(Numbered(tmp_path, 6))
    seen = list(pipeline)
    assert len(pipeline) == 9 == len(seen)
    for image, labels in seen:
        assert image.shape == (2, *SIZE, 3) and labels.shape == (2, *SIZE) and image.dtype == labels.dtype == tf.uint8


# Errors -------------------------------------------------------------------------------------------------------


def test_bad_file_raises_its_own_error(binary_root):
    dataset = Folder(str(binary_root), **toys.BINARY)
    bad = dataset.samples("train")[2]
    bad.labels.write_bytes(bad.labels.read_bytes()[:60])
    pipeline = batches(dataset, crop_size=(48, 64), shuffle=False)
    with pytest.raises(DataError) as caught:
        list(pipeline)
    assert str(bad.labels) in str(caught.value) and "Fix: " in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_batches_before_the_bad_file_arrive(binary_root):
    dataset = Folder(str(binary_root), **toys.BINARY)
    dataset.samples("train")[3].image.write_bytes(b"")
    seen = []
    with pytest.raises(DataError, match=r"cell_train_3\.png: the file is empty"):
        for batch in batches(dataset, crop_size=(48, 64), shuffle=False):
            seen.append(batch)
    assert len(seen) == 1


def test_bad_file_of_whole_images_raises_its_own_error(binary_root):
    dataset = Folder(str(binary_root), **toys.BINARY)
    samples = dataset.samples("val")
    samples[1].image.unlink()
    with pytest.raises(DataError, match=r"cannot read .*cell_val_1\.png: No such file"):
        list(whole_images(dataset, samples))


def test_a_bug_in_an_augmentation_is_not_dressed_as_a_data_error(tmp_path):
    def broken(image, labels, rng, another=None):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(batches(Numbered(tmp_path, 4), broken))


def test_fewer_samples_than_a_batch_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"3 samples, .*batch_size=4\. Fix: batch_size=3"):
        batches(Numbered(tmp_path, 3), batch_size=4)


def test_steps_of_an_epoch_are_whole_batches():
    samples = [Sample(str(index), None, None) for index in range(7)]
    assert [num_steps(samples, batch_size) for batch_size in (1, 2, 3, 7)] == [7, 3, 2, 1]


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_no_thread_outlives_an_error_of_its_consumer(tmp_path, moment):
    before = threading.active_count()
    crops = Crops(*(Numbered(tmp_path, 4).samples("train"), Numbered(tmp_path, 4).read, unchanged), **ARGUMENTS)
    loader = BatchLoader(crops)
    with pytest.raises(ZeroDivisionError), training_batches(loader, 0, 50) as pipeline, closing(loader):
        for number, _ in enumerate(pipeline):
            if number == moment:
                raise ZeroDivisionError
    assert threading.active_count() == before


def test_a_read_that_hangs_ends_the_wait_when_the_poll_raises_and_is_left_running(tmp_path):
    released, polls = threading.Event(), []

    def hang(sample, reduction=1):
        released.wait(60)
        return np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)

    def poll():
        polls.append(None)
        if len(polls) == 2:
            raise ZeroDivisionError("stop")

    loader = BatchLoader(Crops(Numbered(tmp_path, 4).samples("train"), hang, unchanged, **ARGUMENTS))
    pipeline = training_batches(loader, 0, 50, poll)
    with pytest.raises(ZeroDivisionError, match="stop"):
        list(pipeline)
    loader._threads.close(0)
    hung = left_running()
    released.set()
    pipeline.close()
    loader.close()
    assert {name.rpartition("-")[0] for name in hung} == {"segtrain-batch", "segtrain-loader"}
    assert left_running() == []


# Whole images -------------------------------------------------------------------------------------------------


def test_whole_images_keep_their_size_and_order(tmp_path):
    dataset = Numbered(tmp_path, 5, sizes=[(4, 6), (9, 2), (1, 1)])
    chosen = [dataset.listed[index] for index in (4, 0, 2, 1)]
    seen = list(whole_images(dataset, chosen, workers=3))
    assert [labels.numpy()[0, 0, 0] for _, labels in seen] == [4, 0, 2, 1]
    assert [image.shape for image, _ in seen] == [(1, 9, 2, 3), (1, 4, 6, 3), (1, 1, 1, 3), (1, 9, 2, 3)]
    assert len(whole_images(dataset, chosen)) == 4


def test_whole_images_are_what_is_read_eagerly(tmp_path):
    dataset = Cihp(str(toys.draw_cihp(tmp_path)))
    samples = dataset.samples("val")
    for sample, (image, labels) in zip(samples, whole_images(dataset, samples), strict=True):
        expected = dataset.read(sample)
        np.testing.assert_array_equal(image[0], expected[0])
        np.testing.assert_array_equal(labels[0], expected[1])
        assert image.dtype == labels.dtype == tf.uint8
