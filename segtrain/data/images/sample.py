"""One image of a dataset and its labels, as files."""

from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """An image and its labels, as files.

    Attributes:
        name: Unique within a split; names of folders may precede it.
        image: The image file.
        labels: The label file.
    """

    name: str
    image: Path
    labels: Path
