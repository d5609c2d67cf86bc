"""What `segtrain eval` scores: the dataset, samples and scorer of a run and a command line."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from segtrain.builders.data import build_dataset
from segtrain.builders.network import METRIC_ARGUMENTS, build_heads, build_loss, build_metrics
from segtrain.builders.output_stride import naming_output_stride
from segtrain.builders.preflight import require_image_range, require_scorable
from segtrain.builders.run import StoredRun, build_predictor, load_network
from segtrain.builders.user_parts import require_samples
from segtrain.config import resolved, validate_calls
from segtrain.config.stored import require_drawn
from segtrain.config.tables import merge_dataset
from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import spread
from segtrain.errors import ConfigError, DataError
from segtrain.evaluation.scoring import Scorer
from segtrain.inference.options import Tta
from segtrain.losses import scored
from segtrain.runs.environment import describe_contents, describe_data
from segtrain.suggest import did_you_mean
from segtrain.terminal import printable

logger = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """What is scored.

    Attributes:
        dataset: Reads the samples.
        samples: Those to score.
        scorer: Scores them.
        exclude: Ids of classes that are left out of the means over classes.
        workers: Threads that read samples.
        data: The folders read, and the fingerprint of the samples.
    """

    dataset: Dataset
    samples: list[Sample]
    scorer: Scorer
    exclude: tuple[int, ...]
    workers: int
    data: dict[str, str]


def prepare_evaluation(cfg: DictConfig, run: StoredRun, tta: Tta, tiles: int | str) -> Evaluation:
    """Build what a run is evaluated with, and check the samples before the network is built.

    Args:
        cfg: Config of `segtrain eval`.
        run: The run; its config is changed to what the command line gives.
        tta: Test-time augmentation.
        tiles: Side of the tiles, "auto" or "off".

    Raises:
        ConfigError: A key or value does not fit the run.
        DataError: The split cannot be scored.
    """
    config = with_given(run.config, cfg)
    require_drawn(config, set(_keys(cfg.dataset, "dataset")))
    validate_calls(resolved(config, "dataset"))
    dataset = build_dataset(config)
    _require_same_classes(dataset, run)
    exclude = _excluded(cfg.exclude, dataset.class_names)
    every = require_samples(dataset, cfg.split)
    samples = spread(every, cfg.limit_samples)
    require_image_range(dataset, samples)
    require_scorable(dataset, samples, cfg.split)
    validate_calls(
        resolved(config, "metrics"), {f"metrics.{name}": METRIC_ARGUMENTS for name in config.get("metrics") or {}}
    )
    metrics = build_metrics(config, dataset)
    with naming_output_stride(cfg.output_stride):
        model = load_network(run, cfg.weights)
    data = _log_data(run, config, dataset, cfg.split, every)
    heads = build_heads(config, dataset, model)
    predictor = build_predictor(run, model, heads=list(scored(heads)), tta=tta, tiles=tiles)
    scorer = Scorer(predictor, build_loss(config, dataset), dataset, heads=heads, metrics=metrics, with_confidence=True)
    return Evaluation(dataset, samples, scorer, exclude, config.workers, data)


def _excluded(names: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    """Return the ids of the classes that `exclude` names."""
    for name in names:
        if name not in class_names:
            near = did_you_mean(name, class_names)
            listed = ", ".join(map(printable, class_names))
            raise ConfigError(
                f"exclude: {printable(name)}, expected names of {listed}{near}. Fix: 'exclude=[{class_names[0]}]'"
            )
    if len(set(names)) >= len(class_names):
        raise ConfigError("exclude: all classes, expected at least one left. Fix: 'exclude=[]'")
    return tuple(class_names.index(name) for name in dict.fromkeys(names))


def _log_data(
    run: StoredRun, config: DictConfig, dataset: Dataset, split: str, samples: Sequence[Sample]
) -> dict[str, str]:
    """Log what is evaluated, and whether the run was validated on it; return where it lies and its fingerprint."""
    roots, step = roots_of(dataset), run.checkpoint.step
    logger.info("%s at step %d, on %d images of split %s in %s", run.folder, step, len(samples), split, roots)
    if other := other_data(run.checkpoint.metadata["fingerprint"], config, dataset, split, samples):
        logger.warning("split %s in %s is not the data of the run: %s", split, roots, other)
    return {"root": roots, "data": describe_contents(samples)}


def roots_of(dataset: Dataset) -> str:
    """For messages, the folders that a dataset reads."""
    parts = dataset.datasets.values() if isinstance(dataset, Concat) else [dataset]
    return (
        ", ".join(str(Path(root).absolute()) for each in parts if (root := getattr(each, "root", None)))
        or type(dataset).__name__
    )


def other_data(
    then: Mapping[str, str], stored: DictConfig, dataset: Dataset, split: str, samples: Sequence[Sample]
) -> str:
    """Describe how the samples to evaluate differ from those that a run was validated or trained on; "" if not at all.

    Args:
        then: The fingerprint that the run recorded.
        stored: Its config, with the dataset to evaluate.
        dataset: To evaluate.
        split: Its split; of another than the run's, the training split is compared instead.
        samples: Of the split.
    """
    limit = stored.get("limit_samples")
    try:
        if split == stored.get("validation_split", "val") and "validation" in then:
            seen, now = then["validation"], describe_contents(spread(list(samples), limit))
        else:
            training = samples if split == "train" else dataset.samples("train")
            seen, now = then["data"], describe_data(spread(list(training), limit))
    except (DataError, OSError):  # the training split need not be there
        return ""
    return "" if seen == now else f"{now}, the run had {seen}"


def with_given(stored: DictConfig, cfg: DictConfig) -> DictConfig:
    """Replace the run's dataset, as a whole or by single keys, and its metrics by those of the command line."""
    if cfg.dataset is not None:
        stored.dataset = cfg.dataset if "_target_" in cfg.dataset else merge_dataset(stored.dataset, cfg.dataset)
    if cfg.metrics is not None:
        stored.metrics = cfg.metrics
    return stored


def _keys(node: Any, where: str) -> Iterator[str]:
    """Yield the keys of a node that the command line gives: all of its values, and the node where it replaces one."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield where
        for key, value in node.items():
            yield from _keys(value, f"{where}.{key}")
    elif node is not None:
        yield where


def _require_same_classes(dataset: Dataset, run: StoredRun) -> None:
    trained = run.classes.class_names
    if trained != dataset.class_names:
        raise DataError(
            f"the dataset has {dataset.num_classes} classes ({', '.join(dataset.class_names[:4])}, ...), the run "
            f"{run.folder} was trained on {len(trained)} ({', '.join(trained[:4])}, ...), expected the same. Fix: "
            f"evaluate on a dataset with the run's classes"
        )
