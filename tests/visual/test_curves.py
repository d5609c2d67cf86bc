"""Curves as PNGs: which files, and what is in them."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from segtrain.visual.curves import draw_curves

TRAINING, VALIDATION = (0x1F, 0x77, 0xB4), (0xD9, 0x5F, 0x02)


def _write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _records(epochs):
    for epoch in range(1, epochs + 1):
        scores = {"loss": 2 / epoch, "pixel_accuracy": 1 - 0.5 / epoch, "mean_iou": 1 - 0.8 / epoch}
        yield {
            "epoch": epoch,
            "step": 10 * epoch,
            **scores,
            **{f"val_{name}": value * 0.9 for name, value in scores.items()},
        }


def _pixels_of(path, color):
    """Rows and columns of the pixels of one color."""
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.nonzero((np.abs(image - color) < 12).all(axis=-1))


def test_each_score_has_a_picture_with_both_curves(tmp_path):
    paths = draw_curves(_write(tmp_path / "metrics.jsonl", _records(12)), tmp_path / "plots")
    assert paths == [tmp_path / "plots" / f"{name}.png" for name in ("loss", "pixel_accuracy", "mean_iou")]
    for path in paths:
        assert Image.open(path).size == (840, 504)  # 7 x 4.2 inches at 120 dots
        assert len(_pixels_of(path, TRAINING)[0]) > 300
        assert len(_pixels_of(path, VALIDATION)[0]) > 300


def test_a_falling_loss_falls_in_the_picture(tmp_path):
    [loss, *_] = draw_curves(_write(tmp_path / "metrics.jsonl", _records(12)), tmp_path)
    rows, columns = _pixels_of(loss, TRAINING)
    left, right = rows[columns < np.quantile(columns, 0.1)], rows[columns > np.quantile(columns, 0.9)]
    # The legend, upper right, has a short line of the same color: compare medians.
    assert np.median(left) + 50 < np.median(right)


def test_losses_of_further_heads_are_drawn_beside_the_sum(tmp_path):
    records = [{**record, "loss_logits": 1.0, "loss_edges": 0.5} for record in _records(12)]
    [loss, *_] = draw_curves(_write(tmp_path / "metrics.jsonl", records), tmp_path)
    # In order of their names: matplotlib's third and fourth color.
    edges, logits = _pixels_of(loss, (0x2C, 0xA0, 0x2C)), _pixels_of(loss, (0xD6, 0x27, 0x28))
    assert len(edges[0]) > 300 and len(logits[0]) > 300
    assert np.median(edges[0]) > np.median(logits[0])  # 0.5 lies below 1.0


def test_scores_that_were_not_validated_leave_one_curve(tmp_path):
    records = [{name: value for name, value in record.items() if "val" not in name} for record in _records(5)]
    for path in draw_curves(_write(tmp_path / "metrics.jsonl", records), tmp_path):
        assert len(_pixels_of(path, TRAINING)[0]) > 300
        assert len(_pixels_of(path, VALIDATION)[0]) == 0


def test_null_scores_are_gaps(tmp_path):
    records = list(_records(6))
    records[2]["val_mean_iou"] = records[3]["mean_iou"] = None
    assert len(draw_curves(_write(tmp_path / "metrics.jsonl", records), tmp_path / "plots")) == 3


@pytest.mark.parametrize("content", [None, ""])
def test_before_the_first_epoch_there_is_nothing_to_draw(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    assert draw_curves(tmp_path / "metrics.jsonl", tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


def test_pyplot_is_never_imported(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    draw_curves(_write(tmp_path / "metrics.jsonl", _records(2)), tmp_path)
    assert "matplotlib.pyplot" not in sys.modules
