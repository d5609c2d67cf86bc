"""That part of a run's fingerprint which can be told without TensorFlow, and how two fingerprints differ."""

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
import numpy as np

import segtrain
from segtrain.data.images.sample import Sample


def installed(samples: Iterable[Sample]) -> dict[str, str]:
    """Describe what is installed, the processor and the training data.

    Args:
        samples: To train on; told from others by their names and the sizes of their files, not by their contents.

    Returns:
        By name. `data` is that of the samples.
    """
    known = {
        "segtrain": segtrain.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "processor": platform.machine() + " " + _processor(),
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "data": describe_data(samples),
    }
    for name in ("tensorflow", "keras"):
        with suppress(PackageNotFoundError):  # a build under another name, as tensorflow-cpu
            known[name] = version(name)
    return known


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe in what two fingerprints differ, apart from their data: "threads 2 -> 4"."""
    left_out = {"data"} if "validation" in then else {"data", "validation"}  # runs of 0.1 do not record it
    names = [name for name in {**then, **now} if name not in left_out and then.get(name) != now.get(name)]
    return [f"{name} {then.get(name)} -> {now.get(name)}" for name in names]


def describe_data(samples: Iterable[Sample]) -> str:
    """Count samples and digest their names and the sizes of their files.

    Raises:
        OSError: A file is missing.
    """
    digest, number = hashlib.sha256(), 0
    for sample in samples:
        sizes = (os.stat(path).st_size for path in (sample.image, sample.labels))
        digest.update("{} {} {}\n".format(sample.name, *sizes).encode(errors="surrogateescape"))
        number += 1
    return f"{number} samples, {digest.hexdigest()[:16]}"


def describe_contents(samples: Sequence[Sample]) -> str:
    """The same, with the beginnings of some label files: uncompressed files of other contents are of one size.

    Raises:
        OSError: A file is missing.
    """
    digest = hashlib.sha256(describe_data(samples).encode())
    for sample in samples[:: max(1, len(samples) // 32)]:
        with open(sample.labels, "rb") as file:
            digest.update(file.read(2**18))
    return f"{len(samples)} samples, {digest.hexdigest()[:16]}"


def _processor() -> str:
    """Name the kind of processor: other ones have other instructions, which round differently."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return ""
