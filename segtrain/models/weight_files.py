"""Arrays from files of weights: safetensors and Keras' HDF5, read within the memory that the network itself takes.

Formats hold more than arrays: an HDF5 file may link to other files, inflate without end or ask for a chunk of 64 GiB, a
safetensors file may claim an array of any size. Nothing but plain arrays of a plausible size is read.
"""

import json
import math
import re
import resource
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors

from segtrain.reading import require_regular

_MOST_HEADER = 16 << 20  # bytes; 300,000 arrays
_MOST_OBJECTS, _MOST_NAMES, _MOST_LEVELS = 100_000, 100_000, 32
# Deflate, shuffle, checksum and LZF, which h5py brings along; others would be loaded as plugins.
_FILTERS = (1, 2, 3, 32000)
_ITEM_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip


def read_safetensors(path: Path, num_bytes: int) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file, which may be a checkpoint with optimizer and averages.

    Args:
        path: The file.
        num_bytes: Size of all arrays of the network, in bytes; far larger files are refused.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else, or far more.
        safetensors.SafetensorError: It is damaged.
    """
    header = _header(path)
    sizes = {name: _size(name, entry) for name, entry in header.items()}
    _require_plausible(sum(sizes.values()), num_bytes)
    with safetensors.safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in header}


def read_h5(path: Path, num_bytes: int) -> dict[str, list[np.ndarray]]:
    """Read either of Keras' HDF5 layouts: name of each layer -> its arrays, in the order of the layer's weights.

    Args:
        path: The file.
        num_bytes: Size of all arrays of the network, in bytes; far larger files are refused.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds links, types or sizes that no weights have.
        MemoryError: It asks for far more than the network takes.
    """
    size = require_regular(path)
    most = _most(num_bytes)
    with _limited_memory(most + min(size, most)), h5py.File(path, "r") as file:
        return _settled(_arrays_by_layer(_Reader(most), file))


def _most(num_bytes: int) -> int:
    """Return the bytes allowed: optimizer and averages in 64 bits, plus a constant for small networks."""
    return 8 * num_bytes + (128 << 20)


def _require_plausible(found: int, num_bytes: int) -> None:
    if found > _most(num_bytes):
        raise ValueError(
            f"arrays of {found / 1e6:.0f} MB, expected at most {_most(num_bytes) / 1e6:.0f} for a network of "
            f"{num_bytes / 1e6:.0f} MB"
        )


def _header(path: Path) -> dict[str, Any]:
    size = require_regular(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, _MOST_HEADER):
            raise ValueError(f"a header of {length} bytes, expected at most {min(size, _MOST_HEADER)}")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ValueError("a header nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("a header that is not a mapping")
    header.pop("__metadata__", None)
    return header


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name that is given twice in its header")
    return found


def _size(name: str, entry: Any) -> int:
    """Return the bytes of an array; where they lie, and that they do not overlap, safetensors checks."""
    dtype, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if dtype not in _ITEM_BITS:
        raise ValueError(f"array {name[:80]} of type {str(dtype)[:20]}, expected one of {', '.join(_ITEM_BITS)}")
    if not isinstance(shape, list) or not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise ValueError(f"array {name[:80]} of shape {str(shape)[:80]}")
    if len(shape) > 16 or math.prod(side or 1 for side in shape) >= 2**48:  # zeros among huge sides included
        raise ValueError(f"array {name[:80]} of shape {str(shape)[:80]}")
    return math.prod(shape) * _ITEM_BITS[dtype] // 8


class _Reader:
    """Reader of groups and plain arrays within one HDF5 file, with a limit on the total bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._left = most, most

    def member(self, group: h5py.Group, path: str) -> Any:
        """Open a member of a group by its path, through hard links only: others lead to other files, or in circles."""
        for name in path.split("/"):
            if name in ("", ".", "..") or not isinstance(group, h5py.Group):
                raise ValueError(f"{path[:80]} is not a path of an array")
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name[:80]} is a {type(link).__name__}, expected an array in the file itself")
            group = group[name]
        return group

    def array(self, data: Any) -> np.ndarray:
        """Read an array."""
        if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu":
            raise ValueError(f"{data.name} is not an array of numbers")
        properties = data.id.get_create_plist()
        if data.is_virtual or properties.get_external_count():
            raise ValueError(f"{data.name} lies in other files, expected an array in the file itself")
        filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        if any(each not in _FILTERS for each in filters):
            raise ValueError(f"{data.name} is compressed by filter {filters}, expected gzip")
        chunk = math.prod(data.chunks or (0,)) * data.dtype.itemsize
        self._left -= data.nbytes
        if self._left < 0 or chunk > max(4 * data.nbytes, 1 << 24):
            raise ValueError(
                f"{data.name} takes {max(data.nbytes, chunk) / 1e6:.0f} MB, more than the network's arrays"
            )
        return np.asarray(data[()], "float32")

    def text(self, item: Any, key: str) -> list[str]:
        """Read a list of strings from an attribute; empty if the attribute is missing."""
        if key not in item.attrs:
            return []
        attribute = item.attrs.get_id(key)
        if not math.prod(attribute.shape or ()):  # none, which Keras stores as no numbers
            return []
        if h5py.check_string_dtype(attribute.dtype) is None or math.prod(attribute.shape or ()) > _MOST_NAMES:
            raise ValueError(f"attribute {key} of {item.name}: {attribute.dtype} {attribute.shape}, expected names")
        found = item.attrs[key]
        return [each.decode() if isinstance(each, bytes) else str(each) for each in np.atleast_1d(found).tolist()]


def _arrays_by_layer(reader: _Reader, file: h5py.File) -> dict[str, list[np.ndarray]]:
    stored: dict[str, list[np.ndarray]] = {}
    for group in _groups(file):
        if str(group.name).endswith("vars") and len(group) and (names := reader.text(group, "name")):
            stored[names[0]] = [reader.array(reader.member(group, index)) for index in sorted(group, key=int)]
    if stored:
        return stored
    root = reader.member(file, "model_weights") if "model_weights" in file else file
    for name in root if isinstance(root, h5py.Group) else ():
        group = reader.member(root, name)
        if paths := reader.text(group, "weight_names"):
            stored[name] = [reader.array(reader.member(group, path)) for path in paths]
    return stored


def _groups(file: h5py.File) -> Iterator[h5py.Group]:
    """Yield the groups of a file in the order of their names, each once: hard links may lead back up."""
    seen, number = set(), 0
    waiting = [(file, 0)]
    while waiting:
        group, level = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        yield group
        number += len(group)
        if number > _MOST_OBJECTS or level > _MOST_LEVELS:
            raise ValueError(f"more than {_MOST_OBJECTS} objects, or {_MOST_LEVELS} levels")
        inner = [
            group[name]
            for name in sorted(group)
            if isinstance(group.get(name, getlink=True), h5py.HardLink) and group.get(name, getclass=True) is h5py.Group
        ]
        waiting += [(each, level + 1) for each in reversed(inner)]


def _settled(stored: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Number unnamed layers from 0 on, as `taps.stable_names` does."""
    nameless = defaultdict(list)
    for name in stored:
        match = re.fullmatch(r"(conv2d|batch_normalization|layer_normalization|normalization|dense)(?:_(\d+))?", name)
        if match:
            nameless[match[1]].append((int(match[2] or 0), name))
    new = {name: f"{kind}_{index}" for kind, found in nameless.items() for index, (_, name) in enumerate(sorted(found))}
    return {new.get(name, name): arrays for name, arrays in stored.items()}


@contextmanager
def _limited_memory(extra: int) -> Iterator[None]:
    """Limit this process to `extra` more bytes of memory: the HDF5 library trusts the sizes stated in a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        yield
        return
    limit = pages * resource.getpagesize() + extra
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
