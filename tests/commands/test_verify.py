"""`segtrain verify` after `segtrain eval`."""

import json

import numpy as np
import pytest
from PIL import Image

import toys
from commands.conftest import TINY, only_run


@pytest.mark.tensorflow
@pytest.mark.parametrize("layout", ["binary", "cihp"])
def test_an_evaluation_agrees_with_its_files_until_one_changes(segtrain, workplace, tmp_path, layout):
    root = {"binary": toys.draw_binary, "cihp": toys.draw_cihp}[layout](tmp_path, num_val=2, size=(53, 75))
    assert segtrain("train", f"dataset={layout}", f"dataset.root={root}", *TINY, "epochs=1").code == 0
    assert segtrain("eval", "overlays=1").code == 0
    result = segtrain("verify")
    assert result.code == 0 and "agree" in result.out, result.err
    folder = only_run(workplace, "eval")
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["root"] == str(root) and set(scores["per_image"]) == {"mean_iou", "pixel_accuracy", "mean_dice"}
    assert ("left_right" in scores) == (layout == "cihp")
    path = next((folder / "predictions").iterdir())
    Image.fromarray(1 - np.minimum(np.asarray(Image.open(path)), 1)).save(path)
    changed = segtrain("verify", f"eval={folder}")
    assert changed.code == 3 and "scores differ" in changed.err


def test_without_an_evaluation_the_line_names_segtrain_eval(segtrain):
    result = segtrain("verify")
    assert result.code == 4 and "no evaluation" in result.err and "Fix: segtrain eval" in result.err


@pytest.mark.parametrize("content", ["{}", "[]", "junk", '{"confusion_matrix": 3}'])
def test_files_of_another_kind_are_one_line(segtrain, workplace, content):
    folder = workplace / "eval"
    folder.mkdir()
    for name in ("scores.json", "samples.json"):
        (folder / name).write_text(content)
    result = segtrain("verify", "eval=eval")
    assert result.code == 3 and len(result.err.splitlines()) == 1 and "Fix: " in result.err
