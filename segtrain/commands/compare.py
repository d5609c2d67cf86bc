"""`segtrain compare ONE OTHER`: differences of two experiments, or of runs and the scores of their evaluations."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from segtrain import config
from segtrain.config import hydra_errors as composition
from segtrain.config import stored_config
from segtrain.config.tree import plain
from segtrain.errors import ConfigError
from segtrain.process.quiet import quiet_tensorflow
from segtrain.report.differences import differences, leaves, print_differences
from segtrain.report.progress import track
from segtrain.report.run_comparison import (
    Evaluated,
    as_mapping,
    changes,
    disagreements,
    draw_disagreement,
    print_changes,
    read_evaluated,
    require_comparable,
)
from segtrain.runs.classes import read_run_classes
from segtrain.runs.folder import new_run_folder, write_json
from segtrain.shell import brief
from segtrain.storage import write_png
from segtrain.terminal import printable
from segtrain.visual.curves import draw_runs


def compare(cfg: DictConfig) -> None:
    """Print what differs between the config of this command line and that of the same line with another experiment.

    Raises:
        ConfigError: The other experiment is missing, or a key of the line does not fit both.
    """
    if cfg.runs:
        _compare_runs(cfg)
        return
    if cfg.other is None:
        raise ConfigError(
            "segtrain compare: expected the names of two experiments, or run folders. Fix: segtrain compare "
            "keras_io_2021 cihp"
        )
    other = _composed_with(cfg.other)
    # Starting TensorFlow takes seconds, composing does not: a misspelled name is reported at once.
    with quiet_tensorflow():
        from segtrain.builders.description import Description, describe

    chosen = HydraConfig.get().runtime.choices
    headings = (str(chosen.get("experiment", "the defaults")), str(cfg.other))
    one, two = describe(cfg), describe(other)
    print_differences("config", headings, differences(leaves(plain(cfg)), leaves(plain(other))))

    def rows_of(found: Description) -> dict[str, str]:
        rows = {row.name: f"{row.value} {row.note}" if row.section == "shapes" else row.value for row in found.rows}
        return {"network": found.model, **rows, **found.layers}

    print_differences("network", headings, differences(rows_of(one), rows_of(two)))


def _composed_with(experiment: str) -> DictConfig:
    """Compose this command line once more, with another experiment.

    Raises:
        ConfigError: The experiment does not exist, or a key of the line does not fit it.
    """
    words: Sequence[str] = HydraConfig.get().overrides.task
    overrides = [f"+experiment={experiment}", *(word for word in words if not word.startswith("+experiment="))]
    try:
        cfg = hydra.compose("compare", overrides)
    except composition.COMPOSITION_ERRORS as error:
        explained = composition.explain(error, "compare", overrides, config.groups())
        text = str(explained).replace("+experiment=", "other=")
        raise ConfigError(f"other={brief(experiment)}: {text}" if text.startswith("no experiment") else text) from error
    config.validate_root(cfg, "compare")
    return cfg


def _compare_runs(cfg: DictConfig) -> None:
    """Compare the newest evaluations of runs with that of the first one.

    Raises:
        ConfigError: Fewer than two runs are given.
        DataError: The runs have other classes, or the evaluations other images.
    """
    if len(cfg.runs) < 2:
        raise ConfigError("runs: one run, expected two or more. Fix: segtrain compare RUN RUN")
    found = [read_evaluated(path) for path in cfg.runs]
    require_comparable(found)
    with new_run_folder("compare", cfg.name, keep_if="compare.json") as output:
        first = found[0]
        compared: dict[str, object] = {}
        for index, each in enumerate(found[1:], 1):
            compared[str(each.run)] = _compare_two(first, each, output / f"run-{index}", cfg.panels)
        histories = {f"{index}: {each.run.name}": each.run / "metrics.jsonl" for index, each in enumerate(found)}
        curve = draw_runs(histories, output)
        write_json(output / "compare.json", {"reference": str(first.run), "runs": compared})
    if curve is not None:
        print(f"curves: {printable(curve)}")
    print(f"comparison: {printable(output)}")


def _compare_two(first: Evaluated, other: Evaluated, folder: Path, num_panels: int) -> dict[str, object]:
    """Print and draw how one run differs from the reference."""
    classes = read_run_classes(first.run)
    headings = (first.run.name, other.run.name)
    configs = [leaves(plain(stored_config(each.run))) for each in (first, other)]
    print_differences("config", headings, differences(*configs))
    rows = changes(first, other, classes.class_names)
    print_changes(first, other, rows)
    found = list(track(disagreements(first, other), len(first.names), "comparison", "images"))
    found.sort(key=lambda each: -each[1])
    for name, fraction in found[:num_panels]:
        if fraction:
            write_png(folder / f"{name}.png", draw_disagreement(first, other, name, fraction, classes))
    worst = "".join(f", {printable(name)} {fraction:.1%}" for name, fraction in found[:3])
    print(f"pixels predicted differently: mean {sum(each for _, each in found) / len(found):.2%}{worst}")
    return {"scores": as_mapping(rows), "disagreement": dict(found)}
