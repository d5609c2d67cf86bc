"""`segtrain prepare`: SBD's labels made ready for training on VOC, once."""

import logging
import os
import sys
from pathlib import Path

from omegaconf import DictConfig

from segtrain.data.sbd.convert import LABELS, LIST, plan_train_aug, write_train_aug
from segtrain.shell import setting

logger = logging.getLogger(__name__)

PUBLISHED = 10_582  # names of train_aug, in publications that train on it


def prepare(cfg: DictConfig) -> None:
    """Convert SBD's labels and print how to train on them.

    Raises:
        DataError: A folder is not what it should be, a file is missing or damaged.
        ResourceError: The output cannot be written.
    """
    sbd, voc, output = (Path(os.path.abspath(os.path.expanduser(path))) for path in (cfg.sbd, cfg.voc, cfg.output))
    plan = plan_train_aug(sbd, voc)
    try:
        kept = write_train_aug(plan, output, workers=cfg.workers, progress=sys.stderr.isatty())
    except KeyboardInterrupt:
        print("Converted files are kept. Run the same command to resume.", file=sys.stderr)
        raise
    total = len(plan.mats) + len(plan.pngs)
    print(f"{output / LABELS}: {total:,} label files, {len(plan.mats):,} of SBD, {len(plan.pngs):,} of VOC")
    if kept:
        print(f"  {kept:,} were already present and intact")
    print(f"{output / LIST}: {len(plan.names):,} names, none of the {len(plan.val):,} that validate")
    if len(plan.names) != PUBLISHED:
        logger.warning(
            "%s names to train on, publications have %s: these folders hold only a part of VOC or SBD",
            *(f"{len(plan.names):,}", f"{PUBLISHED:,}"),
        )
    keys = {"dataset.root": voc, "dataset.labels": output / LABELS, "dataset.train_list": output / LIST}
    print("Train on them with")
    print("  segtrain train +experiment=voc " + " ".join(setting(key, path) for key, path in keys.items()))
