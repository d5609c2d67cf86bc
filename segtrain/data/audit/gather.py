"""From a dataset to the evidence of all its files."""

from collections.abc import Mapping, Sequence

from segtrain.data.audit.finding import Evidence
from segtrain.data.audit.record import Record
from segtrain.data.audit.strays import Strays, find_strays
from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.listing.splits import UnlabeledError
from segtrain.errors import DataError


def list_samples(dataset: Dataset, splits: Sequence[str]) -> tuple[dict[str, list[Sample]], dict[str, DataError]]:
    """List the samples of each split, or why they cannot be listed.

    Returns:
        Samples by split, and the reasons by split.

    Raises:
        DataError: No split can be listed, as with a wrong root; the first reason.
    """
    samples: dict[str, list[Sample]] = {}
    unlisted: dict[str, DataError] = {}
    for split in splits:
        try:
            samples[split] = dataset.samples(split)
        except DataError as error:
            unlisted[split] = error
    if not samples:
        raise next(iter(unlisted.values()))
    return samples, unlisted


def gather(
    dataset: Dataset,
    samples: Mapping[str, Sequence[Sample]],
    unlisted: Mapping[str, DataError],
    records: Mapping[str, Sequence[Record]],
    *,
    crop_size: tuple[int, int] | None,
    batch_size: int,
) -> Evidence:
    """Put together what the findings are drawn from.

    Args:
        dataset: The dataset, for its classes.
        samples: All of each split, as `list_samples` gives them.
        unlisted: The same.
        records: By split, of all samples or of some.
        crop_size: (H, W) of the training crops, None where images are resized instead.
        batch_size: Images in one step.
    """
    every_sample = [sample for each in samples.values() for sample in each]
    all_listed = all(isinstance(error, UnlabeledError) for error in unlisted.values())
    return Evidence(
        records,
        dataset.class_names,
        ignore_class=dataset.ignore_class,
        known_values=() if isinstance(dataset, Concat) else dataset.known_values,
        flip_pairs=dataset.flip_pairs,
        colors=dataset.colors.tolist(),
        crop_size=crop_size,
        batch_size=batch_size,
        unlisted=unlisted,
        # Where a split cannot be listed, its files would all seem to belong to none.
        strays=find_strays(every_sample) if all_listed else Strays(),
        images={split: {str(sample.image) for sample in each} for split, each in samples.items()},
    )
