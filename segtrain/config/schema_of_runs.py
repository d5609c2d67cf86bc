"""Root keys of the commands that read a trained run."""

from dataclasses import dataclass
from typing import Any

from segtrain.config.root_keys import MANY, MOST_WORKERS, CommandConfig, key


@dataclass
class EvalConfig(CommandConfig):
    """Root keys of eval.yaml."""

    # Not null in YAML: its own keys come last there, and would undo dataset=NAME.
    dataset: Any = key(
        "dataset or single values instead of the run's own: dataset=NAME, dataset.root=DIR", default=None
    )
    metrics: Any = key("additional metrics instead of the run's own, by name", default=None)
    run: str | None = key("run folder to evaluate; null is the newest under runs/")
    checkpoint: str = key("checkpoint to load", choices=("best", "last"))
    weights: str = key(
        "weights to load: ema (averaged, where there are any) or raw (last step)", choices=("ema", "raw")
    )
    tta: Any = key("test-time augmentation: none, flip, ms (scales 0.75 to 2), ms_flip, or {scales: [...], flip: true}")
    tiles: Any = key(
        "side of the tiles that larger images are divided into, in pixels; auto: 1024 above 4 megapixels; off"
    )
    output_stride: int | None = key("8, 16 or 32 instead of the backbone's own; a smaller one is slower and finer")
    split: str = key("split to evaluate: train, val, test or a named one")
    exclude: list[str] = key("classes to leave out of the means over classes, by name")
    limit_samples: int | None = key(
        "maximum images to evaluate, evenly spaced; null evaluates all", at_least=1, at_most=MANY
    )
    overlays: int = key("overlay images to write: image, ground truth, prediction", at_least=0, at_most=MANY)
    style: str = key(
        "panels of an overlay: panels, errors (with a map of the errors), or source (the keras.io program's)",
        choices=("panels", "errors", "source"),
    )
    contours: bool = key("draw the borders between classes in overlays")
    palette: str = key(
        "class colors in pictures: dataset, or colorblind (distinct with any color vision)",
        choices=("dataset", "colorblind"),
    )
    background: str = key("whether overlays color class 0: painted or unpainted", choices=("painted", "unpainted"))
    alpha: float = key("opacity of the class colors over the image", at_least=0, at_most=1)
    save_predictions: bool = key("write predicted class ids as palette PNGs")
    report: bool = key("write report.html, with small copies of up to 300 images")


@dataclass
class PredictConfig(CommandConfig):
    """Root keys of predict.yaml."""

    source: Any = key("file, folder, glob, list file, video, camera number, or a list of them")
    run: str | None = key("run folder to predict with; null is the newest under runs/")
    checkpoint: str = key("checkpoint to load", choices=("best", "last"))
    weights: str = key(
        "weights to load: ema (averaged, where there are any) or raw (last step)", choices=("ema", "raw")
    )
    tta: Any = key("test-time augmentation: none, flip, ms (scales 0.75 to 2), ms_flip, or {scales: [...], flip: true}")
    tiles: Any = key(
        "side of the tiles that larger images are divided into, in pixels; auto: 1024 above 4 megapixels; off"
    )
    output_stride: int | None = key("8, 16 or 32 instead of the backbone's own; a smaller one is slower and finer")
    save: Any = key("results to write, a list of labels, overlay, color, panels (side by side) and probabilities")
    alpha: float = key("opacity of the class colors over the image", at_least=0, at_most=1)
    palette: str = key(
        "class colors: dataset, or colorblind (distinct with any color vision)", choices=("dataset", "colorblind")
    )
    output: str | None = key("folder for the results; null is a new one under runs/predict")
    skip_existing: bool = key("keep the results that `output` holds, and predict the others")
    max_frames: int | None = key("frames of a video or camera to predict; null is all", at_least=1, at_most=MANY)
    workers: int = key("threads that read images", at_least=1, at_most=MOST_WORKERS)


@dataclass
class ReportConfig(CommandConfig):
    """Root keys of report.yaml."""

    run: str | None = key("run folder to report on; null is the newest under runs/")
    eval: str | None = key("evaluation folder of that run; null is the newest")
    output: str | None = key("HTML file to write; null is report.html in the evaluation folder")
    images: int = key("maximum images to show", at_least=0, at_most=300)


@dataclass
class RunsConfig(CommandConfig):
    """Root keys of runs.yaml."""

    root: str | None = key("folder with the run folders; null is runs/train")
    sort: str = key("order of the rows", choices=("date", "name", "best", "epochs", "size", "state"))
    descending: bool = key("newest, best or largest first")
    filter: str | None = key("text that the name, state, monitor or folder contains; null lists all", at_most=500)
    json: bool = key("print JSON instead of a table; --json for short")


@dataclass
class VerifyConfig(CommandConfig):
    """Root keys of verify.yaml."""

    eval: str | None = key("evaluation folder to verify; null is the newest under runs/eval")
