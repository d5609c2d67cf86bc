"""A run folder that version 0.1 wrote resumes and evaluates to the same numbers.

`golden/run_of_0_1` was stopped by SIGTERM at step 7 of 24; `uninterrupted.json` is what the same command gave in one
piece, `scores.json` what `segtrain eval checkpoint=last` gave.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from commands.conftest import only_run
from segtrain.runs.environment import installed

pytestmark = pytest.mark.tensorflow

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "run_of_0_1"
WRITTEN_AT = "/tmp/fx/data/instance-level_human_parsing"


@pytest.fixture
def old_run(workplace, tmp_path):
    """The run and its data, at places of their own."""
    root = tmp_path / "data"
    shutil.copytree(GOLDEN / "data", root)
    run = workplace / "runs" / "train" / "2026-12-01_05-47-20_old"
    shutil.copytree(GOLDEN / "run", run)
    config = (run / "config.yaml").read_text()
    assert WRITTEN_AT in config
    (run / "config.yaml").write_text(config.replace(WRITTEN_AT, str(root)))
    return run


def _is_same_environment(run):
    manifest = json.loads((run / "checkpoints" / "step-00000007" / "manifest.json").read_text())
    then = manifest["facts"]["fingerprint"]
    now = installed([])
    return all(then.get(name) == value for name, value in now.items() if name not in ("data", "validation"))


def test_it_evaluates_to_the_same_scores(segtrain, workplace, old_run):
    result = segtrain("eval", "checkpoint=last", "overlays=0")
    assert result.code == 0, result.err
    found = json.loads((only_run(workplace, "eval") / "scores.json").read_text())
    expected = json.loads((GOLDEN / "scores.json").read_text())
    if _is_same_environment(old_run):
        assert found["confusion_matrix"] == expected["confusion_matrix"]
    for name in ("loss", "mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"):
        assert found[name] == pytest.approx(expected[name], rel=1e-3)


def test_it_resumes_exactly_and_ends_where_it_would_have_ended(segtrain, old_run):
    result = segtrain("train", f"resume={old_run}")
    assert result.code == 0, result.err
    expected = json.loads((GOLDEN / "uninterrupted.json").read_text())
    last = json.loads((old_run / "metrics.jsonl").read_text().splitlines()[-1])
    [line] = [line for line in result.err.splitlines() if "resume: exact" in line or "not bit-exact" in line]
    if "resume: exact" not in line:
        # Other versions or another processor; no key of the config may be named as changed.
        assert " -> " not in line.partition("because: ")[2] or not _is_same_environment(old_run), line
        return
    assert {name: last[name] for name in expected["last_epoch"]} == expected["last_epoch"]
    arrays = load_file(sorted((old_run / "checkpoints").glob("*/state.safetensors"))[-1])
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    assert digest.hexdigest() == expected["sha256"]
