"""Addresses of the processes of a multi-worker run, from environment variables. Does not import TensorFlow.

`TF_CONFIG` is set by TensorFlow users, Kubernetes operators and managed services; where it is not set, the variables
that Slurm's `srun` sets for each task are read.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from segtrain.errors import ConfigError

# Tasks of a Slurm job use ports from here on, plus the job's number: two jobs on a machine rarely collide.
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


class Cluster(NamedTuple):
    """Processes of one multi-worker run.

    Attributes:
        addresses: host:port of each process, the chief's first.
        number: Index of this process among all, from 0.
        local_index: Index of this process among those on its machine, from 0.
        num_local: Number of processes on this machine, this one included.
    """

    addresses: tuple[str, ...]
    number: int
    local_index: int = 0
    num_local: int = 1


def find_cluster(environ: Mapping[str, str]) -> Cluster | None:
    """Find the other processes of this run.

    Args:
        environ: Environment variables of this process.

    Returns:
        None where this is the only process.

    Raises:
        ConfigError: The environment contradicts itself.
    """
    if environ.get("TF_CONFIG", "").strip():
        cluster = _of_tf_config(environ["TF_CONFIG"])
    elif "SLURM_PROCID" in environ and int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        cluster = _of_slurm(environ)
    else:
        return None
    return cluster if len(cluster.addresses) > 1 else None


def hosts(nodes: str) -> list[str]:
    """Expand Slurm's list of nodes: "gpu[01-03,7],login" -> gpu01, gpu02, gpu03, gpu7, login."""
    names = []
    for item in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)*", nodes):
        names += _expand(item)
    return names


def _expand(item: str) -> list[str]:
    before, bracket, rest = item.partition("[")
    if not bracket:
        return [item]
    ranges, _, after = rest.partition("]")
    names = []
    for each in ranges.split(","):
        first, _, last = each.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        names += [f"{before}{number:0{len(first)}d}{end}" for number in numbers for end in _expand(after)]
    return names


def _of_slurm(environ: Mapping[str, str]) -> Cluster:
    try:
        nodes = hosts(environ.get("SLURM_STEP_NODELIST") or environ["SLURM_JOB_NODELIST"])
        counts: list[int] = []
        for item in environ["SLURM_STEP_TASKS_PER_NODE"].split(","):
            number, _, times = item.rstrip(")").partition("(x")
            counts += [int(number)] * int(times or 1)
        index, port = int(environ["SLURM_PROCID"]), int(environ.get("SLURM_JOB_ID", "0")) % _NUM_PORTS + _FIRST_PORT
        owners = [(node, local) for node, count in zip(nodes, counts, strict=True) for local in range(count)]
        node, local_index = owners[index]
    except (KeyError, ValueError, IndexError) as error:
        seen = ", ".join(f"{name}={environ[name]}" for name in sorted(environ) if name.startswith("SLURM_STEP_"))
        raise ConfigError(
            f"Slurm's variables: {seen or 'none of SLURM_STEP_*'} ({type(error).__name__}: {error}), expected those of "
            f"srun. Fix: start with srun, set TF_CONFIG, or strategy=one"
        ) from error
    # Tasks are numbered node by node, which is srun's default (--distribution=block).
    addresses = tuple(f"{owner}:{port + at}" for owner, at in owners)
    return Cluster(addresses, index, local_index, counts[nodes.index(node)])


def _of_tf_config(text: str) -> Cluster:
    try:
        config: Any = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kinds = {kind for kind in jobs if jobs[kind]}
        if others := kinds - {"chief", "worker"}:
            raise ValueError(f"{sorted(others)[0]} in cluster")
        # The chief is the first process, whether it has its own list or is the first worker.
        addresses = [str(address) for kind in ("chief", "worker") for address in jobs.get(kind, [])]
        index = int(task["index"]) + (len(jobs.get("chief", [])) if task["type"] == "worker" else 0)
        if task["type"] not in kinds or not 0 <= index < len(addresses):
            raise ValueError(f"task {task} is not in cluster")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"TF_CONFIG: {reason}, expected "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}. '
            "Fix: correct TF_CONFIG, or unset it to train in one process"
        ) from error
    own_host = addresses[index].rpartition(":")[0]
    local = [number for number, address in enumerate(addresses) if address.rpartition(":")[0] == own_host]
    return Cluster(tuple(addresses), index, local.index(index), len(local))
