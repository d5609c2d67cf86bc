"""A worker's side: take a step whenever told to, on one fixed batch, and say how long it took.

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
    """What a worker is asked for.

    Attributes:
        variant: Which of the worker's programs.
        task: "train" or "infer".
        size: H and W, in pixels.
        batch: B.
        threads: How many the framework may use.
        replies: File descriptor of the pipe to the parent.
    """

    variant: str
    task: str
    size: int
    batch: int
    threads: int
    replies: int


def request() -> Request:
    """Read the command line, and tell TensorFlow and torch, which must not have been imported yet, their threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant")
    parser.add_argument("--task", choices=["train", "infer"], default="train")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    found = vars(parser.parse_args())
    return Request(**found, replies=prepare(found["threads"]))


def prepare(threads: int) -> int:
    """Tell TensorFlow and torch, which must not have been imported yet, their threads.

    Returns:
        The file descriptor for replies; what frameworks print goes to stderr.
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


def photographs(asked: Request, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the batch that every worker sees: (B, H, W, 3) uint8 images and (B, H, W) uint8 labels of tiles."""
    random = np.random.RandomState(0)
    tiles = -(-asked.size // 16)

    def spread(small: np.ndarray) -> np.ndarray:
        return small.repeat(16, axis=1).repeat(16, axis=2)[:, : asked.size, : asked.size].astype(np.uint8)

    shape = (asked.batch, tiles, tiles)
    return spread(random.randint(0, 256, (*shape, 3))), spread(random.randint(0, num_classes, shape))


def steps(asked: Request, num_trainable: int) -> Iterator[None]:
    """See `serve`.

    Args:
        asked: Says where replies go.
        num_trainable: The network's trainable parameters, for the parent to compare.
    """
    return serve(asked.replies, num_trainable)


def serve(descriptor: int, size: int) -> Iterator[None]:
    """Yield once for each step that the parent asks for; the time until the next is asked of us is its duration.

    Args:
        descriptor: Where replies go.
        size: What the variants have in common: trainable parameters, or images in a pass.
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
    """The most memory that this process ever held."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
