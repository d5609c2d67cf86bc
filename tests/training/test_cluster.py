"""The processes that train together, from what each finds in its environment."""

import json

import pytest

from segtrain.errors import ConfigError
from segtrain.training.cluster import Cluster, find_cluster, hosts


def tf_config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def slurm(task, nodes="gpu[1-2]", tasks="2(x2)", number=4, **more):
    return {
        "SLURM_PROCID": str(task),
        "SLURM_STEP_NUM_TASKS": str(number),
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_JOB_ID": "812345",
        **more,
    }


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TF_CONFIG": ""},
        tf_config({"worker": ["a:1"]}),
        # Within salloc or sbatch, and not in a step of srun's.
        {"SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "gpu[1-2]"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "gpu[1-2]"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    ],
)
def test_a_process_without_others_trains_alone(environ):
    assert find_cluster(environ) is None


def test_tf_config_numbers_the_chief_before_the_workers():
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    addresses = ("a:1", "b:1", "c:1")
    assert find_cluster(tf_config(cluster, "chief")) == Cluster(addresses, 0)
    assert find_cluster(tf_config(cluster, "worker", 1)) == Cluster(addresses, 2)


def test_without_a_chief_the_first_worker_is_it():
    cluster = {"worker": ["a:1", "a:2", "b:1"]}
    assert find_cluster(tf_config(cluster)) == Cluster(("a:1", "a:2", "b:1"), 0, 0, 2)
    assert find_cluster(tf_config(cluster, index=1)) == Cluster(("a:1", "a:2", "b:1"), 1, 1, 2)
    assert find_cluster(tf_config(cluster, index=2)) == Cluster(("a:1", "a:2", "b:1"), 2, 0, 1)


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG: Expecting property name"),
        ({"TF_CONFIG": "[]"}, "TF_CONFIG: list indices must be integers"),
        ({"TF_CONFIG": '{"cluster": {}}'}, "TF_CONFIG: no 'task', expected"),
        (tf_config({"worker": ["a:1"], "ps": ["b:1"]}), "TF_CONFIG: ps in cluster, expected"),
        (tf_config({"worker": ["a:1", "b:1"]}, index=2), "TF_CONFIG: task {'type': 'worker', 'index': 2} is not in"),
        (tf_config({"worker": ["a:1", "b:1"]}, "chief"), "TF_CONFIG: task {'type': 'chief', 'index': 0} is not in"),
    ],
)
def test_a_tf_config_that_makes_no_sense_is_refused_in_one_line(environ, seen):
    with pytest.raises(ConfigError) as caught:
        find_cluster(environ)
    assert str(caught.value).startswith(seen)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("Fix: correct TF_CONFIG, or unset it to train in one process")


def test_tf_config_counts_before_slurm():
    found = find_cluster({**slurm(3), **tf_config({"worker": ["a:1", "b:1"]})})
    assert found == Cluster(("a:1", "b:1"), 0)


def test_slurms_tasks_are_numbered_node_by_node():
    # Port: 20000 + 812345 % 10000 = 22345, and the task's place on its node.
    addresses = ("gpu1:22345", "gpu1:22346", "gpu2:22345", "gpu2:22346")
    assert [find_cluster(slurm(task)) for task in range(4)] == [
        Cluster(addresses, 0, 0, 2),
        Cluster(addresses, 1, 1, 2),
        Cluster(addresses, 2, 0, 2),
        Cluster(addresses, 3, 1, 2),
    ]


def test_slurms_nodes_may_have_different_numbers_of_tasks():
    found = find_cluster(slurm(3, nodes="a,b07,c", tasks="1,2,1"))
    assert found == Cluster(("a:22345", "b07:22345", "b07:22346", "c:22345"), 3, 0, 1)


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        (slurm(0, tasks="2(x3)"), "SLURM_STEP_TASKS_PER_NODE=2(x3)"),
        (slurm(0, tasks="two"), "SLURM_STEP_TASKS_PER_NODE=two"),
        (slurm(4), "IndexError"),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, "KeyError: 'SLURM_JOB_NODELIST'"),
    ],
)
def test_slurm_variables_that_contradict_each_other_are_refused_in_one_line(environ, seen):
    with pytest.raises(ConfigError) as caught:
        find_cluster(environ)
    assert str(caught.value).startswith("Slurm's variables: ")
    assert seen in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ("login", ["login"]),
        ("a,b-2,c", ["a", "b-2", "c"]),
        ("gpu[1-3,7]", ["gpu1", "gpu2", "gpu3", "gpu7"]),
        ("gpu[08-11].site", ["gpu08.site", "gpu09.site", "gpu10.site", "gpu11.site"]),
        ("r[1-2]n[1-2],x", ["r1n1", "r1n2", "r2n1", "r2n2", "x"]),
    ],
)
def test_lists_of_nodes_are_spelled_out(nodes, names):
    assert hosts(nodes) == names
