"""Files that others wrote: no pipe blocks, no device is read without end, no text exhausts a parser."""

import hashlib
import json
import os
import socket
import time
from pathlib import Path

import pytest
import yaml

from segtrain import config
from segtrain.data.audit import store
from segtrain.data.images.contents import read_bytes
from segtrain.data.images.matfile import read_mats
from segtrain.data.listing.list_file import read_lines
from segtrain.data.sbd.record import Record
from segtrain.errors import SegtrainError
from segtrain.reading import load_json, parse_json, read_regular, read_yaml_text, require_bounded_yaml
from segtrain.runs import folder as runs
from segtrain.runs.checkpoint import damages, find_checkpoints
from segtrain.runs.manifest import read_manifest, sealed
from segtrain.visual.curves import read_metrics


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.getcwd()
        os.chdir(path.parent)  # the path of a socket holds a hundred bytes
        server.bind(path.name)
        os.chdir(folder)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


def nowhere(path: Path) -> None:
    path.symlink_to("gone")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


PLACES = [pipe, listening_socket, zeros, sparse, Path.mkdir, nowhere, circle]


def checkpoint(path: Path) -> None:
    found = find_checkpoints(path.parent.parent)
    assert not found and damages(path.parent.parent)
    read_manifest(path.parent)


READERS = {
    "image": ("a.png", lambda path: read_bytes(path, most=1 << 20)),
    "list": ("train.txt", read_lines),
    "mat": ("a.mat", lambda path: list(read_mats([path]))),
    "classes": ("classes.json", runs.read_json),
    "config": ("config.yaml", lambda path: config.stored_config(path.parent)),
    "a user's YAML": ("dataset/x.yaml", lambda path: config.refuse_clashes(str(path.parent.parent))),
    "manifest": ("step-00000001/manifest.json", checkpoint),
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_of_that_kind_is_refused_in_one_line_at_once(tmp_path, reader, place):
    name, read = READERS[reader]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    place(path)
    began = time.process_time()
    with pytest.raises(SegtrainError) as caught:
        read(path)
    assert time.process_time() - began < 2
    assert path.name in str(caught.value) and "Fix: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_caches_and_records_that_are_no_files_count_for_nothing(tmp_path, monkeypatch, place):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store.folder().mkdir(parents=True)
    place(store.folder() / "a.records.json")
    assert store.load_records("a") is None
    assert runs.holder(tmp_path) is None
    pipe(tmp_path / "lock")
    assert runs.holder(tmp_path) is None


DEEP = ["[" * 20_000, "[" * 20_000 + "]" * 20_000, '{"a":' * 20_000, '{"a":' * 20_000 + "1" + "}" * 20_000, "9" * 5_000]


@pytest.mark.parametrize("text", DEEP, ids=["open lists", "lists", "open mappings", "mappings", "digits"])
def test_json_that_exhausts_the_parser_is_refused(tmp_path, text, monkeypatch):
    with pytest.raises(ValueError):
        parse_json(text)
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(SegtrainError, match=r"cannot read .*classes\.json: .*Fix: "):
        runs.read_json(tmp_path / "classes.json")
    (tmp_path / "metrics.jsonl").write_text(f'{{"epoch": 1}}\n{text}\n')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"epoch": 1}]
    (tmp_path / "prepared.jsonl").write_text(text)
    assert Record(tmp_path, "labels").verified(1) == set()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store.folder().mkdir(parents=True)
    (store.folder() / "a.verdict.json").write_text(text)
    assert store.load_verdict("a") is None


def test_a_sealed_manifest_that_is_nested_deeply_is_refused(tmp_path):
    text = sealed({"step": 1, "deep": "DEEP"}).replace(b'"DEEP"', DEEP[1].encode())
    blank = text.replace(text.split(b'"sha256_of_manifest": "')[1][:64], b"0" * 64)
    (tmp_path / "manifest.json").write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1))
    with pytest.raises(SegtrainError, match="nested too deeply.*Fix: "):
        read_manifest(tmp_path)


def laughs(levels: int, width: int) -> str:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "billion laughs": laughs(10, 10),
    "two to the fortieth": laughs(40, 2),
    "merged keys": "a0: &a0 {k: v}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, x: *a{i - 1}}}\n" for i in range(1, 40)),
    "itself": "a: &a [*a]\n",
    "lists": "a: " + "[" * 20_000 + "]" * 20_000,
    "open lists": "[" * 200_000,
    "mappings": "{a: " * 20_000 + "}" * 20_000,
    "blocks": "".join(" " * level + "a:\n" for level in range(600)),
    "dashes": "- " * 5_000 + "a\n",
    "values": "a: [" + "1, " * 30_000 + "]\n",
    "a large file": "a: " + "b" * 300_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_that_exhausts_the_parser_is_refused_at_once(tmp_path, bomb):
    (tmp_path / "config.yaml").write_text(BOMBS[bomb])
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/mine.yaml").write_text(BOMBS[bomb])
    began = time.process_time()
    with pytest.raises(SegtrainError, match=r"cannot read .*config\.yaml: .*Fix: "):
        config.stored_config(tmp_path)
    with pytest.raises(SegtrainError, match=r"cannot read .*\.yaml: .*Fix: "):
        config.refuse_clashes(str(tmp_path))
    assert time.process_time() - began < 2


def test_ordinary_yaml_with_aliases_is_read():
    text = "base: &base {size: 3}\nother: {<<: *base, more: [*base, *base]}\nclasses:\n" + "".join(
        f"  class_{index}: [{index}, 0, 0]\n" for index in range(2000)
    )
    require_bounded_yaml(text)
    assert yaml.safe_load(text)["other"]["more"] == [{"size": 3}] * 2


def test_every_yaml_of_segtrain_is_read():
    for path in Path(config.config_dir()).rglob("*.yaml"):
        assert read_yaml_text(path) == path.read_text()


def test_a_regular_file_is_read_through_a_link_and_its_beginning(tmp_path):
    (tmp_path / "a").write_text(json.dumps({"a": [1]}))
    (tmp_path / "b").symlink_to("a")
    assert load_json(tmp_path / "b") == {"a": [1]}
    assert read_regular(tmp_path / "b", beginning=2) == b'{"'
