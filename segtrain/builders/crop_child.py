"""The program of a process that loads crops of a run: `inputs.build_loader` has `data.processes` start it."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from segtrain.builders.data import build_crops
from segtrain.config import build
from segtrain.data.images.sample import Sample
from segtrain.data.loading.crop_server import serve
from segtrain.data.loading.crops import Crops
from segtrain.process import working_folder


def make_crops(job: dict[str, Any], samples: Sequence[Sample]) -> Crops:
    """Build the very crops that the run has."""
    cfg = OmegaConf.create(job["config"])
    working_folder.trust(cfg.trusted_modules, working_folder.current())
    return build_crops(cfg, build(cfg.dataset), samples, job["flip_pairs"])


if __name__ == "__main__":
    serve(make_crops)
