"""Several datasets as one, with one table of classes."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import cv2
import numpy as np

from segtrain.data.datasets.classes import IGNORE, ClassTable, class_id, class_table, require_two_reached
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.listing.splits import require_split
from segtrain.errors import ConfigError, argument, naming


class Concat(Dataset):
    """The samples of several datasets, one after another; a sample's name begins with its dataset's.

    Args:
        datasets: Each dataset by a name of your choice.
        mapping: By dataset, the common class, by name, or `ignore` for each of its classes that is not in the common
            table under its own name. {} if all names agree.
        classes: The common table, names or [red, green, blue] by name; None for that of the first dataset.
        flip_pairs: Pairs of common classes, [left, right], by name or id; the first dataset's where `classes` is None.
        ignore_class: The id of ignored pixels.
        val_datasets: Names of the datasets to validate on, such as ["cihp"] for comparable scores; None for all.
            Any other split is that of all datasets that have it.

    Raises:
        ConfigError: A class is not in the common table, or a name is unknown.
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        mapping: Mapping[str, Mapping[str, str]] | None = None,
        classes: ClassTable | None = None,
        flip_pairs: Sequence[Sequence[int | str]] = (),
        ignore_class: int = 255,
        val_datasets: Sequence[str] | None = None,
    ) -> None:
        if not datasets:
            raise ConfigError(
                f"{argument('datasets')}={{}}: expected at least one. Fix: {argument('datasets')}={{NAME: {{...}}}}"
            )
        for name in datasets:
            if "/" in name:
                raise ConfigError(
                    f"{argument('datasets')}: {name!r} holds a slash, expected a plain name. Fix: rename it"
                )
        self.datasets = dict(datasets)
        mapping = mapping or {}
        for key, names in (("mapping", mapping), ("val_datasets", val_datasets or ())):
            if strangers := [name for name in names if name not in datasets]:
                raise ConfigError(
                    f"{argument(key)}: unknown dataset {strangers[0]!r}, expected {', '.join(datasets)}. Fix: "
                    f"rename it, or add {argument('datasets')}.{strangers[0]}"
                )
        self._val_datasets = list(datasets) if val_datasets is None else list(val_datasets)
        first = next(iter(datasets.values()))
        names, colors = (first.class_names, first.colors) if classes is None else class_table(classes)
        pairs = first.flip_pairs if classes is None and not flip_pairs else flip_pairs
        super().__init__(
            names,
            colors,
            ignore_class=ignore_class,
            flip_pairs=[
                [class_id(each, names, ignore_class, argument("flip_pairs")) for each in pair] for pair in pairs
            ],
        )
        self._class_tables = {
            name: self._class_table_of(name, dataset, mapping.get(name) or {}) for name, dataset in datasets.items()
        }
        reached = np.concatenate(
            [self._class_tables[name][: dataset.num_classes] for name, dataset in datasets.items()]
        )
        require_two_reached(names, reached.tolist(), argument("mapping"))

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that any of the datasets has."""
        return tuple(dict.fromkeys(each for dataset in self.datasets.values() for each in dataset.splits))

    def samples(self, split: str) -> list[Sample]:
        require_split(split, self.splits)
        found = []
        having = [name for name, dataset in self.datasets.items() if split in dataset.splits]
        for name in self._val_datasets if split == "val" else having:
            with naming(argument(f"datasets.{name}")):
                samples = self.datasets[name].samples(split)
            found += [sample._replace(name=f"{name}/{sample.name}") for sample in samples]
        return found

    def member(self, sample: Sample) -> tuple[Dataset, Sample]:
        """The dataset that a sample comes from, and the sample as that dataset knows it."""
        name, _, own = sample.name.partition("/")
        return self.datasets[name], sample._replace(name=own)

    def read(self, sample: Sample, reduction: int = 1) -> tuple[np.ndarray, np.ndarray]:
        dataset, own = self.member(sample)
        with self._naming(sample):
            image, labels = dataset.read(own, reduction)
        return image, self._to_common(sample, labels)

    def read_labels(self, sample: Sample) -> np.ndarray:
        dataset, own = self.member(sample)
        with self._naming(sample):
            labels = dataset.read_labels(own)
        return self._to_common(sample, labels)

    def check_header(self, sample: Sample) -> None:
        dataset, own = self.member(sample)
        with self._naming(sample):
            dataset.check_header(own)

    def _naming(self, sample: Sample) -> AbstractContextManager[None]:
        return naming(argument(f"datasets.{sample.name.partition('/')[0]}"))

    def _to_common(self, sample: Sample, labels: np.ndarray) -> np.ndarray:
        return cv2.LUT(labels, self._class_tables[sample.name.partition("/")[0]])

    def _class_table_of(self, name: str, dataset: Dataset, mapping: Mapping[str, str]) -> np.ndarray:
        """(256,) uint8: the common class of each class of one dataset."""
        key = argument(f"mapping.{name}")
        if strangers := [each for each in mapping if each not in dataset.class_names]:
            raise ConfigError(
                f"{key}.{strangers[0]}: dataset {name} has no such class, expected one of "
                f"{', '.join(dataset.class_names)}. Fix: correct the name"
            )
        homeless = [each for each in dataset.class_names if each not in mapping and each not in self.class_names]
        if homeless:
            raise ConfigError(
                f"{key}: {', '.join(homeless)} of dataset {name} are not in the common table, expected a class or "
                f"{IGNORE} for each. Fix: {key}={{{', '.join(f'{each}: {IGNORE}' for each in homeless)}}}"
            )
        table = np.full(256, self.ignore_class, np.uint8)
        for index, each in enumerate(dataset.class_names):
            table[index] = class_id(mapping.get(each, each), self.class_names, self.ignore_class, f"{key}.{each}")
        return table
