"""Crops that tests have processes load: what happens to a sample stands in its name."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from segtrain.data import Sample
from segtrain.data.loading.crop_server import serve
from segtrain.data.loading.crops import Crops
from segtrain.errors import DataError

SIZE = (5, 7)


def read(sample, reduction=1):
    """An image of one gray, the number that the name begins with."""
    number, _, event = sample.name.partition(" ")
    if event == "damaged":
        raise DataError(f"cannot decode {sample.image}. Fix: remove it")
    if event == "bug":
        raise ZeroDivisionError("a bug")
    if event == "talks":
        print("words of a decoder")
    if event == "slow":
        time.sleep(0.3)
    if event == "hangs":
        time.sleep(3600)
    if event.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, event))
    if event.startswith("once") and not Path(sample.labels).exists():
        Path(sample.labels).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return np.full((*SIZE, 3), int(number), np.uint8), np.full(SIZE, int(number), np.uint8)


def chance(image, labels, rng, another=None):
    """Green says what chance gave."""
    image[..., 1] = rng.integers(256)
    return image, labels


def mixed(image, labels, rng, another=None):
    """Green says what chance gave, blue which other sample it drew."""
    image[..., 1], image[..., 2] = rng.integers(256), another(rng)[0][..., 0]
    return image, labels


def make_crops(job, samples):
    if job["fails"]:
        raise DataError("no such folder. Fix: make it")
    options = {"batch_size": job["batch_size"], "seed": 0, "shuffle": job["shuffle"]}
    return Crops(samples, read, mixed if job["shuffle"] else chance, crop_size=SIZE, **options)


def listed(*events, folder="/images"):
    return [
        Sample(f"{number} {event}", Path(f"{folder}/{number}.jpg"), Path(f"{folder}/{number}.png"))
        for number, event in enumerate(events)
    ]


if __name__ == "__main__":
    serve(make_crops)
