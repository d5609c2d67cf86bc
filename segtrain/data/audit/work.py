"""Many samples at once, in threads: OpenCV, Pillow and hashlib let other threads run while they work."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.errors import DataError

_CHUNK = 16  # samples a task: fewer than 64 files between Ctrl-C and the end, and little time spent on handing out
_MOST_SHOWN = 20

Result = TypeVar("Result")


def in_threads(function: Callable[[Sample], Result], samples: Sequence[Sample], workers: int) -> Iterator[Result]:
    """Apply a function to samples in `workers` threads; results come in order, as soon as they are there."""
    chunks = [samples[start : start + _CHUNK] for start in range(0, len(samples), _CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(_apply, function, chunk) for chunk in chunks)
        try:
            while waiting:
                yield from waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def headers(dataset: Dataset, samples: Sequence[Sample], workers: int) -> Iterator[str]:
    """Compare the sizes in the headers of each pair; yield what is wrong with it, empty where nothing is."""

    def problem(sample: Sample) -> str:
        try:
            dataset.check_header(sample)
        except DataError as error:
            return error.message
        return ""

    return in_threads(problem, samples, workers)


def refuse_unfit(problems: Sequence[str], what: str = "pairs of image and labels do not fit") -> None:
    """Refuse all samples at once that have a problem.

    Args:
        problems: By sample, what is wrong with it; empty where nothing is.
        what: What is wrong with them, for the heading.

    Raises:
        DataError: The problems, one a line.
    """
    unfit = [problem for problem in problems if problem]
    if len(unfit) == 1:
        raise DataError(unfit[0])
    if unfit:
        listed = unfit[:_MOST_SHOWN]
        if len(unfit) > _MOST_SHOWN:
            listed.append(f"and {len(unfit) - _MOST_SHOWN} more. Fix: segtrain check with the same keys lists them all")
        heading = f"{len(unfit)} of {len(problems)} {what}:"
        raise DataError("\n  - ".join([heading, *listed]))


def _apply(function: Callable[[Sample], Result], samples: Sequence[Sample]) -> list[Result]:
    return [function(sample) for sample in samples]
