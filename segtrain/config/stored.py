"""Names that the config in a run folder may use: the folder may come from a stranger, so its config is data.

segtrain stores resolved values and parts of the lists below. Whatever else is in such a config was put there by hand.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrain.errors import DataError
from segtrain.shell import brief, setting

_SEGTRAIN = {
    "data": (
        *("Blur", "Cihp", "ColorJitter", "Concat", "CopyPaste", "CutMix", "Cutout", "Folder", "Noise", "People"),
        *("Resize", "ScaleCropFlip", "Voc"),
    ),
    "evaluation": ("Boundary", "Calibration"),
    "losses": (
        *("BoundaryCrossEntropy", "CrossEntropy", "Dice", "EdgeCrossEntropy", "Focal", "Lovasz", "OhemCrossEntropy"),
        *("Sum", "Tversky"),
    ),
    "models": (
        *("application", "auxiliary", "deeplabv3", "deeplabv3plus", "edges", "fcn", "frozen_norm", "group_norm"),
        *("lraspp", "pspnet", "segformer_mlp", "synchronized_norm", "torch_resnet", "trained_norm", "unet"),
    ),
    "training": ("Cosine", "OneCycle", "Poly", "StepDecay", "constant"),
}
_KERAS = {
    "optimizers": (
        *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "LossScaleOptimizer"),
        *("Muon", "Nadam", "RMSprop", "SGD", "ScheduleFreeAdamW"),
    ),
    "optimizers.schedules": (
        *("CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PiecewiseConstantDecay"),
        "PolynomialDecay",
    ),
    "losses": (
        *("BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy"),
        *("CategoricalGeneralizedCrossEntropy", "CategoricalHinge", "CosineSimilarity", "Dice", "Hinge", "Huber"),
        *("KLDivergence", "LogCosh", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError"),
        *("MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge", "Tversky"),
    ),
}
# They compute, or read the files of a dataset; none writes, starts a process or opens a connection when it is built.
PARTS = frozenset(
    f"{package}.{module}.{name}"
    for package, modules in (("segtrain", _SEGTRAIN), ("keras", _KERAS))
    for module, names in modules.items()
    for name in names
)
# They read the history of the run and can do nothing but end it; all others are ignored.
CALLBACKS = frozenset({"segtrain.training.EarlyStopping", "segtrain.training.ReachScore"})
# How to give those of segtrain again that act beyond the run.
_OPTIONS = {
    "segtrain.training.WandbLogger": "callbacks=wandb",
    "segtrain.training.MlflowLogger": "callbacks=mlflow",
    "segtrain.training.Profile": "+callbacks.profile._target_=segtrain.training.Profile",
}
# The only part that makes files: it draws its images where `root` has none.
DRAWS = "segtrain.data.People"
MOST_BYTES = 1 << 20
_LONGEST = 200  # of a value in a message, in letters


def take_effects(tree: dict[str, Any]) -> dict[str, str]:
    """Take out of a stored config what acts beyond the run folder; return a message by key of each.

    Callbacks other than `CALLBACKS` may write, start programs and send anything anywhere; a cache writes its folder.
    """
    taken = {}
    callbacks = tree.get("callbacks") or {}
    if not isinstance(callbacks, Mapping):
        callbacks = {"NAME": callbacks}
    for name, node in callbacks.items():
        if _target(node) not in CALLBACKS:
            again = _OPTIONS.get(_target(node), "+callbacks.NAME._target_=CLASS")
            taken[f"callbacks.{name}"] = f"callbacks.{shown(name)} of the run is ignored. Fix: give it again, {again}"
    if "callbacks" in tree:
        tree["callbacks"] = {name: node for name, node in callbacks.items() if f"callbacks.{name}" not in taken}
    cache = tree.get("cache")
    if cache not in (None, "memory"):
        tree["cache"] = None
        again = setting("cache", cache)
        taken["cache"] = f"cache={shown(cache)} of the run is ignored. Fix: give it again, {again}"
    return taken


def problems(tree: Any, trusted: Sequence[str] | None, where: str = "") -> Iterator[str]:
    """Yield every reason why a stored config is refused, each beginning with its key.

    Args:
        tree: The config, interpolations unresolved.
        trusted: Modules that the command line trusts; None for a config of which nothing is built.
        where: Key of `tree`.
    """
    if isinstance(tree, Mapping):
        target = _target(tree)
        if "_target_" in tree and trusted is not None and not _is_allowed(target, trusted):
            yield (
                f"{where}._target_={shown(tree['_target_'])} is refused for safety, expected in a run folder: a part "
                f"of segtrain, or an optimizer, schedule or loss of Keras. Fix: restore the file, or "
                f"{_how_to_allow(target)}"
            )
        for key, value in tree.items():
            below = f"{where}.{shown(key)}" if where else shown(key)
            yield from _text_problems(key, below)
            if target.startswith("keras.") and not _is_plain(value):
                # Keras builds whatever class a mapping of "module" and "class_name" names.
                yield f"{below}: refused, expected numbers, text or a call with _target_. Fix: restore the file"
            yield from problems(value, trusted, below)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from problems(value, trusted, f"{where}.{index}")
    else:
        yield from _text_problems(tree, where)


def require_drawn(tree: Mapping[str, Any], given: Collection[str]) -> None:
    """Refuse to draw sample data where only a stored config asks for it.

    Args:
        tree: The config, with what the command line changes.
        given: Keys that the command line gives.

    Raises:
        DataError: The folder is not there, and its key is not among those given.
    """
    for where, node in _calls_of(DRAWS, tree.get("dataset"), "dataset"):
        key, root = f"{where}.root", node.get("root")
        if key not in given and where not in given and not Path(str(root)).expanduser().is_dir():
            raise DataError(
                f"{key}={shown(root)}: no such folder, and sample data is not drawn where only a run folder asks "
                f"for it, expected the data of the run. Fix: {setting(key, str(root))} on the command line draws it "
                f"there"
            )


def _is_allowed(target: str, trusted: Sequence[str]) -> bool:
    return target in PARTS or target in CALLBACKS or any(target.startswith(f"{each}.") for each in trusted)


def _how_to_allow(target: str) -> str:
    package, _, name = target.rpartition(".")
    if package.removeprefix("segtrain.") in _SEGTRAIN and package.startswith("segtrain."):
        return f"for a part that you added to segtrain: list {shown(name)} in segtrain/config/stored.py"
    return "trusted_modules=[MODULE] for a module of your own"


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, Mapping) or "_target_" in value


def _text_problems(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, str) and "${" in value:
        yield f"{where}={shown(value)}: an interpolation is refused in a run folder. Fix: write the value itself"


def _target(node: Any) -> str:
    return str(node.get("_target_", "")) if isinstance(node, Mapping) else ""


def _calls_of(target: str, tree: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(tree, list):
        tree = dict(enumerate(tree))
    if isinstance(tree, Mapping):
        if _target(tree) == target:
            yield where, tree
        for key, value in tree.items():
            yield from _calls_of(target, value, f"{where}.{key}")


def shown(value: Any) -> str:
    """Write a stored value for one line of a terminal, which control characters could otherwise rewrite."""
    return brief(value, _LONGEST)
