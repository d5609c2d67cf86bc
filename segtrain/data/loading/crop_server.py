"""The other side of `processes`: load the crops that are ordered into memory that the one who orders sees, too.

The first line of standard input is a job, each further one orders: [[position, where the image's bytes go, where
those of the labels], ...]. Each order is answered by one line: [kind of error, message], both empty where all is done.
"""

import json
import mmap
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np

from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import Crops
from segtrain.data.loading.processes import line
from segtrain.errors import SegtrainError
from segtrain.process.memory import out_of_memory

_SECONDS_BETWEEN_LOOKS = 2


def serve(make: Callable[[Any, Sequence[Sample]], Crops]) -> None:
    """Load the crops of each order until orders end.

    Args:
        make: Makes the crops of the job and the samples that `Processes` was given.
    """
    orders = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # printed text must not mix with answers
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    given = json.loads(orders.readline() or "null")
    if given is None:
        return
    memory = np.frombuffer(mmap.mmap(given["memory"], 0), np.uint8)
    crops = None
    for each in orders:
        kind, message = "", ""
        try:
            if crops is None:
                crops = make(given["job"], SampleList(given["samples"]))
            _load(crops, json.loads(each), memory)
        except SegtrainError as error:
            kind, message = type(error).__name__, error.message
        except Exception as error:
            kind, message = "bug", traceback.format_exc()
            if (lack := out_of_memory(error)) is not None:
                kind, message = type(lack).__name__, str(lack)
        try:
            answers.write(line([kind, message]))
        except BrokenPipeError:  # the parent is gone
            return


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone, even while a read hangs."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def _load(crops: Crops, orders: Sequence[tuple[int, int, int]], memory: np.ndarray) -> None:
    height, width = crops.crop_size
    pixels = height * width
    for position, image, labels in orders:
        out = memory[image : image + 3 * pixels].reshape(height, width, 3)
        crops.load(position, (out, memory[labels : labels + pixels].reshape(height, width)))


class SampleList(Sequence[Sample]):
    """Samples in a file, one a line, of which a process keeps no copy.

    Args:
        file: An open file.
    """

    def __init__(self, file: int) -> None:
        self._lines: Final = mmap.mmap(file, 0, prot=mmap.PROT_READ)
        self._ends: Final = np.flatnonzero(np.frombuffer(self._lines, np.uint8) == ord("\n"))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        start = self._ends[index - 1] + 1 if index else 0
        name, image, labels = json.loads(self._lines[start : self._ends[index]])
        return Sample(name, Path(image), Path(labels))
