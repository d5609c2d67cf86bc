"""The root keys of each command: type, meaning and range. Their values live in configs/<command>.yaml.

`meaning` is what `segtrain <command> --help` prints. The groups (dataset, model, ...) are calls: they
are checked against the signature of what they call.
"""

from dataclasses import dataclass
from typing import Any

from segtrain.config.root_keys import LONGEST_NAME, LONGEST_SIDE, MANY, MOST, MOST_WORKERS, CommandConfig, key
from segtrain.config.schema_of_runs import EvalConfig, PredictConfig, ReportConfig, RunsConfig, VerifyConfig


@dataclass
class TrainConfig(CommandConfig):
    """Root keys of train.yaml."""

    dataset: Any = key("images, labels, class names and colors")
    augment: Any = key("augmentation of training images and labels")
    model: Any = key("segmentation network on top of the backbone")
    backbone: Any = key("feature extractor and its tap layers")
    norm: Any = key("normalization: train, freeze, synchronize, or replace with group norm")
    heads: Any = key("additional heads on the backbone by name, each with a loss and a weight")
    loss: Any = key("training loss")
    optimizer: Any = key("optimizer and its settings")
    schedule: Any = key("learning rate schedule")
    metrics: Any = key("additional validation metrics by name")
    callbacks: Any = key("additional Keras callbacks by name")

    weights: str | None = key("weight file or run folder that initializes the complete network")
    reset_classifier: bool = key("initialize the classifier anew, for other classes than those of `weights`")
    seed: int = key("random seed for initial weights, sample order and augmentation", at_least=0, at_most=2**32 - 1)
    epochs: int = key("passes over the training images", at_least=1, at_most=MOST)
    batch_size: int = key("images per training step", at_least=1, at_most=65_536)
    crop_size: list[int] = key(
        "height and width of a training crop, in pixels", at_least=1, at_most=LONGEST_SIDE, length=2
    )
    resize: list[int] | None = key(
        "height and width to resize images to before the network; null keeps their own size",
        at_least=1,
        at_most=LONGEST_SIDE,
        length=2,
    )
    precision: str = key(
        "data type of features; weights, logits and losses stay float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit: str = key("compile the training step with XLA; auto: on a single GPU", choices=("auto", "on", "off"))
    activation_checkpointing: bool = key(
        "recompute the backbone's early features in the backward pass: less memory, slower steps"
    )
    ema_decay: float = key(
        "decay of the averaged weights that are validated and saved; 0 disables averaging", at_least=0, at_most=0.999999
    )
    gradient_accumulation_steps: int = key("gradient accumulation: micro-batches per step", at_least=1, at_most=65_536)
    clip_norm: float | None = key(
        "maximum global norm of a step's gradients; null disables clipping", at_least=1e-6, at_most=1e6
    )
    lr_multipliers: dict[str, float] = key(
        "learning rate factors by prefix of a layer's name, or backbone; 0 freezes the layers"
    )
    freeze_backbone_epochs: int = key("freeze the backbone for the first N epochs", at_least=0, at_most=MOST)
    decay_norm_and_bias: bool = key("apply weight decay to normalization and bias weights too")
    shuffle: bool = key("shuffle the training images each epoch")
    limit_samples: int | None = key("maximum images per split, evenly spaced; null uses all", at_least=1, at_most=MANY)
    validation_split: str = key("validation split: val, test, train or a named one")
    tta: Any = key(
        "test-time augmentation of validation: none, flip, ms (scales 0.75 to 2), ms_flip, or {scales: [...], "
        "flip: true}"
    )
    tiles: Any = key("side of the tiles that larger validation images are divided into, in pixels; auto; off")
    precise_bn_batches: int = key(
        "training batches to recompute batch norm statistics from before each validation; 0 disables it",
        at_least=0,
        at_most=100_000,
    )
    validate_every: int = key("epochs between validations", at_least=1, at_most=MOST)
    monitor: str = key(
        "reported score that selects the best checkpoint, such as val_mean_iou, val_loss or val_iou/CLASS", at_most=500
    )
    workers: int = key("processes or threads that read and augment images", at_least=1, at_most=MOST_WORKERS)
    loader: str = key(
        "type of the workers; auto: threads with a cache or trusted_modules, else processes",
        choices=("auto", "processes", "threads"),
    )
    cache: str | None = key("cache of decoded samples: memory, or a folder; null decodes them every epoch")
    checkpoint_every_minutes: float = key(
        "minutes between checkpoints within an epoch; each epoch ends with one", at_least=0, at_most=100_000
    )
    tensorboard_images: int = key("validation images shown as overlays in TensorBoard", at_least=0, at_most=10_000)
    keep_last: int = key("latest checkpoints to keep, in addition to the best", at_least=1, at_most=10_000)
    strategy: str = key(
        "devices: one, mirrored (all of this process), multiworker (processes of TF_CONFIG or Slurm), or auto",
        choices=("auto", "one", "mirrored", "multiworker"),
    )
    replicas: int | None = key(
        "replicas of strategy=mirrored; null is all GPUs, or shares of the CPU without GPUs", at_least=1, at_most=1024
    )
    resume: str | None = key("run folder to resume in place; auto: the newest unfinished run of this config")


@dataclass
class DoctorConfig(CommandConfig):
    """Root keys of doctor.yaml."""

    run: str | None = key("run folder to examine; null is the newest under runs/")


@dataclass
class SummaryConfig(TrainConfig):
    """Root keys of summary.yaml: those of train.yaml, so that every experiment composes."""

    image_size: list[int] = key("height and width of the input, in pixels", at_least=1, at_most=LONGEST_SIDE, length=2)
    taps: str = key("tap layers to print: those used, or all that a backbone has", choices=("used", "all"))


@dataclass
class CheckConfig(TrainConfig):
    """Root keys of check.yaml: those of train.yaml, so that every experiment composes."""

    splits: list[str] | None = key("splits to check; null is all of the dataset")
    limit: int | None = key(
        "maximum images to check per split, evenly spaced; null checks all", at_least=1, at_most=MANY
    )
    show: int = key("files to print per finding; check.json lists all", at_least=0, at_most=MANY)
    fresh: bool = key("read unchanged files again")


@dataclass
class BrowseConfig(TrainConfig):
    """Root keys of browse.yaml: those of train.yaml, so that every experiment composes."""

    split: str = key("split to show: train, val, test or a named one")
    images: int = key("images to show, selected by the seed", at_least=1, at_most=MANY)
    draws: int = key("augmented crops to show per image", at_least=0, at_most=1000)
    alpha: float = key("opacity of the class colors over the image", at_least=0, at_most=1)


@dataclass
class BenchConfig(TrainConfig):
    """Root keys of bench.yaml: those of train.yaml, so that every experiment composes."""

    what: str = key("part to measure", choices=("data",))
    passes: int = key("number of passes", at_least=1, at_most=10_000)
    images: int = key("training images per pass", at_least=1, at_most=MANY)


@dataclass
class CompareConfig(SummaryConfig):
    """Root keys of compare.yaml: those of summary.yaml, which count for both experiments."""

    other: str | None = key("second experiment to compare")
    runs: list[str] = key("run folders to compare by their newest evaluations; the first is the reference")
    panels: int = key("images to draw on which the runs disagree most", at_least=0, at_most=10_000)


@dataclass
class DownloadConfig(CommandConfig):
    """Root keys of download.yaml."""

    name: str = key("dataset to download; list prints those available", pattern=r"[\w.-]+", at_most=LONGEST_NAME)
    root: str = key("folder for datasets")
    archive: Any = key("archives already downloaded: a file, a list of files, or their folder")
    keep_archive: bool = key("keep downloaded archives after extraction")
    check: bool = key("run segtrain check after extraction")
    timeout: float = key("seconds without a response before a server counts as stalled", at_least=1, at_most=86_400)
    attempts: int = key("attempts per mirror that receive no data", at_least=1, at_most=1000)


@dataclass
class PrepareConfig(CommandConfig):
    """Root keys of prepare.yaml."""

    sbd: str = key("SBD's folder benchmark_RELEASE")
    voc: str = key("VOC's folder VOCdevkit/VOC2012")
    output: str = key("folder for the labels and the list")
    workers: int = key("files to convert in parallel", at_least=1, at_most=MOST_WORKERS)


SCHEMAS: dict[str, type[CommandConfig]] = {
    "bench": BenchConfig,
    "browse": BrowseConfig,
    "train": TrainConfig,
    "check": CheckConfig,
    "doctor": DoctorConfig,
    "download": DownloadConfig,
    "eval": EvalConfig,
    "predict": PredictConfig,
    "verify": VerifyConfig,
    "runs": RunsConfig,
    "report": ReportConfig,
    "summary": SummaryConfig,
    "compare": CompareConfig,
    "prepare": PrepareConfig,
}
