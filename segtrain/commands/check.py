"""`segtrain check`: read every file of a dataset, and report errors with their fixes."""

import sys
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from segtrain import config
from segtrain.builders.verdicts import identity, verdict_keys
from segtrain.data.audit import store
from segtrain.data.audit.findings import find_all
from segtrain.data.audit.gather import gather, list_samples
from segtrain.data.audit.record import Record, add_jpeg_damage, examine
from segtrain.data.audit.work import in_threads
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.listing.splits import UnlabeledError
from segtrain.data.loading.crops import spread
from segtrain.errors import DataError
from segtrain.report.check import print_check, write_check
from segtrain.runs.folder import new_run_folder


def check(cfg: DictConfig) -> None:
    """Check the splits of a dataset; leave `check.json`.

    Raises:
        DataError: The data has an error that stops training or falsifies its scores.
    """
    config.validate_calls(config.resolved(cfg, "dataset"))
    dataset = config.build(cfg.dataset)
    started = time.monotonic()
    samples, unlisted = list_samples(dataset, cfg.splits or dataset.splits)
    looked_at = {split: spread(each, cfg.limit) for split, each in samples.items()}
    keys = {split: store.key(identity(cfg.dataset), each) for split, each in looked_at.items()}
    records, files_read = _records(dataset, looked_at, keys, cfg.workers, cfg.fresh)
    crop_size = tuple(cfg.crop_size) if _crops(cfg.augment) else None
    evidence = gather(dataset, samples, unlisted, records, crop_size=crop_size, batch_size=cfg.batch_size)
    findings = [finding.located("dataset") for finding in find_all(evidence)]
    errors, warnings = (sum(each.severity == severity for each in findings) for severity in ("error", "warning"))
    now = datetime.now()
    if all(isinstance(error, UnlabeledError) for error in unlisted.values()):
        for name in verdict_keys(keys):
            store.store_verdict(name, store.Verdict(f"{now:%Y-%m-%d %H:%M}", errors, warnings))
    metadata = {
        "date": now.isoformat(timespec="seconds"),
        "dataset": OmegaConf.to_container(cfg.dataset, resolve=True),
        "crop_size": list(cfg.crop_size),
        "seconds": round(time.monotonic() - started, 2),
        "files_read": files_read,
    }
    with new_run_folder("check", cfg.name, keep_if="check.json") as folder:
        write_check(folder / "check.json", evidence, findings, metadata)
    print_check(evidence, findings, metadata, cfg.show)
    print(f"all files: {folder / 'check.json'}")
    if errors:
        worst = findings[0]
        raise DataError(
            f"the data in {cfg.dataset.get('root', cfg.dataset._target_)}: {errors} of the findings above "
            f"{'is an error' if errors == 1 else 'are errors'}, expected none. Fix: first {worst.kind}: {worst.fix}"
        )


def _records(
    dataset: Dataset, samples: Mapping[str, list[Sample]], keys: Mapping[str, str], workers: int, fresh: bool
) -> tuple[dict[str, list[Record]], int]:
    """Read all files that have changed since they were read last; also return how many pairs were read."""
    known = {split: None if fresh else store.load_records(keys[split]) for split in samples}
    missing = [split for split in samples if known[split] is None]
    number = sum(len(samples[split]) for split in missing)
    found: dict[str, list[Record]] = {}
    with tqdm(total=number, desc="checking", unit="pair", delay=1, disable=not sys.stderr.isatty()) as bar:
        for split, each in samples.items():
            if (records := known[split]) is None:
                records = []
                for record in in_threads(partial(examine, dataset), each, workers):
                    records.append(record)
                    bar.update()
                records = list(map(add_jpeg_damage, records))
                store.store_records(keys[split], records)
            found[split] = records
    return found, number


def _crops(augment: DictConfig) -> bool:
    """Whether a training crops its images; otherwise it resizes complete images to the crop's size."""
    return "segtrain.data.Resize" not in OmegaConf.to_yaml(augment)
