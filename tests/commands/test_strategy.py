"""Trainings on several devices and in several processes, as a user starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from safetensors.numpy import load_file

from commands.conftest import only_run
from commands.test_kills import REPOSITORY, checkpoint_of, words
from segtrain.builders.optimization import check_shares
from segtrain.errors import ConfigError
from segtrain.training.replicas import Replicas
from training.test_replicas import free_ports

pytestmark = pytest.mark.tensorflow

STATE = "state.safetensors"


def start(folder, arguments, **environ):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_NUM_INTRAOP_THREADS": "1", **environ}
    command = [sys.executable, "-m", "segtrain", *arguments]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def start_two(folders, arguments):
    """The same command in two processes that know of each other, each in a folder of its own as on two machines."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    return [
        start(
            folder,
            arguments,
            TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}),
        )
        for index, folder in enumerate(folders)
    ]


@pytest.mark.slow
def test_two_processes_survive_the_death_of_one_and_train_as_two_devices_of_one_do(tmp_path, cihp_root):
    arguments = words(cihp_root, 8, "gradient_accumulation_steps=1", "validate_every=2")
    whole, chief, other = (tmp_path / name for name in ("whole", "chief", "other"))
    first, second = start_two([chief, other], arguments)
    while checkpoint_of(chief) is None and first.poll() is None:
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL
    assert first.wait(60) == 5, (chief / "log").read_text()
    assert "error: process 0 of 2 lost another process" in (chief / "log").read_text()
    for process, folder in zip(start_two([chief, other], [*arguments, "resume=auto"]), (chief, other), strict=True):
        assert process.wait(200) == 0, (folder / "log").read_text()
    log = (chief / "log").read_text()
    assert "resume: exact" in log and "Traceback" not in log
    assert not (other / "runs").exists()  # the chief alone writes

    assert start(whole, [*arguments, "strategy=mirrored", "replicas=2"]).wait(200) == 0, (whole / "log").read_text()
    states = [load_file(only_run(one) / "checkpoints" / checkpoint_of(one) / STATE) for one in (chief, whole)]
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_allclose(array, states[1][name], rtol=1e-5, atol=1e-6, err_msg=name)
    lines = [(only_run(one) / "metrics.jsonl").read_text().splitlines() for one in (chief, whole)]
    histories = [[json.loads(line) for line in each] for each in lines]
    assert [record["epoch"] for record in histories[0]] == [1, 2, 3, 4]
    for one, two in zip(*histories, strict=True):
        assert one.keys() == two.keys()
        assert {name: one[name] or 0 for name in one} == pytest.approx({name: two[name] or 0 for name in two}, rel=1e-5)
        assert ("val_mean_iou" in one) == (one["epoch"] % 2 == 0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "batch_size",
            3,
            "batch_size=3: it is that of all 2 replicas together, in gradient_accumulation_steps=1 parts, expected a "
            "mult",
        ),
        ("jit", "on", "jit=on with 2 replicas: for a single device only. Fix: jit=auto, or strategy=one"),
        (
            "activation_checkpointing",
            True,
            "activation_checkpointing=true with 2 replicas: for a single device only.",
        ),
        (
            "precise_bn_batches",
            2,
            "precise_bn_batches=2 with 2 replicas: for a single device only. Fix: precise_bn_batches=0, or strat",
        ),
    ],
)
def test_what_several_devices_cannot_do_is_refused_in_one_line(key, value, message):
    plain = {
        "batch_size": 4,
        "gradient_accumulation_steps": 1,
        "jit": "auto",
        "precise_bn_batches": 0,
        "activation_checkpointing": False,
    }
    two = Replicas(SimpleNamespace(num_replicas_in_sync=2))
    check_shares(OmegaConf.create(plain), two)
    with pytest.raises(ConfigError) as caught:
        check_shares(OmegaConf.create({**plain, key: value}), two)
    assert str(caught.value).startswith(message)
