"""Worker process: run a step on one fixed batch for each request, and report its duration.

Needs NumPy alone, so that every environment can import it. B batch, H height, W width, K classes.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Request(NamedTuple):
    """Command-line options of a worker.

    Attributes:
        variant: Variant of the worker to run.
        task: "train" or "infer".
        size: Height and width in pixels.
        batch: Batch size B.
        threads: Number of threads that the framework may use.
        replies: File descriptor of the pipe to the parent.
    """

    variant: str
    task: str
    size: int
    batch: int
    threads: int
    replies: int


def request() -> Request:
    """Parse the command line and set the thread count; TensorFlow and torch must not have been imported yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant")
    parser.add_argument("--task", choices=["train", "infer"], default="train")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    found = vars(parser.parse_args())
    return Request(**found, replies=prepare(found["threads"]))


def prepare(threads: int) -> int:
    """Set the thread count of TensorFlow and torch, which must not have been imported yet.

    Returns:
        The file descriptor for replies; stdout of the frameworks is redirected to stderr.
    """
    replies = os.dup(1)
    os.dup2(2, 1)
    os.environ |= {
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    return replies


def images(asked: Request, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the batch that every worker uses: (B, H, W, 3) uint8 images and (B, H, W) uint8 labels of tiles."""
    random = np.random.RandomState(0)
    tiles = -(-asked.size // 16)

    def spread(small: np.ndarray) -> np.ndarray:
        return small.repeat(16, axis=1).repeat(16, axis=2)[:, : asked.size, : asked.size].astype(np.uint8)

    shape = (asked.batch, tiles, tiles)
    return spread(random.randint(0, 256, (*shape, 3))), spread(random.randint(0, num_classes, shape))


def steps(asked: Request, num_trainable: int) -> Iterator[None]:
    """See `serve`.

    Args:
        asked: Options with the file descriptor for replies.
        num_trainable: Number of trainable parameters of the network, which the parent compares.
    """
    return serve(asked.replies, num_trainable)


def serve(descriptor: int, size: int) -> Iterator[None]:
    """Yield once for each step that the parent requests; the time that the caller takes per iteration is its duration.

    Args:
        descriptor: File descriptor for replies.
        size: Number that all variants must have in common: trainable parameters, or images per pass.
    """
    replies = os.fdopen(descriptor, "w")

    def reply(**values: float) -> None:
        replies.write(json.dumps(values) + "\n")
        replies.flush()

    reply(trainable=size)
    for line in sys.stdin:
        if line.strip() != "step":
            break
        start = time.perf_counter()
        yield
        reply(seconds=time.perf_counter() - start)
    reply(peak_bytes=peak_bytes())


def peak_bytes() -> int:
    """Peak memory of this process in bytes."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
