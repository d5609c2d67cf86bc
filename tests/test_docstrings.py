"""Every example in a docstring runs and gives what it shows."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import segtrain
import toys
from commands.conftest import train_once

pytestmark = pytest.mark.tensorflow

PACKAGE = Path(segtrain.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples take as given: a run folder and an image."""
    folder = tmp_path_factory.mktemp("docstrings")
    words = ("dataset=binary", "epochs=1", "tensorboard_images=0")
    run = train_once(folder, toys.draw_binary(folder), *words)
    return {"run_folder": run, "image": np.zeros((48, 64, 3), np.uint8), "np": np}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_examples_of_a_module_run(names, path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    results = doctest.testmod(module, extraglobs=names)
    assert results.failed == 0 and results.attempted > 0
