"""Parent process: step workers in turn, each in its own environment, and count only clean steps."""

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
# Seconds between steps, so that threads of the last step stop spinning: OpenMP's spin for 0.2 s.
REST = 0.5
WARM_UP = 2


class Step(NamedTuple):
    """Measurement of one step.

    Attributes:
        seconds: Duration measured by the worker.
        others: Fraction of all cores used by other processes during the step, 0-1.
    """

    seconds: float
    others: float


class Result(NamedTuple):
    """Result of one variant.

    Attributes:
        seconds: Median duration of the clean steps; NaN without any.
        spread: Shortest and longest duration of the clean steps.
        num_clean: Number of clean steps.
        num_steps: Number of steps without warm-up.
        peak_bytes: Peak memory of the process.
        trainable: Number of trainable parameters of the network.
    """

    seconds: float
    spread: tuple[float, float]
    num_clean: int
    num_steps: int
    peak_bytes: int
    trainable: int


class Worker:
    """A worker process that replies to each input line with a JSON line; see serving.py.

    Raises:
        RuntimeError: The process ended early; the message contains the end of its stderr.
    """

    def __init__(self, name: str, python: str, script: str, arguments: list[str]) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  as long as the worker lives
        self._process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | {"PYTHONPATH": str(HERE.parent.parent)},
        )
        self.trainable: int = self._answer()["trainable"]

    def step(self) -> Step:
        """Run one step and measure the CPU time of other processes."""
        busy, own, start = busy_ticks(), self._own_ticks(), time.monotonic()
        answer = self._ask("step")
        busy, own, wall = busy_ticks() - busy, self._own_ticks() - own, time.monotonic() - start
        return Step(answer["seconds"], max(0.0, (busy - own) / TICKS / wall / (os.cpu_count() or 1)))

    def stop(self) -> int:
        """Stop the process; return its peak memory in bytes."""
        peak: int = self._ask("stop")["peak_bytes"]
        self._process.wait(60)
        return peak

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101  for mypy
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # _answer raises with the reason
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  for mypy
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            last = self._log.read()[-2000:]
            raise RuntimeError(f"worker {self.name} ended with {self._process.returncode}:\n{last}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _own_ticks(self) -> int:
        """CPU ticks of the worker and its child processes, all threads."""
        stats = (path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists())
        fields = {text.split()[0]: text.rpartition(")")[2].split() for text in stats}
        pid = str(self._process.pid)
        own = [each for process, each in fields.items() if pid in (process, each[1])]  # each[1]: the parent
        return sum(int(each[11]) + int(each[12]) for each in own)  # user and system time


def busy_ticks() -> int:
    """CPU ticks of all cores since boot, including time stolen by other virtual machines."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in stat.readline().split()[1:9])
    return user + nice + system + irq + softirq + steal


def alternate(workers: list[Worker], *, num_clean: int, max_others: float, max_steps: int) -> dict[str, Result]:
    """Step the workers in turn until each has enough clean steps, then stop them.

    Args:
        workers: Running workers; memory must hold all weights and the activations of one step.
        num_clean: Number of clean steps per worker.
        max_others: A step is clean if other processes used less than this fraction of all cores.
        max_steps: Maximum number of steps per worker.
    """
    taken: dict[str, list[Step]] = {worker.name: [] for worker in workers}
    clean: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for turn in range(WARM_UP + max_steps):
        for worker in workers:
            time.sleep(REST)
            step = worker.step()
            if turn >= WARM_UP:
                taken[worker.name].append(step)
                clean[worker.name] = [each.seconds for each in taken[worker.name] if each.others < max_others]
        if min(map(len, clean.values())) >= num_clean:
            break
    results = {}
    for worker in workers:
        seconds = clean[worker.name] or [float("nan")]
        results[worker.name] = Result(
            statistics.median(seconds),
            (min(seconds), max(seconds)),
            len(clean[worker.name]),
            len(taken[worker.name]),
            worker.stop(),
            worker.trainable,
        )
    return results


def table(results: dict[str, Result], references: list[str]) -> str:
    """Format results as Markdown: speed and peak memory of each variant relative to the references."""
    found = [name for name in references if name in results]
    heads = ["variant", "seconds", "fastest-slowest", *(f"speed / {name}" for name in found)]
    heads += ["peak GB", *(f"peak / {name}" for name in found), "clean steps", "trainable parameters"]
    lines = [heads, ["---"] * len(heads)]
    for name, result in results.items():
        lines.append(
            [
                name,
                f"{result.seconds:.3f}",
                f"{result.spread[0]:.3f}-{result.spread[1]:.3f}",
                *(f"{results[other].seconds / result.seconds:.2f}" for other in found),
                f"{result.peak_bytes / 1e9:.2f}",
                *(f"{result.peak_bytes / results[other].peak_bytes:.2f}" for other in found),
                f"{result.num_clean} of {result.num_steps}",
                f"{result.trainable:,}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
