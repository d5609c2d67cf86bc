"""Commands in processes of their own that start in half the time: forked off one that has imported TensorFlow.

TensorFlow starts its threads at first use, so that a process that has imported it and nothing more can be forked.
"""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = textwrap.dedent(
    """
    import gc, io, json, os, sys
    from matplotlib.figure import Figure
    import segtrain.commands.train
    from segtrain.cli.main import main

    Figure(layout="constrained").savefig(io.BytesIO())  # finds the fonts, which takes half a second
    assert len(os.listdir("/proc/self/task")) == 1, "a process of several threads must not be forked"
    gc.freeze()
    for line in sys.stdin:
        folder, words = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream, file in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
                os.dup2(file, stream)
            sys.exit(main(words))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """
)


class Command:
    """One command that runs; `pid` and `code` as those of a subprocess.Popen."""

    def __init__(self, server: subprocess.Popen, folder: Path, words: Sequence[str]) -> None:
        self._lines = server.stdout
        self.code: int | None = None
        server.stdin.write(json.dumps([str(folder), list(words)]).encode() + b"\n")
        self.pid = int(self._lines.readline())

    def poll(self, seconds: float = 0) -> int | None:
        """The exit code, below 0 that of the signal which has killed it; None if it still runs after so long."""
        if self.code is None and select.select([self._lines], [], [], seconds)[0]:
            self.code = int(self._lines.readline())
        return self.code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Starter:
    """Starts one command after the other; `program` is what each process does first."""

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        # Coverage of what is killed is lost anyway. A BLAS of several threads could not be forked.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        own = {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", program + SERVER],
            env={**kept, **own, **environment},
            bufsize=0,  # so that `select` sees what can be read
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._last: Command | None = None

    def start(self, folder: Path, words: Sequence[str]) -> Command:
        """Begin a command in a folder, where it also writes what it prints: `log`."""
        folder.mkdir(exist_ok=True)
        self._last = Command(self._server, folder, words)
        return self._last

    def close(self) -> None:
        if self._last is not None:
            self._last.send(signal.SIGKILL)
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()


@contextmanager
def starter(program: str = "", **environment: str) -> Iterator[Starter]:
    """A starter that leaves no process behind."""
    made = Starter(program, environment)
    try:
        yield made
    finally:
        made.close()
