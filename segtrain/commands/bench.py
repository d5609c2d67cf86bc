"""`segtrain bench data`: how fast training batches come, and where the time goes."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from segtrain.builders.data import (
    augment_arguments,
    build_augment,
    build_dataset,
    build_loader,
    in_processes,
    pairs_to_flip,
)
from segtrain.builders.preflight import require_image_range
from segtrain.builders.user_parts import require_samples
from segtrain.config import resolved, validate_calls
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.files import read_image
from segtrain.data.images.sample import Sample
from segtrain.data.loading.batch_loader import BatchLoader
from segtrain.data.loading.batches import training_batches
from segtrain.runs.folder import new_run_folder, write_json

# A stage is timed on so many samples, one after the other: a second or two.
_STAGE_SAMPLES = 200


def bench(cfg: DictConfig) -> float:
    """Measure the loader of a config. Returns images a second, the median of the passes.

    Raises:
        ConfigError: An argument of the dataset or the augmentation does not fit.
        DataError: The dataset is not where it should be, or a sample cannot be read.
    """
    validate_calls(resolved(cfg, "dataset", "augment"), augment_arguments(cfg))
    dataset = build_dataset(cfg)
    samples = require_samples(dataset, "train")
    require_image_range(dataset, samples)
    some = [samples[index] for index in np.linspace(0, len(samples) - 1, min(_STAGE_SAMPLES, len(samples)), dtype=int)]
    stages = _stages(cfg, dataset, some)
    limit = _decoder_limit(some, dataset, cfg.workers)
    with closing(build_loader(cfg, dataset, samples)) as loader:
        passes = _passes(loader, cfg.passes, max(1, cfg.images // cfg.batch_size))
    found = {
        "images_per_second": passes,
        "decoder_images_per_second": limit,
        "microseconds_per_image": stages,
        "samples": len(samples),
        "crop_size": list(cfg.crop_size),
        "batch_size": cfg.batch_size,
        "workers": cfg.workers,
        "loader": "processes" if in_processes(cfg, samples) else "threads",
        "cache": cfg.cache,
        "cores": os.cpu_count(),
    }
    with new_run_folder("bench", cfg.name, keep_if="bench.json") as folder:
        write_json(folder / "bench.json", found)
    _print(found)
    print(f"figures: {folder / 'bench.json'}")
    return statistics.median(passes)


def _stages(cfg: DictConfig, dataset: Dataset, samples: list[Sample]) -> dict[str, float]:
    """Microseconds an image of each stage, one thread, files already in the page cache."""
    pairs = [dataset.read(sample) for sample in samples]
    augment = build_augment(cfg, dataset, pairs_to_flip(dataset, samples))
    generators = [np.random.default_rng(number) for number in range(len(samples))]

    def another(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return pairs[int(rng.integers(len(pairs)))]

    def crop(number: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = pairs[number]
        return augment(image, labels, generators[number], another)

    return {
        "read and decode the image": _time(samples, lambda sample: read_image(sample.image, exif=dataset.exif)),
        "read, decode and check the labels": _time(samples, dataset.read_labels),
        "augment": _time(range(len(samples)), crop),
    }


def _time(items: Iterable[Any], work: Callable[[Any], Any]) -> float:
    items = list(items)
    start = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - start) / len(items) * 1e6


def _decoder_limit(samples: list[Sample], dataset: Dataset, workers: int) -> float:
    """Images a second that `workers` threads decode when they do nothing else."""
    again = samples * max(1, 2 * _STAGE_SAMPLES // len(samples))
    with ThreadPoolExecutor(workers) as pool:
        start = time.perf_counter()
        for _ in pool.map(lambda sample: read_image(sample.image, exif=dataset.exif), again):
            pass
        return len(again) / (time.perf_counter() - start)


def _passes(loader: BatchLoader, passes: int, steps: int) -> list[float]:
    """Images a second of each pass of so many steps, through tf.data as in training."""
    found = []
    loader.batch(0)  # by then its processes have started
    with tqdm(total=passes * steps, desc="batches", leave=False, disable=not sys.stderr.isatty()) as bar:
        for number in range(passes):
            start = time.perf_counter()
            for _ in training_batches(loader, number * steps, (number + 1) * steps):
                bar.update()
            found.append(steps * loader.num_loaded / (time.perf_counter() - start))
    return found


def _print(found: dict[str, Any]) -> None:
    passes, stages = found["images_per_second"], found["microseconds_per_image"]
    total = sum(stages.values())
    table = Table(title="where the time goes: one thread, one image", title_justify="left")
    for column in ("stage", "us", "%"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, microseconds in stages.items():
        table.add_row(stage, f"{microseconds:.0f}", f"{100 * microseconds / total:.0f}")
    table.add_row("all", f"{total:.0f}", "100")
    Console(markup=False).print(table)
    median = statistics.median(passes)
    print(f"passes, images/s: {', '.join(f'{each:.0f}' for each in passes)}")
    print(
        f"loader: {median:.0f} images/s (slowest pass {min(passes):.0f}, fastest {max(passes):.0f}), "
        f"{found['workers']} {found['loader']} on {found['cores']} cores"
    )
    limit = found["decoder_images_per_second"]
    print(f"decoding alone: {limit:.0f} images/s, so the loader gives {100 * median / limit:.0f} % of that limit")
    batch = found["batch_size"]
    print(f"a training step of {batch} shorter than {1000 * batch / median:.0f} ms waits for its data")
