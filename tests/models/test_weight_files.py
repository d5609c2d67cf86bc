"""Files of weights that lie, link or inflate are refused in one line, within 2 s and 500 MB."""

import contextlib
import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors

pytestmark = pytest.mark.tensorflow

from segtrain.models.weight_files import read_h5, read_safetensors  # noqa: E402

SMALL = 1000  # bytes of a network
UNREADABLE = (OSError, KeyError, RuntimeError, TypeError, ValueError, MemoryError, safetensors.SafetensorError)


def layer(file: h5py.File, names: object = ("kernel:0",)) -> h5py.Group:
    """A layer as Keras 2 writes it, but for its arrays."""
    group = file.create_group("conv")
    group.attrs["weight_names"] = names
    return group


def plain(file: h5py.File, folder: Path) -> None:
    layer(file)["kernel:0"] = np.arange(6, dtype="float32").reshape(2, 3)


def soft_link(file: h5py.File, folder: Path) -> None:
    file["secret"] = np.zeros(3)
    layer(file)["kernel:0"] = h5py.SoftLink("/secret")


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.zeros(3)
    layer(file)["kernel:0"] = h5py.ExternalLink("other.h5", "/secret")


def external_link_of_a_layer(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        layer(other)["kernel:0"] = np.zeros(3)
    file["conv"] = h5py.ExternalLink("other.h5", "/conv")
    file.create_group("model_weights")["conv"] = h5py.ExternalLink("other.h5", "/conv")


def external_link_of_all(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        layer(other)["kernel:0"] = np.zeros(3)
    file["model_weights"] = h5py.ExternalLink("other.h5", "/")


def external_storage(file: h5py.File, folder: Path) -> None:
    layer(file).create_dataset("kernel:0", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.zeros(3)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (3,))
    layer(file).create_virtual_dataset("kernel:0", layout)


def upwards(file: h5py.File, folder: Path) -> None:
    layer(file, ("../secret",))
    file["secret"] = np.zeros(3)


def absolute(file: h5py.File, folder: Path) -> None:
    layer(file, ("/secret",))
    file["secret"] = np.zeros(3)


def huge_shape(file: h5py.File, folder: Path) -> None:
    layer(file).create_dataset("kernel:0", (1 << 34,), "f4", chunks=(1 << 20,))


def many_shapes(file: h5py.File, folder: Path) -> None:
    group = layer(file, [f"a{index}" for index in range(100)])
    for index in range(100):
        group.create_dataset(f"a{index}", (1 << 23,), "f4", chunks=(1 << 20,))


def huge_chunk(file: h5py.File, folder: Path) -> None:
    data = layer(file).create_dataset("kernel:0", (1 << 10,), "u1", chunks=(1 << 30,), maxshape=(None,))
    data.id.write_direct_chunk((0,), b"a")


def inflating(file: h5py.File, folder: Path) -> None:
    data = layer(file).create_dataset("kernel:0", (1 << 10,), "u1", chunks=(1 << 10,), compression="gzip")
    deflate = zlib.compressobj(9)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(2048)) + deflate.flush()
    data.id.write_direct_chunk((0,), bomb)


def unknown_filter(file: h5py.File, folder: Path) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(h5py.h5z.FILTER_SCALEOFFSET, 0, (2, 0))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(layer(file).id, b"kernel:0", h5py.h5t.NATIVE_INT32, space, properties)


def texts(file: h5py.File, folder: Path) -> None:
    layer(file).create_dataset("kernel:0", (3,), h5py.string_dtype())


def compound(file: h5py.File, folder: Path) -> None:
    layer(file).create_dataset("kernel:0", (3,), np.dtype([("a", "f4"), ("b", "f4")]))


def group_for_an_array(file: h5py.File, folder: Path) -> None:
    layer(file).create_group("kernel:0")


def names_of_numbers(file: h5py.File, folder: Path) -> None:
    layer(file, np.arange(3))


def circle(file: h5py.File, folder: Path) -> None:
    group = file.create_group("vars")
    group["up"] = file["/"]
    group["0"] = group
    group.attrs["name"] = "conv"


def deep(file: h5py.File, folder: Path) -> None:
    group: h5py.Group = file
    for _ in range(200):
        group = group.create_group("a")


HOSTILE: list[Callable[[h5py.File, Path], None]] = [
    soft_link, external_link, external_link_of_a_layer, external_link_of_all, external_storage, virtual, upwards,
    absolute, huge_shape, many_shapes, huge_chunk, inflating, unknown_filter, texts, compound, group_for_an_array,
    names_of_numbers, circle, deep,
]  # fmt: skip


def peak_megabytes() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


def refused(read: Callable[[Path, int], object], path: Path) -> None:
    Path("/proc/self/clear_refs").write_text("5")
    before, began = peak_megabytes(), time.process_time()
    with pytest.raises(UNREADABLE):
        read(path, SMALL)
    assert time.process_time() - began < 2
    assert peak_megabytes() - before < 500


def test_a_plain_file_is_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plain(file, tmp_path)
    np.testing.assert_array_equal(read_h5(tmp_path / "a.h5", SMALL)["conv"][0], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_hostile_h5_is_refused_within_limits(tmp_path, make):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, tmp_path)
    refused(read_h5, tmp_path / "a.h5")


def test_damaged_h5_files_are_read_or_refused_within_limits(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        plain(file, tmp_path)
        file["conv"].create_dataset("other", (64,), "f4", chunks=(16,), compression="gzip", data=np.arange(64))
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    began = time.process_time()
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            place, size = int(rng.integers(len(data) - 8)), int(rng.choice([1, 2, 4, 8]))
            number = int(rng.choice([0, 1, 255, 2**15, 2**31 - 1, 2**36, 2**63 - 1]))
            changed[place : place + size] = number.to_bytes(8, "little")[:size]
        path.write_bytes(changed)
        with contextlib.suppress(UNREADABLE):
            read_h5(path, SMALL)
    assert time.process_time() - began < 20
    assert peak_megabytes() < 4000


def tensors(header: object, data: bytes = bytes(64), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(dtype: str = "F32", shape: object = (4, 4), offsets: object = (0, 64), **more: object) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}}


LYING = {
    "empty": b"",
    "a few bytes": b"\1\0\0",
    "no header": tensors(b"", length=0),
    "a huge header": tensors(one(), length=2**63),
    "a header of 100 MB": tensors(one(), length=100 << 20),
    "a header behind the end": tensors(one(), length=4000),
    "a list": tensors([1]),
    "deep": tensors(b"[" * 20_000),
    "deep mappings": tensors(b'{"a":' * 20_000),
    "no UTF-8": tensors(b'{"\xff\xfe":1}'),
    "a name twice": tensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},' * 2),
    "two arrays of a name": tensors(
        b'{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}'
    ),
    "overlapping": tensors({**one(), "b": one()["a"]}),
    "overlapping in part": tensors({**one(), "b": one(offsets=(32, 96))["a"]}, bytes(96)),
    "a hole": tensors({**one(), "b": one(offsets=(128, 192))["a"]}, bytes(192)),
    "reversed": tensors(one(offsets=(64, 0))),
    "negative": tensors(one(offsets=(-64, 0))),
    "behind the end": tensors(one(offsets=(1 << 40, (1 << 40) + 64))),
    "another size": tensors(one(shape=(4, 5))),
    "more bytes": tensors(one(), bytes(128)),
    "fewer bytes": tensors(one(), bytes(32)),
    "F8": tensors(one("F8_E4M3", (64,))),
    "F4": tensors(one("F4", (128,))),
    "an unknown type": tensors(one("Q9")),
    "no type": tensors({"a": {"shape": [16], "data_offsets": [0, 64]}}),
    "no shape": tensors({"a": {"dtype": "F32", "data_offsets": [0, 64]}}),
    "no mapping": tensors({"a": 1}),
    "a product that overflows": tensors(one(shape=(1 << 32, 1 << 32))),
    "a product that overflows to the size": tensors(one("U8", (2**63 + 32, 2))),
    "zero among huge sides": tensors(one(shape=(0, 1 << 62), offsets=(0, 0)), b""),
    "zeros among large sides": tensors(one(shape=(1 << 30, 0, 1 << 30), offsets=(0, 0)), b""),
    "negative sides": tensors(one(shape=(-4, -4))),
    "sides of fractions": tensors(one(shape=(4.0, 4.0))),
    "many sides": tensors(one(shape=(1,) * 100_000)),
    "sides of booleans": tensors(one(shape=(True, 16))),
    "metadata of numbers": tensors({"__metadata__": {"a": 1}, **one()}),
}


@pytest.mark.parametrize("name", LYING)
def test_a_lying_safetensors_file_is_refused_within_limits(tmp_path, name):
    (tmp_path / "a.safetensors").write_bytes(LYING[name])
    refused(read_safetensors, tmp_path / "a.safetensors")


def test_a_sparse_safetensors_file_of_terabytes_is_refused(tmp_path):
    size = 1 << 42
    with (tmp_path / "a.safetensors").open("wb") as file:
        head = tensors(one("U8", (size,), (0, size)), b"")
        file.write(head)
        file.truncate(len(head) + size)
    refused(read_safetensors, tmp_path / "a.safetensors")


@pytest.mark.parametrize("read", [read_h5, read_safetensors])
@pytest.mark.parametrize("place", ["pipe", "folder", "device", "sparse", "nowhere"])
def test_what_is_no_file_is_refused_at_once(tmp_path, read, place):
    path = tmp_path / "weights"
    if place == "pipe":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    elif place == "device":
        path.symlink_to("/dev/zero")
    elif place == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 42)
    refused(read, path)
