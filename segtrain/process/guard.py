"""A command under a memory limit (`ulimit -v`) runs in a child process, and its parent reports how that ended.

Where memory ends, TensorFlow, OpenBLAS and the C++ library die of SIGABRT or SIGSEGV, exit, or hang while they are
unloaded; no handler within the process can help.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from segtrain.process.memory import memory_error

_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_FINISHED = b"finished\n"
_report_to: int | None = None  # where the child of a guarded command reports


def is_limited() -> bool:
    """Whether this process may take only so much memory."""
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


def guarded(call: Callable[[], int]) -> int:
    """Run a command in a child process, to which signals are passed on.

    Args:
        call: Runs it; returns the exit code. Called before any thread has started.

    Returns:
        Its exit code; that of `ResourceError`, after one line on stderr, where it died without one.
    """
    reports, reported_to = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        os.close(reports)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _run(call, reported_to)
    os.close(reported_to)
    code = _wait(child)
    with open(reports, "rb") as file:
        lines = file.read()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if lines.endswith(_FINISHED):
        return code
    _remove_unused(lines)
    reason = f"the command died of {signal.Signals(-code).name}" if code < 0 else "a library ended the command"
    error = memory_error(reason)
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def announce(folder: Path, keep_if: str) -> None:
    """Tell the guard, if there is one, of a run folder to remove where the command dies before `keep_if` is in it."""
    if _report_to is not None:
        os.write(_report_to, json.dumps([str(folder.absolute()), keep_if]).encode() + b"\n")


def _run(call: Callable[[], int], reported_to: int) -> None:
    """Be the child."""
    global _report_to
    _report_to = reported_to
    os.set_inheritable(reported_to, False)
    with suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    code = 1
    try:
        code = call()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.write(reported_to, _FINISHED)
        os._exit(code)  # libraries may hang or die while they are unloaded


def _wait(child: int) -> int:
    """Pass signals on until the child has ended; return its exit code, below 0 that of a signal."""
    while True:
        found = signal.sigwaitinfo(_PASSED_ON | {signal.SIGCHLD})
        if found.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        elif found.si_code <= 0:  # sent by a process to this one alone; a terminal sends to both
            os.kill(child, found.si_signo)


def _remove_unused(lines: bytes) -> None:
    for line in lines.splitlines():
        folder, keep_if = json.loads(line)
        if not (Path(folder) / keep_if).exists():
            shutil.rmtree(folder, ignore_errors=True)
            for parent in (Path(folder).parent, Path(folder).parent.parent):
                with suppress(OSError):  # not empty
                    parent.rmdir()
