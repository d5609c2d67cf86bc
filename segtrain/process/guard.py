"""Run a command under a memory limit (`ulimit -v`) in a child process, whose parent reports a crash.

When memory runs out, TensorFlow, OpenBLAS and the C++ library die of SIGABRT or SIGSEGV, exit, or hang while they are
unloaded; no handler inside the process can prevent that.
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

_FORWARDED_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_FINISHED = b"finished\n"
_report_to: int | None = None  # file descriptor to which the child of a guarded command reports


def is_limited() -> bool:
    """Whether the memory of this process is limited (`ulimit -v` or `ulimit -d`)."""
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


def guarded(call: Callable[[], int]) -> int:
    """Run a command in a child process and forward signals to it.

    Args:
        call: Function that runs the command and returns its exit code; must be called before any thread has started.

    Returns:
        The command's exit code. If it crashed: that of `ResourceError`, after an error message on stderr.
    """
    reports, reported_to = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED_SIGNALS | {signal.SIGCHLD})
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
    reason = f"the command was killed by {signal.Signals(-code).name}" if code < 0 else "a library ended the process"
    error = memory_error(reason)
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def announce(folder: Path, keep_if: str) -> None:
    """Report a run folder to the guard, if any, which removes it if the command dies before `keep_if` exists in it."""
    if _report_to is not None:
        os.write(_report_to, json.dumps([str(folder.absolute()), keep_if]).encode() + b"\n")


def _run(call: Callable[[], int], reported_to: int) -> None:
    """Run the command in the child process, then exit."""
    global _report_to
    _report_to = reported_to
    os.set_inheritable(reported_to, False)
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    code = 1
    try:
        code = call()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.write(reported_to, _FINISHED)
        os._exit(code)  # skip unloading of libraries, which may hang or crash


def _wait(child: int) -> int:
    """Forward signals until the child has ended; return its exit code, negative for a signal."""
    while True:
        found = signal.sigwaitinfo(_FORWARDED_SIGNALS | {signal.SIGCHLD})
        if found.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        elif found.si_code <= 0:  # sent by a process to this one only; a terminal sends to both
            os.kill(child, found.si_signo)


def _remove_unused(lines: bytes) -> None:
    for line in lines.splitlines():
        folder, keep_if = json.loads(line)
        if not (Path(folder) / keep_if).exists():
            shutil.rmtree(folder, ignore_errors=True)
            for parent in (Path(folder).parent, Path(folder).parent.parent):
                with suppress(OSError):  # not empty
                    parent.rmdir()
