"""`samples.json` of an evaluation: which label file belongs to which prediction, and what its values mean."""

from collections.abc import Sequence
from pathlib import Path

from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.runs.folder import write_json

SAMPLES = "samples.json"


def write_samples(folder: Path, dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Write name, image and label file of each sample, and the class of each stored label value.

    Args:
        folder: The folder to write to.
        dataset: The dataset that was scored.
        samples: Its samples, in the order of the scores.
    """
    rows = [
        {"name": each.name, "image": str(each.image.absolute()), "labels": str(each.labels.absolute())}
        for each in samples
    ]
    # Several datasets in one have tables of their own; a dataset that makes its labels has no files of them.
    is_plain = not isinstance(dataset, Concat) and type(dataset).read is Dataset.read
    write_json(
        folder / SAMPLES,
        {
            "class_names": list(dataset.class_names),
            "ignore_class": dataset.ignore_class,
            "class_of_value": dataset.class_of_value if is_plain else None,
            "value_of_color": _colors(dataset) if is_plain and dataset.label_colors else None,
            "turned": dataset.exif == "apply",
            "samples": rows,
        },
    )


def _colors(dataset: Dataset) -> dict[str, int]:
    return {",".join(map(str, color)): value for color, value in (dataset.label_colors or {}).items()}
