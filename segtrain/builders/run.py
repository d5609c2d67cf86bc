"""The one way back into a run folder: its config, classes, network and weights.

A run folder is data: its config may name segtrain's and Keras' own parts only, see `segtrain.config.stored`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from omegaconf import DictConfig

from segtrain.builders.files_of_run import warn_of_edits
from segtrain.builders.output_stride import naming_output_stride, with_output_stride
from segtrain.config import stored_config, validate_stored
from segtrain.config.tree import plain
from segtrain.errors import naming
from segtrain.inference.options import Tta, parse_tiles, parse_tta
from segtrain.runs.checkpoint import Checkpoint, pick_checkpoint
from segtrain.runs.classes import RunClasses, read_run_classes
from segtrain.runs.folder import require_run

if TYPE_CHECKING:
    import keras

    from segtrain.inference.predictor import Labeled, Predictor

# What a network and its preprocessing need of a run's config.
NETWORK_KEYS = frozenset({"model", "backbone", "norm", "resize"})


class StoredRun(NamedTuple):
    """Contents of a run folder, before any network is built.

    Attributes:
        folder: The run folder.
        config: Its config, without what acts beyond the run folder.
        classes: Names, colors and pairs of its classes.
        checkpoint: The chosen one.
    """

    folder: Path
    config: DictConfig
    classes: RunClasses
    checkpoint: Checkpoint


class Run:
    """A trained network, ready to label images.

    Attributes:
        folder: The run folder.
        config: The config that it was trained with.
        checkpoint: The checkpoint that was loaded.
        class_names: K names; their positions are the class ids.
        colors: (K, 3) uint8 RGB.
        ignore_class: The label of pixels that did not count in training.
        flip_pairs: Ids of (left, right) classes.
        model: The `keras.Model`, from (B, H, W, 3) uint8 RGB to logits.
        predictor: The `segtrain.inference.Predictor` of the network.
    """

    def __init__(
        self, stored: StoredRun, model: "keras.Model", *, tta: Any = "none", tiles: int | str = "auto"
    ) -> None:
        self.folder = stored.folder
        self.config = stored.config
        self.checkpoint = stored.checkpoint
        self.class_names = stored.classes.class_names
        self.colors = stored.classes.colors
        self.ignore_class = stored.classes.ignore_class
        self.flip_pairs = stored.classes.flip_pairs
        self.model = model
        self.predictor = build_predictor(stored, model, tta=tta, tiles=tiles)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Label every pixel of an image.

        Args:
            image: (H, W, 3) uint8 RGB, of any size.

        Returns:
            (H, W) uint8 class ids, positions in `class_names`.

        Raises:
            ValueError: The image has another shape or type.
            NumericError: A logit is NaN or infinite.
        """
        return self.predictor.predict(image)

    def label(self, image: np.ndarray) -> "Labeled":
        """Label every pixel of an image, with the confidence in it.

        Args:
            image: (H, W, 3) uint8 RGB, of any size.

        Returns:
            `labels`, (H, W) uint8 class ids, and `confidence`, (H, W) float32, the probability of that class.

        Raises:
            ValueError: The image has another shape or type.
            NumericError: A logit is NaN or infinite.
        """
        return self.predictor.label(image)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Compute the class probabilities of an image at its own size.

        Args:
            image: (H, W, 3) uint8 RGB, of any size.

        Returns:
            (H, W, K) float32, 0-1.

        Raises:
            ValueError: The image has another shape or type.
            NumericError: A logit is NaN or infinite.
        """
        return self.predictor.probabilities(image)

    def logits(self, image: np.ndarray) -> np.ndarray:
        """Compute the logits of an image at its own size.

        Args:
            image: (H, W, 3) uint8 RGB, of any size.

        Returns:
            (H, W, K) float32; their softmax are the class probabilities.

        Raises:
            ValueError: The image has another shape or type.
        """
        return self.predictor.logits(image)

    def __repr__(self) -> str:
        return f"<segtrain run {self.folder}: {len(self.class_names)} classes, step {self.checkpoint.step}>"


def load_run(
    run: str | Path,
    checkpoint: Literal["best", "last"] = "best",
    weights: Literal["ema", "raw"] = "ema",
    *,
    tta: Any = "none",
    tiles: int | str = "auto",
    output_stride: int | None = None,
    trusted_modules: Sequence[str] = (),
) -> Run:
    """Load a trained network from its run folder; neither a dataset nor labels are needed.

    Args:
        run: The run folder, such as `runs/train/2026-11-30_12-00-00_people`.
        checkpoint: The best by the run's `monitor`, or the last.
        weights: The averaged weights where the run has any (`ema`), or those of the last step (`raw`).
        tta: Test-time augmentation: none, flip, ms (scales 0.75 to 2), ms_flip, or a mapping with `scales` and `flip`.
        tiles: Side of the tiles that a larger image is divided into, in pixels; "auto" is 1024 above 4 megapixels,
            "off" divides none.
        output_stride: 8, 16 or 32 instead of the backbone's own; a smaller one is slower and finer.
        trusted_modules: Your own modules that the run's config may name.

    Returns:
        The run, with `predict`, `label`, `probabilities`, `logits` and `model`.

    Raises:
        CheckpointError: It is not a run folder, or a file in it is damaged or of another network.
        ConfigError: Its config names a part that is not allowed, or an argument does not fit.
        ValueError: `checkpoint` or `weights` is neither of its two values.

    Example:
        >>> run = load_run(run_folder, checkpoint="last", weights="raw")
        >>> run.class_names
        ('background', 'foreground')
        >>> run.predict(np.zeros((40, 60, 3), np.uint8)).shape
        (40, 60)
    """
    for name, value, choices in (("checkpoint", checkpoint, ("best", "last")), ("weights", weights, ("ema", "raw"))):
        if value not in choices:
            raise ValueError(f"{name}={value!r}: expected {' or '.join(choices)}")
    stored = read_run(run, checkpoint, trusted_modules=trusted_modules)
    if output_stride is not None:
        with_output_stride(stored.config, output_stride)
    with naming_output_stride(output_stride):
        model = load_network(stored, weights)
    return Run(stored, model, tta=tta, tiles=tiles)


def read_run(
    run: str | Path,
    checkpoint: str = "best",
    *,
    keys: Collection[str] = NETWORK_KEYS,
    trusted_modules: Sequence[str] = (),
) -> StoredRun:
    """Read what a run folder holds of its network, without TensorFlow.

    Args:
        run: The run folder.
        checkpoint: "best" or "last".
        keys: Root keys of its config that are needed.
        trusted_modules: The reader's own modules that the config may name.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigError: The config names a part that is not allowed, or a value is out of its range.
    """
    folder = require_run(run)
    chosen = pick_checkpoint(folder / "checkpoints", checkpoint)
    config = stored_config(folder, trusted_modules)
    validate_stored(config, folder, keys)
    warn_of_edits(folder, config)
    return StoredRun(folder, config, read_run_classes(folder), chosen)


def load_network(stored: StoredRun, weights: str = "ema") -> "keras.Model":
    """Build the network of a run and fill it from its checkpoint.

    Args:
        stored: As `read_run` returns it.
        weights: "ema" or "raw", see `load_run`.

    Raises:
        CheckpointError: The checkpoint is damaged or of another network.
        ConfigError: An argument does not fit.
    """
    from segtrain.builders.network import build_network
    from segtrain.training.state import restore_model

    model, _ = build_network(stored.config, len(stored.classes.class_names))
    restore_model(model, stored.checkpoint.arrays(), averaged=weights == "ema")
    return model


def inference_options(cfg: DictConfig) -> tuple[Tta, int | str]:
    """Return the test-time augmentation and the tiles of a command's config.

    Raises:
        ConfigError: `tta` or `tiles` is out of range.
    """
    with naming(""):  # they are root keys
        return parse_tta(plain(cfg.tta)), parse_tiles(cfg.tiles)


def build_predictor(
    stored: StoredRun,
    model: "keras.Model",
    *,
    heads: Sequence[str] = (),
    tta: Any = "none",
    tiles: int | str = "auto",
) -> "Predictor":
    """Build the predictor of a run's network: its input size, and its left and right classes.

    Args:
        stored: As `read_run` returns it.
        model: Its network.
        heads: Names of further heads to compute.
        tta: See `load_run`.
        tiles: See `load_run`.

    Raises:
        ConfigError: `tta` or `tiles` is out of range.
    """
    from segtrain.inference.predictor import Predictor

    pairs = stored.classes.flip_pairs
    return Predictor(model, resize=input_size(stored.config), heads=heads, tta=tta, tiles=tiles, flip_pairs=pairs)


def input_size(config: DictConfig) -> tuple[int, int] | None:
    """Return height and width that a run's network sees; None where it sees an image at its own size."""
    return None if config.get("resize") is None else tuple(config.resize)
