"""The bar of a run on terminals of several widths, and its lines without a terminal."""

import io
import re
import sys
import time

import keras
import pytest

from segtrain.losses import CrossEntropy
from segtrain.training import progress_bar
from segtrain.training.progress_bar import ProgressBar, fitting
from segtrain.training.trainer import Trainer
from training.callback_runs import run_steps, small_network

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture
def trainer(network):
    return Trainer(network, keras.optimizers.SGD(0.01, name="sgd"), CrossEntropy(255, 2), 2, 255)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(trainer, monkeypatch, stream, total_steps=6):
    monkeypatch.setattr(sys, "stderr", stream)
    run_steps(trainer, [ProgressBar(trainer, batch_size=2, total_steps=total_steps)])
    return re.split(r"[\r\n]+", stream.getvalue().strip())


@pytest.mark.parametrize(
    ("width", "words"),
    [(160, ["loss ", "mean IoU ", "images/s", "left"]), (100, ["IoU ", "/s", "left"]), (80, ["loss ", "img/s"])],
)
def test_the_bar_keeps_ten_columns_and_one_line_at_every_width(trainer, monkeypatch, width, words):
    monkeypatch.setenv("COLUMNS", str(width))
    last = shown(trainer, monkeypatch, Terminal())[-1]
    assert len(last) < width and "6/6" in last and last.startswith("epoch 2/2 100%")
    assert len(last.split("|")[1]) >= 10
    assert all(word in last for word in words)


def test_the_longest_form_that_fits_is_shown():
    forms = {room: fitting(0.46449, 0.43762, 123.456, 75, room) for room in (60, 50, 30, 20, 5, 0)}
    assert forms == {
        60: "loss 0.4645, mean IoU 0.4376, 123.5 images/s, 01:15 left",
        50: "loss 0.464, mIoU 0.438, 123.5 img/s, 01:15 left",
        30: "loss 0.464, 123.5 img/s, 01:15",
        20: "loss 0.464, 01:15",
        5: "0.464",
        0: "",
    }


def test_the_bar_of_a_resumed_run_begins_where_it_stopped(trainer, monkeypatch):
    trainer.progress.step, trainer.progress.epochs_done = 3, 1
    assert "3/6" in shown(trainer, monkeypatch, Terminal())[0]


def test_a_clock_runs_while_the_first_step_is_compiled(trainer, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = ProgressBar(trainer, batch_size=2, total_steps=6)
    bar.set_params({"epochs": 2})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    deadline = time.monotonic() + 10
    while "compiling the step, 2 s" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "compiling the step, 1 s" in stream.getvalue() and "compiling the step, 2 s" in stream.getvalue()
    bar.on_train_end()


def test_what_follows_the_bar_begins_on_a_line_of_its_own(trainer, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = ProgressBar(trainer, batch_size=2, total_steps=6)
    bar.on_train_begin()
    bar.close()
    bar.close()
    print("stopped by SIGINT", file=stream)
    assert stream.getvalue().endswith("\nstopped by SIGINT\n")


def test_without_a_terminal_a_line_comes_now_and_then(trainer, monkeypatch, caplog):
    caplog.set_level("INFO")
    assert not [each for each in shown(trainer, monkeypatch, io.StringIO()) if "|" in each]
    assert not [each for each in caplog.messages if "step" in each]
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_LINES", 0.0)
    trainer.progress.step, trainer.progress.epochs_done = 0, 0
    shown(trainer, monkeypatch, io.StringIO())
    lines = [each for each in caplog.messages if each.startswith("epoch ")]
    assert len(lines) == 6 and re.match(r"epoch 2/2, step 6/6: loss .* images/s", lines[-1])
