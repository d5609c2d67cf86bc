"""Daemon thread pool for blocking reads: a hanging read, as on a file server, delays neither its caller nor the exit.

`concurrent.futures.ThreadPoolExecutor` instead joins its threads when Python exits, even if they hang.
"""

import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, final

SECONDS_TO_END = 1.0
# Task queue of a pool: future, function and arguments; None ends a thread.
_Tasks = queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]
_left_running: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@final
class Threads:
    """A pool of daemon threads.

    Args:
        count: Number of threads.
        name: Prefix of the threads' names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._tasks: _Tasks = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=_work, args=(self._tasks,), name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        self._end = weakref.finalize(self, _end, self._tasks, count)
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Schedule `call(*arguments)`; tasks start in order of submission. After `close`, the future is cancelled."""
        future: Future[Any] = Future()
        with self._lock:
            if self._end.alive:
                self._tasks.put((future, call, arguments))
            else:
                future.cancel()
        return future

    def close(self, seconds: float = SECONDS_TO_END) -> None:
        """Cancel pending tasks and wait up to `seconds` for running ones; see `left_running` for the rest."""
        with self._lock:
            self._end()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _left_running.add(thread)


def left_running() -> list[str]:
    """List the names of still running threads of closed pools; the interpreter must not finalize while they run."""
    return sorted(thread.name for thread in _left_running if thread.is_alive())


def _end(tasks: _Tasks, count: int) -> None:
    try:
        while task := tasks.get_nowait():
            task[0].cancel()
    except queue.Empty:
        pass
    for _ in range(count):
        tasks.put(None)


def _work(tasks: _Tasks) -> None:
    while task := tasks.get():
        future, call, arguments = task
        if future.set_running_or_notify_cancel():
            try:
                result = call(*arguments)
            except BaseException as error:  # raised again by Future.result
                future.set_exception(error)
                del error
            else:
                future.set_result(result)
                del result
        # Drop references, so that an idle thread keeps no arrays alive.
        del task, future, call, arguments
