"""Checks of a dataset's files before a run: headers, and the verdict of the last `segtrain check`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from segtrain.builders.changes import FURTHER_SPLITS
from segtrain.data.audit import store
from segtrain.data.audit.work import headers, refuse_unfit
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample


def identity(node: DictConfig) -> str:
    """Write down a dataset's configuration so that equal text means equal reading of its files."""

    def absolute(tree: Any) -> Any:
        if isinstance(tree, dict):
            is_own = str(tree.get("_target_", "")).startswith("segtrain.data.")
            return {
                str(key): str(Path(value).expanduser().resolve()) if key == "root" else absolute(value)
                for key, value in tree.items()
                if not (is_own and key in FURTHER_SPLITS)  # which samples a split has is not how they are read
            }
        return tree

    return json.dumps(absolute(OmegaConf.to_container(node, resolve=True)), sort_keys=True)


def require_fitting_headers(dataset: Dataset, samples: Sequence[Sample], workers: int) -> None:
    """Compare all sizes before the first step; a mismatch in the last file would otherwise show after an epoch.

    Raises:
        DataError: All the pairs whose sizes differ or whose headers cannot be read.
    """
    found = headers(dataset, samples, workers)
    shown = tqdm(found, "headers", len(samples), leave=False, delay=2, disable=not sys.stderr.isatty())
    refuse_unfit(list(shown))


def last_verdict(cfg: DictConfig, samples: Mapping[str, Sequence[Sample]]) -> str:
    """Describe in one line whether the data of a training run was checked, and how that ended.

    Args:
        cfg: Config of the run.
        samples: Its training and validation samples, by split.
    """
    keys = {split: store.key(identity(cfg.dataset), each) for split, each in samples.items()}
    verdict = next(filter(None, map(store.load_verdict, verdict_keys(keys))), None)
    if verdict is None:
        return "not checked: segtrain check with the same dataset finds label errors before a training run"
    return f"checked on {verdict.date}: {verdict.errors} errors, {verdict.warnings} warnings"


def verdict_keys(keys: Mapping[str, str]) -> list[str]:
    """Return the keys that a training run looks for: of the training split with each split that can validate."""
    others = [split for split in keys if split != "train"]
    return [store.verdict_key(keys[split] for split in ("train", other) if split in keys) for other in others]
