"""`segtrain predict`: label images, videos or a camera with a trained network; no dataset and no labels."""

import logging
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from segtrain.builders.output_stride import naming_output_stride, with_output_stride
from segtrain.builders.run import Run, inference_options, load_network, read_run
from segtrain.config.tree import plain
from segtrain.data.images.files import read_image
from segtrain.data.images.image_range import Range, checked_range
from segtrain.errors import ConfigError, DataError, NumericError, Stopped, naming
from segtrain.inference.sources import Image, Video, find_inputs
from segtrain.inference.video import Frames, VideoWriter
from segtrain.process.quiet import quiet_tensorflow
from segtrain.process.threads import Threads
from segtrain.report.predictions import SUFFIXES, TABLE, Result, Table, Writer, require_other_files
from segtrain.report.progress import track
from segtrain.runs.folder import new_run_folder, newest_run, require_run
from segtrain.shell import command, override
from segtrain.storage import make_folder
from segtrain.suggest import did_you_mean
from segtrain.terminal import printable
from segtrain.visual.palette import colors_of

if TYPE_CHECKING:
    from segtrain.builders.run import StoredRun

logger = logging.getLogger(__name__)


class _Job(NamedTuple):
    """What all images of one command share."""

    run: Run
    writer: Writer
    table: Table
    image_range: Range | None


def predict(cfg: DictConfig) -> int:
    """Predict every image of the source; write pictures, labels and `predictions.csv`. Returns the number of images."""
    kinds = _kinds(cfg.save)
    output = None if cfg.output is None else Path(cfg.output).expanduser()
    _require_other_folder(plain(cfg.source), output)
    inputs = find_inputs(plain(cfg.source), without=output)
    folder = require_run(cfg.run) if cfg.run is not None else newest_run()
    tta, tiles = inference_options(cfg)
    stored = read_run(folder, cfg.checkpoint, trusted_modules=cfg.trusted_modules)
    if cfg.output_stride is not None:
        with_output_stride(stored.config, cfg.output_stride)
    image_range = _image_range(stored)
    images = [each for each in inputs if isinstance(each, Image)]
    with _output(output, cfg) as target:
        names, colors = stored.classes.class_names, colors_of(cfg.palette, stored.classes.colors)
        writer = Writer(target, kinds, names, colors, cfg.alpha)
        paths = {os.path.realpath(each[0]) for each in inputs if isinstance(each[0], Path)}
        for image in images:
            require_other_files(paths, writer.paths(image.name).values())
        waiting = [each for each in images if not (cfg.skip_existing and _is_done(writer, each))]
        table = Table(target, writer.class_names)
        table.begin()
        with naming_output_stride(cfg.output_stride), quiet_tensorflow():
            run = Run(stored, load_network(stored, cfg.weights), tta=tta, tiles=tiles)
        job = _Job(run, writer, table, image_range)
        videos = [each for each in inputs if isinstance(each, Video)]
        found = f"{len(waiting)} images" + (f" and {len(videos)} videos" if videos else "")
        logger.info("%s at step %d, %s, into %s", run.folder, run.checkpoint.step, found, target)
        failed = _predict_images(job, waiting, cfg)
        for video in videos:
            failed += _predict_video(job, video, cfg.max_frames)
        skipped = len(images) - len(waiting)
        print(f"predictions: {printable(target)}" + (f", {skipped} existing ones kept" if skipped else ""))
        print(f"table: {printable(target / TABLE)}")
        if len(failed) == 1 == len(inputs):
            raise DataError(failed[0])
        if failed:
            what, _, fix = failed[0].partition(". Fix: ")
            raise DataError(
                f"{len(failed)} of {len(inputs)} files could not be predicted, see the status in {TABLE}; the first: "
                f"{what}. Fix: {fix}"
            )
    return len(inputs)


def _kinds(save: Any) -> list[str]:
    """Return the kinds of results to write."""
    kinds = [save] if isinstance(save, str) else list(save or [])
    for kind in kinds:
        if kind not in SUFFIXES:
            near = did_you_mean(str(kind), SUFFIXES)
            raise ConfigError(
                f"save: {printable(kind)}, expected some of {', '.join(SUFFIXES)}{near}. Fix: 'save=[labels,overlay]'"
            )
    return kinds


def _require_other_folder(source: Any, output: Path | None) -> None:
    """Refuse to write into the folder of the images."""
    for each in source if isinstance(source, list) else [source]:
        if output is not None and output.is_dir() and Path(str(each)).expanduser().resolve() == output.resolve():
            raise DataError(
                f"output={printable(output)}: the folder of the images, expected another one. Fix: "
                f"{override('output', output / 'predictions')}"
            )


def _output(output: Path | None, cfg: DictConfig) -> AbstractContextManager[Path]:
    """Return the folder for the results: a new one, or that of `output`."""
    if output is None:
        return new_run_folder("predict", cfg.name, keep_if=TABLE)
    if (output / TABLE).exists() and not cfg.skip_existing:
        raise DataError(
            f"output={printable(output)}: it holds predictions, expected a new or an empty folder. Fix: "
            f"skip_existing=true to continue them, or another output"
        )
    make_folder(output)
    return nullcontext(output)


def _image_range(stored: "StoredRun") -> Range | None:
    """Return the values of 16-bit images that the run was trained with as 0 and 255."""
    node = stored.config.get("dataset")
    found = node.get("image_range") if isinstance(node, DictConfig) else None
    with naming("dataset"):
        return checked_range(None if found is None else list(found))


def _is_done(writer: Writer, image: Image) -> bool:
    return all(path.exists() for path in writer.paths(image.name).values())


def _predict_images(job: _Job, images: Sequence[Image], cfg: DictConfig) -> list[str]:
    """Predict images, reading and writing in threads; return a message for each that failed."""
    job.run.predictor.freeze(len(images))
    failed: list[str] = []
    done = 0
    with closing(_read_ahead(images, job.image_range, cfg.workers)) as read, closing(Threads(1, "write")) as writers:
        writes: deque[Future[None]] = deque()
        try:
            for image, pixels in track(read, len(images), "prediction", "images"):
                if isinstance(pixels, DataError):
                    logger.warning("%s", pixels)
                    job.table.add_error(str(image.path), str(pixels))
                    failed.append(str(pixels))
                    continue
                result = _result(job, pixels, str(image.path))
                writes.append(writers.submit(_write, job, image, result))
                while len(writes) > 2:  # memory stays bounded where writing is the slower part
                    writes.popleft().result()
                done += 1
        except KeyboardInterrupt:
            _finish(writes)
            again = command("segtrain", "predict", *_words(cfg, job.writer.folder))
            raise Stopped(f"stopped after {done} of {len(images)} images. Resume: {again}") from None
        _finish(writes)
    return failed


def _finish(writes: deque[Future[None]]) -> None:
    while writes:
        writes.popleft().result()


def _words(cfg: DictConfig, target: Path) -> list[str]:
    source = plain(cfg.source)
    run = [] if cfg.run is None else [override("run", cfg.run)]
    return [override("source", source), *run, override("output", target), "skip_existing=true"]


def _result(job: _Job, pixels: np.ndarray, name: str) -> Result:
    try:
        if "probabilities" in job.writer.kinds:
            found = job.run.probabilities(pixels)
            return Result(pixels, found.argmax(axis=-1).astype(np.uint8), found.max(axis=-1), found)
        return Result(pixels, *job.run.label(pixels))
    except NumericError as error:
        raise NumericError(str(error).replace("an image", printable(name), 1)) from error


def _write(job: _Job, image: Image, result: Result) -> None:
    job.writer.write(image.name, result)
    job.table.add(str(image.path), result)


def _read_ahead(
    images: Sequence[Image], image_range: Range | None, workers: int
) -> Generator[tuple[Image, np.ndarray | DataError], None, None]:
    """Yield each image with its pixels (H, W, 3) uint8, or the error of its file; threads read ahead."""

    def read(image: Image) -> np.ndarray | DataError:
        try:
            return read_image(image.path, exif="apply", image_range=image_range)
        except DataError as error:
            return error

    with closing(Threads(workers, "read")) as readers:
        waiting: deque[tuple[Image, Future[Any]]] = deque()
        for image in images:
            waiting.append((image, readers.submit(read, image)))
            if len(waiting) > workers + 1:
                first, pixels = waiting.popleft()
                yield first, pixels.result()
        for first, pixels in waiting:
            yield first, pixels.result()


def _predict_video(job: _Job, video: Video, max_frames: int | None) -> list[str]:
    """Predict frame by frame, into a video of overlays if they are saved; return a message if it failed."""
    kinds = [kind for kind in job.writer.kinds if kind != "overlay"]
    frames_writer = Writer(job.writer.folder, kinds, job.writer.class_names, job.writer.colors, job.writer.alpha)
    path = job.writer.folder / "overlay" / f"{video.name}.mp4"
    output: VideoWriter | None = None
    try:
        with Frames(video.source) as frames:
            total = max_frames if frames.count is None else min(frames.count, max_frames or frames.count)
            for number, pixels in enumerate(track(frames, total, video.name, "frames"), 1):
                result = _result(job, pixels, f"{video.name}, frame {number}")
                if "overlay" in job.writer.kinds:
                    if output is None:
                        make_folder(path.parent)
                        output = VideoWriter(path, frames.rate, pixels.shape[:2])
                    output.add(job.writer.overlay(result))
                frames_writer.write(f"{video.name}/{number:06d}", result)
                job.table.add(str(video.source), result, number)
                if number == max_frames:
                    break
    except DataError as error:
        logger.warning("%s", error)
        job.table.add_error(str(video.source), str(error))
        return [str(error)]
    except KeyboardInterrupt:
        if not isinstance(video.source, int):  # a camera has no other end
            raise
    finally:
        if output is not None:
            output.close()
    return []
