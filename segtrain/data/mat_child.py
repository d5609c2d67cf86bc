"""Reads `.mat` files for `matfile.MatReader`, in a process of its own: `python -I mat_child.py`.

scipy's reader dies of segmentation faults on forged files. So this program imports scipy once and forks a worker; the
worker takes requests until one kills it, then there is a new one, in milliseconds instead of the time of an import.

A request is a line of JSON {"name", "length", "seconds"} and `length` bytes, the file. The answer is a line of JSON,
{"dtype", "shape"} and the array's bytes in C order, or {"fault": what was seen instead}.
"""

import json
import mmap
import os
import resource
import time
from io import BytesIO
from typing import Any

import numpy as np
from scipy.io import loadmat

REQUESTS, ANSWERS = 0, 3
# Beyond what the imports took. Deflate shrinks by 1032 at most, so that what a file can rightly claim follows from its
# length; scipy may hold it four times over.
MEMORY, MOST_MEMORY = 1 << 26, 1 << 29
MEMORY_A_BYTE = 4 * 1032


def serve(busy: mmap.mmap) -> None:
    """Answer requests until there are no more; `busy` tells whether one has been taken and not yet answered."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while line := read_line():
        request = json.loads(line)
        data = read_exactly(request["length"])
        busy[0] = 1
        limit = memory() + min(MEMORY + MEMORY_A_BYTE * len(data), MOST_MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        spent = int(time.process_time())
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (spent + request["seconds"], hard))
        try:
            answer, body = find(data, request["name"])
        except Exception as error:  # whatever scipy raises on a damaged file
            answer, body = {"fault": f"unreadable, {type(error).__name__}: {' '.join(str(error).split())[:120]}"}, b""
        busy[0] = 0
        write(json.dumps(answer).encode() + b"\n" + body)


def find(data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    """Look for the array `name`, as "colormap" or "GTcls.Segmentation", in a file."""
    first, *fields = name.split(".")
    value = loadmat(BytesIO(data), variable_names=[first]).get(first)
    for field in fields:
        if not isinstance(value, np.ndarray) or value.size != 1 or field not in (value.dtype.names or ()):
            return {"fault": "no such variable"}, b""
        value = value[field].flat[0]
    if value is None:
        return {"fault": "no such variable"}, b""
    if type(value) is not np.ndarray or value.dtype.kind not in "biuf":
        return {"fault": f"'{name}' of the kind {getattr(value, 'dtype', type(value).__name__)}"}, b""
    value = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return {"dtype": value.dtype.str, "shape": list(value.shape)}, value.tobytes()


def memory() -> int:
    """Tell the address space that this process has, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def read_line() -> bytes:
    """Read one line and not a byte more: a next worker reads on from there."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(REQUESTS, 1)):
        line += byte
    return line


def read_exactly(length: int) -> bytes:
    """Read the bytes of a file."""
    data = bytearray()
    while len(data) < length and (more := os.read(REQUESTS, length - len(data))):
        data += more
    return bytes(data)


def write(data: bytes) -> None:
    """Write all of an answer."""
    view = memoryview(data)
    while view:
        view = view[os.write(ANSWERS, view) :]


def main() -> None:
    """Keep a worker running until one ends for want of requests."""
    os.dup2(1, ANSWERS)
    os.dup2(2, 1)  # nothing that is printed may come between answers
    busy = mmap.mmap(-1, 1)  # shared with the worker
    while True:
        worker = os.fork()
        if not worker:
            serve(busy)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if code >= 0:
            return
        if busy[0]:
            busy[0] = 0
            write(json.dumps({"fault": f"its reader died of signal {-code}"}).encode() + b"\n")


if __name__ == "__main__":
    main()
