"""Fingerprint of a run's environment and data, without TensorFlow, and the differences of two fingerprints."""

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
import numpy as np

from segtrain.data.images.sample import Sample
from segtrain.version import __version__


def installed(samples: Iterable[Sample]) -> dict[str, str]:
    """Describe the installed packages, the processor and the training data.

    Args:
        samples: Training samples; identified by their names and file sizes, not by their contents.

    Returns:
        Versions and settings by name; `data` describes the samples.
    """
    known = {
        "segtrain": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "processor": platform.machine() + " " + _processor(),
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "data": describe_data(samples),
    }
    for name in ("tensorflow", "keras"):
        with suppress(PackageNotFoundError):  # installed under another name, such as tensorflow-cpu
            known[name] = version(name)
    return known


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences of two fingerprints except their data, such as "threads 2 -> 4"."""
    left_out = {"data"} if "validation" in then else {"data", "validation"}  # runs of 0.1 do not record it
    names = [name for name in {**then, **now} if name not in left_out and then.get(name) != now.get(name)]
    return [f"{name} {then.get(name)} -> {now.get(name)}" for name in names]


def describe_data(samples: Iterable[Sample]) -> str:
    """Return the number of samples and a digest of their names and file sizes.

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
    """Like `describe_data`, with the first bytes of some label files: uncompressed files of equal size may differ.

    Raises:
        OSError: A file is missing.
    """
    digest = hashlib.sha256(describe_data(samples).encode())
    for sample in samples[:: max(1, len(samples) // 32)]:
        with open(sample.labels, "rb") as file:
            digest.update(file.read(2**18))
    return f"{len(samples)} samples, {digest.hexdigest()[:16]}"


def _processor() -> str:
    """Return the processor's model name; processors with other instructions round differently."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return ""
