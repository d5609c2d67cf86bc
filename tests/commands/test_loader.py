"""`segtrain train` with processes that load images: the numbers and the errors of threads."""

import json

import pytest

from commands.conftest import TINY

pytestmark = pytest.mark.tensorflow

PROCESSES = [word for word in TINY if word != "loader=threads"]  # the default


def test_a_training_has_the_same_numbers_whoever_loads(segtrain, workplace, cihp_root):
    mixing = ("augment=strong", "augment.steps.cut_mix.probability=0.5", "augment.scale=[0.5,2.0]")
    for loader in ("threads", "processes"):
        words = (
            "+experiment=cihp",
            f"dataset.root={cihp_root}",
            *PROCESSES,
            *mixing,
            "precise_bn_batches=1",
            "epochs=3",
        )
        result = segtrain("train", *words, f"loader={loader}", f"name={loader}")
        assert result.code == 0, result.err
    runs = {run.name.split("_")[-1]: run for run in (workplace / "runs" / "train").iterdir()}
    lines = {
        name: [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for name, run in runs.items()
    }
    assert len(lines["threads"]) == 3 and lines["threads"] == lines["processes"]


def test_tables_of_numbers_reach_the_processes(segtrain, binary_root):
    # JSON would make texts of the stored values.
    words = ("+experiment=binary", f"dataset.root={binary_root}", "dataset.label_values={0: 0, 1: 1, 255: 1}")
    result = segtrain("train", *words, *PROCESSES)
    assert result.code == 0, result.err


def test_a_damaged_photograph_ends_the_training_with_its_one_line(segtrain, workplace, cihp_root):
    path = sorted(cihp_root.glob("Training/Images/*.jpg"))[1]
    path.write_bytes(path.read_bytes()[:-40])
    result = segtrain("train", "+experiment=cihp", f"dataset.root={cihp_root}", *PROCESSES)
    assert result.code == 3
    line = result.err.splitlines()[-1]
    assert f"cannot decode {path}: a truncated JPEG file" in line and "Traceback" not in result.err
