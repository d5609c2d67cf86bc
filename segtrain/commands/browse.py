"""`segtrain browse`: show the images of training, before and after augmentation. Starts no TensorFlow."""

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from segtrain.builders.data import augment_arguments, build_augment, build_dataset, pairs_to_flip
from segtrain.builders.preflight import require_image_range
from segtrain.builders.user_parts import require_samples
from segtrain.config import resolved, validate_calls
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.loading.crops import Crops
from segtrain.report.contact_page import write_page
from segtrain.runs.folder import new_run_folder
from segtrain.storage import write_atomically, write_png
from segtrain.visual.contact_sheet import Row, draw_sheet, view

# First number of the key that draws the samples to show; loading.py has the others.
_CHOICE = 3


def browse(cfg: DictConfig) -> None:
    """Write a contact sheet and a page of some samples of a split, each as it is and as training will see it.

    Raises:
        ConfigError: An argument of the dataset or the augmentation does not fit.
        DataError: The dataset is not where it should be, or a sample cannot be read.
    """
    validate_calls(resolved(cfg, "dataset", "augment"), augment_arguments(cfg))
    dataset = build_dataset(cfg)
    samples = require_samples(dataset, cfg.split)
    require_image_range(dataset, samples)
    augment = build_augment(cfg, dataset, pairs_to_flip(dataset, samples))
    height, width = cfg.crop_size
    # Crops of training, with each epoch in the order of the list.
    crops = Crops(samples, dataset.read, augment, crop_size=(height, width), batch_size=1, seed=cfg.seed, shuffle=False)
    drawn = np.random.default_rng([_CHOICE, cfg.seed]).permutation(len(samples))[: cfg.images]
    rows = [_row(cfg, dataset, crops, int(index)) for index in sorted(drawn)]
    chosen = HydraConfig.get().runtime.choices
    title = f"{chosen['dataset']}, {cfg.split}: {len(rows)} of {len(samples)} images"
    about = f"augment={chosen['augment']}, crop_size {height}x{width} (height x width), seed {cfg.seed}"
    notes = [
        about,
        f"Draw 1 shows the image as augmented in epoch 1 of a training run with this seed, draw 2 in epoch 2, etc. "
        f"Hatched: ignored pixels (ignore_class={dataset.ignore_class}), such as padding and unlabeled pixels.",
    ]
    with new_run_folder("browse", cfg.name, keep_if="index.html") as folder:
        sheet = draw_sheet(rows, f"{title}   {about}", dataset.class_names, dataset.colors)
        write_png(folder / "sheet.png", sheet, compress_level=1)
        page = write_page(rows, title, notes, dataset.class_names, dataset.colors)
        write_atomically(folder / "index.html", page.encode())
    print(f"contact sheet: {folder / 'sheet.png'}")
    print(f"page: {folder / 'index.html'}")


def _row(cfg: DictConfig, dataset: Dataset, crops: Crops, index: int) -> Row:
    image, labels = dataset.read(crops.samples[index])
    views = [view("{}x{}".format(*labels.shape), image, labels, dataset.colors, cfg.alpha)]
    for epoch in range(cfg.draws):
        crop = crops.crop(epoch * len(crops.samples) + index)
        views.append(view(f"draw {epoch + 1}", *crop, dataset.colors, cfg.alpha))
    return Row(crops.samples[index].name, views)
