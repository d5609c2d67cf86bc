"""Workers for data loaders: a step is a pass over the images, from disk to batches of crops.

One VOC folder, batches of 8, crops of 513x513, uniform random scale 0.5-2, padding, horizontal flip.
"""

import argparse
import os
from collections.abc import Callable, Iterator

import serving

SCALE = (0.5, 2.0)
IGNORE = 255
SWAP_PAIRS = ((14, 15),)  # VOC has no left and right classes: two others stand in for them


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--root", required=True)
    parser.add_argument("--images", type=int, default=1296)
    parser.add_argument("--crop", type=int, default=513)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loader", default="auto", help="segtrain's key loader")
    asked = parser.parse_args()
    replies = serving.prepare(asked.threads)
    passes = VARIANTS[asked.variant](asked)
    for _ in serving.serve(replies, asked.images):
        seen = sum(next(passes))
        assert seen == asked.images, f"{seen} images, expected {asked.images}"  # noqa: S101


def samples(asked: argparse.Namespace) -> list:
    """Return the requested number of training samples, repeating the list if it is too short."""
    from segtrain.data import Voc

    listed = Voc(asked.root).samples("train")
    return [listed[index % len(listed)] for index in range(asked.images)]


def segtrain(asked: argparse.Namespace) -> Iterator[Iterator[int]]:
    """Loader of `segtrain train` with default settings."""
    from omegaconf import OmegaConf

    from segtrain.builders.data import build_loader
    from segtrain.config import build
    from segtrain.data.loading.batches import training_batches

    cfg = OmegaConf.create(
        {
            "dataset": {"_target_": "segtrain.data.Voc", "root": asked.root},
            "augment": {"_target_": "segtrain.data.ScaleCropFlip", "scale": list(SCALE)},
            "crop_size": [asked.crop, asked.crop],
            "batch_size": asked.batch,
            "seed": 0,
            "shuffle": True,
            "workers": asked.threads,
            "loader": asked.loader,
            "cache": None,
            "trusted_modules": [],
        }
    )
    dataset = build(cfg.dataset)
    dataset.flip_pairs = SWAP_PAIRS
    loader = build_loader(cfg, dataset, samples(asked))
    steps = asked.images // asked.batch
    first = 0
    while True:
        yield (len(images) for images, _ in training_batches(loader, first, first + steps))
        first += steps


def tf_image(asked: argparse.Namespace) -> Iterator[Iterator[int]]:
    """Loader of the keras.io example, which normalizes while reading, with the augmentation in tf.image."""
    import tensorflow as tf

    paths = [(str(sample.image), str(sample.labels)) for sample in samples(asked)]
    crop = asked.crop

    def load(image_path: tf.Tensor, labels_path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.image.decode_png(tf.io.read_file(image_path), channels=3)  # also decodes JPEG
        image = tf.cast(image, tf.float32) / 127.5 - 1
        labels = tf.image.decode_png(tf.io.read_file(labels_path), channels=1)  # palette colors, as in the example
        size = tf.cast(tf.cast(tf.shape(image)[:2], tf.float32) * tf.random.uniform((), *SCALE), tf.int32)
        image = tf.image.resize(image, size)
        labels = tf.image.resize(labels, size, method="nearest")
        height, width = tf.maximum(size[0], crop), tf.maximum(size[1], crop)
        image = tf.image.pad_to_bounding_box(image, 0, 0, height, width)
        labels = tf.image.pad_to_bounding_box(labels - IGNORE, 0, 0, height, width) + IGNORE
        both = tf.image.random_crop(tf.concat([image, tf.cast(labels, tf.float32)], axis=-1), (crop, crop, 4))
        both = tf.image.random_flip_left_right(both)
        return both[..., :3], tf.cast(both[..., 3:], tf.uint8)

    pipeline = tf.data.Dataset.from_tensor_slices(tuple(map(list, zip(*paths, strict=True)))).shuffle(len(paths))
    pipeline = pipeline.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(asked.batch, drop_remainder=True)
    pipeline = pipeline.prefetch(tf.data.AUTOTUNE)
    while True:
        yield (len(images) for images, _ in pipeline)


def torch_opencv(asked: argparse.Namespace) -> Iterator[Iterator[int]]:
    """torch's DataLoader with segtrain's reading and augmentation in its worker processes."""
    import numpy as np

    from segtrain.data import ScaleCropFlip, Voc

    read = Voc(asked.root).read
    augment = ScaleCropFlip((asked.crop, asked.crop), IGNORE, SWAP_PAIRS, SCALE)
    return _torch(asked, lambda sample, number: augment(*read(sample), np.random.default_rng([0, number])))


def torch_albumentations(asked: argparse.Namespace, normalize: bool = True) -> Iterator[Iterator[int]]:
    """torch's DataLoader with albumentations, including normalization to floats."""
    import albumentations as a
    import cv2
    import numpy as np
    from PIL import Image

    cv2.setNumThreads(0)
    transform = a.Compose(
        [
            a.RandomScale((SCALE[0] - 1, SCALE[1] - 1), p=1),
            a.PadIfNeeded(asked.crop, asked.crop, border_mode=cv2.BORDER_CONSTANT, fill=(124, 116, 104), fill_mask=255),
            a.RandomCrop(asked.crop, asked.crop),
            a.HorizontalFlip(p=0.5),
            *([a.Normalize()] if normalize else []),
        ]
    )

    def load(sample, number):
        image = cv2.cvtColor(cv2.imread(str(sample.image)), cv2.COLOR_BGR2RGB)
        changed = transform(image=image, mask=np.asarray(Image.open(sample.labels)))
        return changed["image"], changed["mask"]

    return _torch(asked, load)


def torch_albumentations_bytes(asked: argparse.Namespace) -> Iterator[Iterator[int]]:
    """The same without normalization, which segtrain does in the network."""
    return torch_albumentations(asked, normalize=False)


def _torch(asked: argparse.Namespace, load: Callable) -> Iterator[Iterator[int]]:
    import torch
    from torch.utils.data import DataLoader

    listed = samples(asked)

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return len(listed)

        def __getitem__(self, number):
            image, labels = load(listed[number], number)
            return torch.from_numpy(image.transpose(2, 0, 1)), torch.from_numpy(labels)

    loader = DataLoader(
        Samples(),
        asked.batch,
        shuffle=True,
        num_workers=asked.threads,
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        yield (len(images) for images, _ in loader)


VARIANTS = {
    "segtrain": segtrain,
    "tf_image": tf_image,
    "torch_opencv": torch_opencv,
    "torch_albumentations": torch_albumentations,
    "torch_albumentations_bytes": torch_albumentations_bytes,
}

if __name__ == "__main__":
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    main()
