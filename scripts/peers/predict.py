"""Images per second of `segtrain predict` and of a plain Keras loop, on the same run and images, pass by pass.

    .venv/bin/python scripts/peers/predict.py RUN IMAGES [--passes 5] [--limit 200]

Variants: `segtrain` reads, predicts, and writes labels, overlays and the table; `forward` is its network alone on
images in memory; `keras` reads with OpenCV and calls `model.predict`, argmax in NumPy, and writes nothing.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

import segtrain
from segtrain.cli.main import main as command_line
from segtrain.inference.sources import find_inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--limit", type=int, default=200)
    arguments = parser.parse_args()
    files = [each.path for each in find_inputs(arguments.images)][: arguments.limit]
    run = segtrain.load_run(arguments.run)
    run.predictor.freeze(len(files))
    loaded = [cv2.imread(str(path))[..., ::-1].copy() for path in files]

    def with_segtrain() -> None:
        with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
            sources = Path(scratch, "list.txt")
            sources.write_text("".join(f"{path.absolute()}\n" for path in files))
            code = command_line(["predict", str(sources), f"run={arguments.run}", f"output={scratch}/out"])
            assert code == 0  # noqa: S101

    def forward() -> None:
        for image in loaded:
            run.label(image)

    def with_keras() -> None:
        for path in files:
            image = cv2.imread(str(path))[..., ::-1]
            np.argmax(run.model.predict(image[None], verbose=0)[0], axis=-1)

    variants: dict[str, Callable[[], None]] = {"segtrain": with_segtrain, "forward": forward, "keras": with_keras}
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(arguments.passes + 1):
        for name, variant in variants.items():
            started = time.perf_counter()
            variant()
            if number:  # the first pass compiles
                rates[name].append(len(files) / (time.perf_counter() - started))
    for name, values in rates.items():
        print(f"{name:10s} {statistics.median(values):7.2f} images/s ({min(values):.2f}-{max(values):.2f})")
    print(f"segtrain is {statistics.median(rates['segtrain']) / statistics.median(rates['keras']):.2f} x keras")


if __name__ == "__main__":
    main()
