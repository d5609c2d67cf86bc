"""The root keys of each command: type, meaning and range. Their values live in configs/<command>.yaml.

`meaning` is what `segtrain <command> --help` prints. The groups (dataset, model, ...) are calls: they
are checked against the signature of what they call.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from segtrain.suggest import did_you_mean

MOST = 1_000_000  # epochs
MANY = 1_000_000_000  # images: all there are
MOST_WORKERS = 128
LONGEST_SIDE = 16_384  # pixels
LONGEST_NAME = 100  # letters, of the 255 that a folder may have
GROUPS = (
    *("dataset", "augment", "model", "backbone", "norm", "heads", "loss", "optimizer", "schedule", "metrics"),
    "callbacks",
)


def key(
    meaning: str,
    *,
    default: Any = MISSING,
    at_least: float | None = None,
    at_most: float | None = None,
    length: int | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
) -> Any:
    """Declare a root key whose value is set in YAML, and what `config.validate_root` holds it to."""
    rules = {
        "at_least": at_least,
        "at_most": at_most,
        "length": length,
        "choices": choices,
        "pattern": pattern,
    }
    return field(default=default, metadata={"meaning": meaning, **rules})


def broken_rules(value: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    """What the declaration of a root key expects and `value` is not."""
    if isinstance(value, str) and rule["at_most"] is not None and len(value) > rule["at_most"]:
        yield f"at most {rule['at_most']} letters"
    numbers = [number for number in (value if isinstance(value, list) else [value]) if not isinstance(number, str)]
    if rule["length"] is not None and isinstance(value, list) and len(value) != rule["length"]:
        yield f"{rule['length']} numbers"
    if rule["at_least"] is not None and any(number < rule["at_least"] for number in numbers):
        yield f"at least {rule['at_least']:,}"
    if rule["at_most"] is not None and any(number > rule["at_most"] for number in numbers):
        yield f"at most {rule['at_most']:,}"
    if rule["choices"] and value not in rule["choices"]:
        yield f"{' or '.join(rule['choices'])}{did_you_mean(str(value), rule['choices'])}"
    if rule["pattern"] and not re.fullmatch(rule["pattern"], str(value)):
        yield "letters, digits, '_', '.' and '-' only"


@dataclass
class CommandConfig:
    """What every command takes."""

    name: str = key("ends the name of the run folder", pattern=r"[\w.-]+", at_most=LONGEST_NAME)
    trusted_modules: list[str] = key(
        "your modules that a _target_ may name; from the working folder, only these are imported"
    )


@dataclass
class TrainConfig(CommandConfig):
    """Root keys of train.yaml."""

    dataset: Any = key("images, labels, class names and colors")
    augment: Any = key("what happens to a training image and its labels")
    model: Any = key("the network around the backbone")
    backbone: Any = key("the feature extractor and its tap layers")
    norm: Any = key("what becomes of the network's batch norm")
    heads: Any = key("further heads on the backbone by name, each with its loss and weight")
    loss: Any = key("from labels and logits to one number")
    optimizer: Any = key("how a gradient becomes a step")
    schedule: Any = key("the learning rate at each step")
    metrics: Any = key("further scores of each validation by name, each a call")
    callbacks: Any = key("Keras callbacks by name, each a call")

    weights: str | None = key("start the whole network from this file of weights or run folder")
    reset_classifier: bool = key("start with a new classifier, for other classes than those of `weights`")
    seed: int = key("of weights, order and augmentation", at_least=0, at_most=2**32 - 1)
    epochs: int = key("passes over the training images", at_least=1, at_most=MOST)
    batch_size: int = key("images in one step", at_least=1, at_most=65_536)
    crop_size: list[int] = key(
        "height and width of a training crop, in pixels", at_least=1, at_most=LONGEST_SIDE, length=2
    )
    resize: list[int] | None = key(
        "height and width that an image is resized to before the network", at_least=1, at_most=LONGEST_SIDE, length=2
    )
    precision: str = key(
        "of features; weights, logits and losses are float32", choices=("float32", "mixed_bfloat16", "mixed_float16")
    )
    jit: str = key("whether XLA compiles a step; auto: on one GPU", choices=("auto", "on", "off"))
    activation_checkpointing: bool = key("compute the backbone's early features twice: less memory, a slower step")
    ema_decay: float = key("decay of averaged weights, which are then scored; 0 for none", at_least=0, at_most=0.999999)
    gradient_accumulation_steps: int = key(
        "equal parts that a batch is computed in one after another: less memory", at_least=1, at_most=65_536
    )
    clip_norm: float | None = key("global norm that a step's gradients are scaled down to", at_least=1e-6, at_most=1e6)
    lr_multipliers: dict[str, float] = key("factors to the learning rate by beginning of a layer's name; 0 freezes it")
    freeze_backbone_epochs: int = key("epochs at first in which the backbone does not move", at_least=0, at_most=MOST)
    decay_norm_and_bias: bool = key("let weight decay pull on normalization and biases, too")
    shuffle: bool = key("draw the training images in a new order each epoch")
    limit_samples: int | None = key(
        "train and validate on only so many images, spread over each split", at_least=1, at_most=MANY
    )
    validation_split: str = key(
        "the split to validate on: val, test or a named one; train shows whether a network can learn its images"
    )
    precise_bn_batches: int = key(
        "training batches to count batch norm's statistics from before each validation", at_least=0, at_most=100_000
    )
    validate_every: int = key("epochs from one validation to the next", at_least=1, at_most=MOST)
    monitor: str = key(
        "reported score that selects the best checkpoint, such as val_mean_iou, val_loss or val_iou/CLASS", at_most=500
    )
    workers: int = key("processes, or threads, that read and augment images", at_least=1, at_most=MOST_WORKERS)
    loader: str = key(
        "what the workers are; auto: threads with a cache or trusted_modules, else processes",
        choices=("auto", "processes", "threads"),
    )
    cache: str | None = key("keep decoded samples: memory, or a folder to pack them into; null decodes them each time")
    checkpoint_every_minutes: float = key(
        "from one checkpoint within an epoch to the next; each epoch ends with one", at_least=0, at_most=100_000
    )
    tensorboard_images: int = key("validation images whose overlays TensorBoard shows", at_least=0, at_most=10_000)
    keep_last: int = key("checkpoints to keep beside the best", at_least=1, at_most=10_000)
    strategy: str = key(
        "devices: one; mirrored, those of this process; multiworker, of all processes of TF_CONFIG or Slurm; or auto",
        choices=("auto", "one", "mirrored", "multiworker"),
    )
    replicas: int | None = key(
        "of strategy=mirrored; null is all GPUs, without GPUs parts of the CPU", at_least=1, at_most=1024
    )
    resume: str | None = key("run folder to continue, in place; auto is the newest unfinished one of this config")


@dataclass
class EvalConfig(CommandConfig):
    """Root keys of eval.yaml."""

    # Not null in YAML: its own keys come last there, and would undo dataset=NAME.
    dataset: Any = key("instead of the run's own: dataset=NAME, dataset.root=DIR", default=None)
    metrics: Any = key("further scores instead of the run's own, by name, each a call", default=None)
    run: str | None = key("run folder to evaluate; null is the newest under runs/")
    checkpoint: str = key("which checkpoint: best or last", choices=("best", "last"))
    weights: str = key(
        "ema: the averaged weights where there are any; raw: those of the last step", choices=("ema", "raw")
    )
    split: str = key("the split to evaluate: train, val, test or a named one")
    overlays: int = key("pictures to write: image, ground truth, prediction", at_least=0, at_most=MANY)
    alpha: float = key("weight of the colors over the image", at_least=0, at_most=1)
    save_predictions: bool = key("write each image's class ids as a palette PNG")


@dataclass
class DoctorConfig(CommandConfig):
    """Root keys of doctor.yaml."""

    run: str | None = key("run folder to examine; null is the newest under runs/")


@dataclass
class SummaryConfig(TrainConfig):
    """Root keys of summary.yaml: those of train.yaml, so that every experiment composes."""

    image_size: list[int] = key("height and width of the input, in pixels", at_least=1, at_most=LONGEST_SIDE, length=2)


@dataclass
class CheckConfig(TrainConfig):
    """Root keys of check.yaml: those of train.yaml, so that every experiment composes."""

    splits: list[str] | None = key("splits to check; null is all that the dataset has")
    limit: int | None = key("check only so many images of each split, spread over it", at_least=1, at_most=MANY)
    show: int = key("files to print of each finding; check.json has all", at_least=0, at_most=MANY)
    fresh: bool = key("read files again that have not changed since they were read last")


@dataclass
class BrowseConfig(TrainConfig):
    """Root keys of browse.yaml: those of train.yaml, so that every experiment composes."""

    split: str = key("the split to look at: train, val, test or a named one")
    images: int = key("images to show, drawn by the seed", at_least=1, at_most=MANY)
    draws: int = key("augmented crops to show of each, one an epoch", at_least=0, at_most=1000)
    alpha: float = key("weight of the colors over the image", at_least=0, at_most=1)


@dataclass
class BenchConfig(TrainConfig):
    """Root keys of bench.yaml: those of train.yaml, so that every experiment composes."""

    what: str = key("what is measured, as in segtrain bench data", choices=("data",))
    passes: int = key("how often", at_least=1, at_most=10_000)
    images: int = key("training images in a pass", at_least=1, at_most=MANY)


@dataclass
class CompareConfig(SummaryConfig):
    """Root keys of compare.yaml: those of summary.yaml, which count for both experiments."""

    other: str | None = key("the second of the two experiments")


@dataclass
class DownloadConfig(CommandConfig):
    """Root keys of download.yaml."""

    name: str = key(
        "which dataset, as in segtrain download voc; list shows what there is", pattern=r"[\w.-]+", at_most=LONGEST_NAME
    )
    root: str = key("the folder that datasets are put in")
    archive: Any = key("archives that you have already: a file, a list of files, or the folder they are in")
    keep_archive: bool = key("leave what was downloaded in the root when it has been unpacked")
    check: bool = key("run segtrain check on it when it is there")
    timeout: float = key("seconds without an answer after which a server counts as stalled", at_least=1, at_most=86_400)
    attempts: int = key("tries at each mirror that may bring nothing", at_least=1, at_most=1000)


@dataclass
class PrepareConfig(CommandConfig):
    """Root keys of prepare.yaml."""

    sbd: str = key("SBD's folder benchmark_RELEASE")
    voc: str = key("VOC's folder VOCdevkit/VOC2012")
    output: str = key("the folder that the labels and the list are written to")
    workers: int = key("files converted at a time", at_least=1, at_most=MOST_WORKERS)


SCHEMAS: dict[str, type[CommandConfig]] = {
    "bench": BenchConfig,
    "browse": BrowseConfig,
    "train": TrainConfig,
    "check": CheckConfig,
    "doctor": DoctorConfig,
    "download": DownloadConfig,
    "eval": EvalConfig,
    "summary": SummaryConfig,
    "compare": CompareConfig,
    "prepare": PrepareConfig,
}
