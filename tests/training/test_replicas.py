"""One device, two of one process and two processes train the same batches to the same numbers.

Each in a process of its own, as TensorFlow sets up its devices once: see replica_child.py.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segtrain.errors import ConfigError
from segtrain.training.replicas import Replicas, find_replicas

pytestmark = pytest.mark.tensorflow

CHILD = Path(__file__).with_name("replica_child.py")


def start(out, strategy, replicas="-", **environ):
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(out), strategy, replicas, "2"],
        env={**os.environ, "PYTHONPATH": str(CHILD.parents[2]), "TF_NUM_INTRAOP_THREADS": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_ports(number):
    """Ports that nobody listens on; held together, so that they differ."""
    held = [socket.socket() for _ in range(number)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By name: the logs of 20 steps, the variables after them, what was printed."""
    folder = tmp_path_factory.mktemp("replicas")
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]

    def config(index):
        return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})

    children = {
        "one": start(folder / "one.npz", "one"),
        "mirrored": start(folder / "mirrored.npz", "mirrored", "2"),
        "first": start(folder / "first.npz", "multiworker", TF_CONFIG=config(0)),
        "second": start(folder / "second.npz", "auto", TF_CONFIG=config(1)),
    }
    found = {}
    for name, child in children.items():
        out, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
        logs = json.loads((folder / f"{name}.json").read_text())
        with np.load(folder / f"{name}.npz") as arrays:
            found[name] = logs, dict(arrays), out.strip()
    return found


@pytest.mark.parametrize("name", ["mirrored", "first", "second"])
@pytest.mark.slow
def test_the_loss_curve_is_that_of_one_device(name, trained):
    logs, ones = trained[name][0], trained["one"][0]
    assert len(logs) == len(ones) == 20
    for score in ("loss", "gradient_norm"):
        np.testing.assert_allclose([log[score] for log in logs], [log[score] for log in ones], rtol=1e-5)
    assert ones[-1]["loss"] < 0.8 * ones[0]["loss"]  # it learns
    # Eight pictures a step but for their void; counted once, however many replicas.
    assert [log["counts"] for log in logs] == [log["counts"] for log in ones]


@pytest.mark.parametrize("name", ["mirrored", "first", "second"])
@pytest.mark.slow
def test_weights_averages_and_statistics_are_those_of_one_device(name, trained):
    arrays, ones = trained[name][1], trained["one"][1]
    assert arrays.keys() == ones.keys()
    assert {"model|bn|moving_variance", "ema|conv|kernel", "optimizer|iteration"} <= ones.keys()
    for key, array in ones.items():
        np.testing.assert_allclose(arrays[key], array, rtol=1e-5, atol=1e-6, err_msg=key)


def test_both_processes_end_with_the_same_bits(trained):
    first, second = trained["first"], trained["second"]
    assert first[0] == second[0]
    for key, array in first[1].items():
        np.testing.assert_array_equal(array, second[1][key], err_msg=key)


def test_every_process_hears_the_chief(trained):
    assert trained["mirrored"][2] == "2 from the chief"
    assert trained["first"][2] == trained["second"][2] == "2 of 2 processes from the chief"


@pytest.mark.parametrize(
    ("strategy", "replicas", "message"),
    [
        ("mirrored", None, "strategy=mirrored: no GPU found. Fix: strategy=one, or replicas=2 to try it on the CPU"),
        (
            "multiworker",
            None,
            "strategy=multiworker: neither TF_CONFIG nor the variables of Slurm's srun name a second",
        ),
        ("one", 2, "replicas=2 with strategy=one: for mirrored only. Fix: strategy=mirrored"),
    ],
)
def test_devices_that_are_not_there_are_refused_in_one_line(strategy, replicas, message):
    with pytest.raises(ConfigError) as caught:
        find_replicas(strategy, replicas, {})
    assert str(caught.value).startswith(message)


def test_a_single_device_is_what_there_is_by_default():
    replicas = find_replicas("auto", None, {})
    assert (replicas.count, replicas.num_here, replicas.num_processes, replicas.is_chief) == (1, 1, 1, True)
    assert replicas.sample_indices(6, 3) == [0, 1, 2, 3, 4, 5]
    assert replicas.broadcast(b"x") == b"x"


def test_a_batch_is_dealt_out_part_by_part():
    # 8 samples in 2 parts over 2 processes of 2 replicas: part 0 is samples 0..3 as on one device, each replica has 1.
    replicas = Replicas(SimpleNamespace(num_replicas_in_sync=4), process=0, num_processes=2)
    other = Replicas(SimpleNamespace(num_replicas_in_sync=4), process=1, num_processes=2)
    assert replicas.num_here == 2
    assert replicas.sample_indices(8, 2) == [0, 1, 4, 5]
    assert other.sample_indices(8, 2) == [2, 3, 6, 7]
