"""From a table of sources to a folder: whole or not at all, whatever happens on the way."""

import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from hashlib import sha256
from pathlib import Path

import pytest

from download.hostile import entry, header, tar, zipped
from download.misbehaving import Server
from segtrain.config import config_dir
from segtrain.download import install as module
from segtrain.download.connection import RetryPolicy
from segtrain.download.install import RECORD, install
from segtrain.download.sources import SOURCES, Archive, Source
from segtrain.errors import ConfigError, DataError, ResourceError

POLICY = RetryPolicy(timeout=2, attempts=2, pause=0.01, plain_hosts=frozenset({"127.0.0.1"}))
IMAGES = gzip.compress(tar(header(b"images/", kind=b"5"), entry(b"images/1.jpg"), entry(b"license.txt", b"one")))
LABELS = zipped(("deep/er/labels/1.png", b"data"), ("deep/er/license.txt", b"two"), ("beside/it.txt", b""))
PAIR = tar(entry(b"kit/set/images/1.jpg"), entry(b"kit/set/labels/1.png"), entry(b"kit/readme"))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def archive(file, data, server=None, gives=("images", "labels"), **more):
    urls = (server.url(file),) if server else ()
    return Archive(file, gives, urls, **({"size": len(data), "sha256": sha256(data).hexdigest()} | more))


def source(*archives, **more):
    facts = {"title": "A set", "home": "https://example.org", "license": "CC0", "folder": "sets/set", "dataset": None}
    return Source(archives=archives, **(facts | more))


def serve(**files):
    """A server of these files; their names have _ for the dot."""

    def answer(request):
        request.ranged(files[request.path.strip("/").replace(".", "_")])

    return Server(answer)


def put(name, wanted, root, *given, **more):
    return install(name, wanted, root, given, policy=POLICY, **more)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What comes out


def test_the_folder_that_holds_what_the_table_says_is_put_in_its_place(tmp_path):
    with serve(pair_tar=PAIR) as server:
        done = put("set", source(archive("pair.tar", PAIR, server)), tmp_path / "root")
    assert (done.folder, done.files, done.trusted) == (tmp_path / "root/sets/set", 3, {})
    assert tree(tmp_path) == [f"root/sets/set/{name}" for name in ("images/1.jpg", "labels/1.png", RECORD)]
    record = json.loads((done.folder / RECORD).read_text())
    assert record["license"] == "CC0"
    assert record["archives"] == [
        {
            "file": "pair.tar",
            "from": server.url("pair.tar"),
            "bytes": len(PAIR),
            "sha256": sha256(PAIR).hexdigest(),
            "published": True,
        }
    ]


def test_two_archives_become_one_folder(tmp_path):
    with serve(images_tar_gz=IMAGES, labels_zip=LABELS) as server:
        parts = (
            archive("images.tar.gz", IMAGES, server, ("images",)),
            archive("labels.zip", LABELS, server, ("labels",)),
        )
        put("set", source(*parts), tmp_path)
    assert tree(tmp_path / "sets/set") == ["images/1.jpg", "labels/1.png", "license.txt", RECORD]
    assert (tmp_path / "sets/set/license.txt").read_bytes() == b"one"


def test_an_archive_in_an_archive_is_unpacked_and_put_where_the_dataset_wants_it(tmp_path):
    outer = zipped(("labels_all/labels.zip", zipped(("seg/1.png", b"data"))))
    path = tmp_path / "labels.zip"
    path.write_bytes(outer)
    wanted = archive("labels.zip", outer, gives=("seg",), inner="labels.zip", into="labels_all")
    put("set", source(wanted), tmp_path, path)
    assert tree(tmp_path / "sets/set") == ["labels_all/seg/1.png", RECORD]


def test_what_is_there_is_left_as_it_is(tmp_path):
    with serve(pair_tar=PAIR) as server:
        wanted = source(archive("pair.tar", PAIR, server))
        put("set", wanted, tmp_path)
        mine = tmp_path / "sets/set/images/mine.jpg"
        mine.touch()
        assert put("set", wanted, tmp_path).files == 0
    assert len(server.requests) == 1
    assert mine.exists()


def test_a_folder_that_is_not_whole_is_not_touched(tmp_path):
    (tmp_path / "sets/set/images").mkdir(parents=True)
    with pytest.raises(DataError, match="missing labels"):
        put("set", source(archive("pair.tar", PAIR)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]


def test_archives_are_kept_when_asked(tmp_path):
    with serve(pair_tar=PAIR) as server:
        put("set", source(archive("pair.tar", PAIR, server)), tmp_path, keep=True)
    assert (tmp_path / "pair.tar").read_bytes() == PAIR


def test_what_no_sum_vouches_for_is_told(tmp_path):
    with serve(pair_tar=PAIR) as server:
        done = put("set", source(archive("pair.tar", PAIR, server, size=None, sha256=None)), tmp_path)
    assert done.trusted == {"pair.tar": sha256(PAIR).hexdigest()}
    assert json.loads((done.folder / RECORD).read_text())["archives"][0]["published"] is False


# A user's own archives


def test_archives_of_ones_own_are_held_to_the_sums_and_left_alone(tmp_path):
    mine = tmp_path / "mine.tar"
    mine.write_bytes(PAIR)
    put("set", source(archive("pair.tar", PAIR)), tmp_path, mine)
    assert mine.read_bytes() == PAIR
    shutil.rmtree(tmp_path / "sets")
    mine.write_bytes(PAIR[:-512])
    with pytest.raises(DataError, match=r"mine\.tar is not the published pair\.tar: 3,584 bytes, expected 4,096"):
        put("set", source(archive("pair.tar", PAIR)), tmp_path, mine)


def test_a_folder_of_archives_is_searched_by_name(tmp_path):
    (tmp_path / "images.tar.gz").write_bytes(IMAGES)
    (tmp_path / "labels.zip").write_bytes(LABELS)
    wanted = source(
        archive("images.tar.gz", IMAGES, gives=("images",)), archive("labels.zip", LABELS, gives=("labels",))
    )
    assert put("set", wanted, tmp_path / "root", tmp_path).files == 5
    (tmp_path / "labels.zip").unlink()
    with pytest.raises(ConfigError, match=r"expected labels\.zip\. Fix: get them from https://example\.org"):
        put("set", wanted, tmp_path / "other", tmp_path)


def test_without_a_public_link_it_says_where_to_get_what(tmp_path):
    with pytest.raises(ConfigError, match=r"set: needs an account, expected pair\.tar\. Fix: get it from https://exam"):
        put("set", source(archive("pair.tar", PAIR), login="needs an account"), tmp_path)
    assert not list(tmp_path.iterdir())


# What goes wrong


def test_an_archive_without_the_folders_is_refused_and_leaves_nothing(tmp_path):
    other = tar(entry(b"photos/1.jpg"))
    path = tmp_path / "other.tar"
    path.write_bytes(other)
    with pytest.raises(DataError, match=r"other\.tar holds photos, expected a folder with images, labels"):
        put("set", source(archive("pair.tar", other)), tmp_path / "root", path)
    assert not list((tmp_path / "root").iterdir())


def test_a_hostile_archive_leaves_nothing(tmp_path):
    bad = tar(entry(b"set/images/1.jpg"), entry(b"../../labels"))
    path = tmp_path / "bad.tar"
    path.write_bytes(bad)
    with pytest.raises(DataError, match="leads out of its folder"):
        put("set", source(archive("pair.tar", bad)), tmp_path / "root", path)
    assert not list((tmp_path / "root").iterdir())


def test_a_download_that_failed_leaves_its_part_and_nothing_else(tmp_path):
    with Server(lambda request: request.ranged(PAIR, 1000)) as server, pytest.raises(ResourceError):
        put("set", source(archive("pair.tar", PAIR, server)), tmp_path)
    assert tree(tmp_path) == [".set.unfinished/pair.tar.part", ".set.unfinished/pair.tar.part.json"]
    with serve(pair_tar=PAIR) as server:
        put("set", source(archive("pair.tar", PAIR, server)), tmp_path)
    assert server.starts == [1000]
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]


def test_leftovers_of_a_command_killed_at_its_very_end_are_removed(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / "sets/set" / name).mkdir(parents=True)
    (tmp_path / ".set.unfinished").mkdir()
    (tmp_path / ".set.unfinished/pair.tar.part").write_bytes(PAIR)
    assert put("set", source(archive("pair.tar", PAIR)), tmp_path).files == 0
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]


def test_leftovers_of_a_killed_command_are_removed(tmp_path):
    work = tmp_path / ".set.unfinished"
    (work / "merged/images").mkdir(parents=True)
    (work / "unpacked-0/deep").mkdir(parents=True)
    (work / "pair.tar.rejected").write_bytes(b"bad")
    with serve(pair_tar=PAIR) as server:
        put("set", source(archive("pair.tar", PAIR, server)), tmp_path)
    assert tree(tmp_path / "sets/set") == ["images/1.jpg", "labels/1.png", RECORD]
    assert not work.exists()


def test_a_command_killed_anywhere_leaves_no_half_dataset(tmp_path):
    """SIGKILL at random moments of an unpacking of 3,000 files, then one run to the end."""
    data = tar(*(entry(b"set/%s/%d" % (kind, number)) for number in range(1500) for kind in (b"images", b"labels")))
    (tmp_path / "many.tar").write_bytes(data)
    program = textwrap.dedent(f"""
        from pathlib import Path
        from segtrain.download.install import install
        from segtrain.download.sources import Archive, Source
        wanted = Source("", "", "", (Archive("many.tar", ("images", "labels")),), "set", None)
        print("begin", flush=True)
        install("set", wanted, Path({str(tmp_path / "root")!r}), [Path({str(tmp_path / "many.tar")!r})])
    """)
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    killed = 0
    for pause in (0.0, 0.01, 0.03, 0.06):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
        assert process.stdout.readline() == b"begin\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finished = (tmp_path / "root/set").exists()
        killed += not finished
        assert not finished or len(tree(tmp_path / "root/set")) == 3001
    assert killed
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert len(tree(tmp_path / "root/set")) == 3001
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["set"]


def test_two_commands_do_not_work_on_one_dataset(tmp_path):
    work = tmp_path / ".set.unfinished"
    work.mkdir()
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(ResourceError, match="another segtrain download is using"):
            put("set", source(archive("pair.tar", PAIR)), tmp_path)
    finally:
        os.close(handle)
    assert work.exists()


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.set.unfinished").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResourceError, match="cannot use"):
        put("set", source(archive("pair.tar", PAIR)), tmp_path / "root")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_disk_that_cannot_hold_archive_and_files_is_told_before(tmp_path, monkeypatch):
    free = module.SPARE_DISK + 2 * len(PAIR) - 1
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, 0, free))
    with pytest.raises(ResourceError, match=r"0\.3 GB free, expected 0\.3 GB"):
        put("set", source(archive("pair.tar", PAIR)), tmp_path)
    assert not list(tmp_path.iterdir())


# The table


@pytest.mark.parametrize("name", SOURCES)
def test_the_table_is_sound(name):
    found = SOURCES[name]
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert found.home.startswith("http")
    assert found.license
    assert found.dataset is None or Path(config_dir(), "dataset", f"{found.dataset}.yaml").is_file()
    assert bool(found.login) is not all(archive.urls for archive in found.archives)
    for each in found.archives:
        assert each.gives
        assert all(url.startswith("https://") for url in each.urls)
        assert each.sha256 is None or re.fullmatch("[0-9a-f]{64}", each.sha256)
        assert each.md5 is None or re.fullmatch("[0-9a-f]{32}", each.md5)
        assert each.size is None or each.size <= each.max_bytes


def test_the_sums_are_those_that_everybody_uses():
    voc, sbd = SOURCES["voc"].archives[0], SOURCES["sbd"].archives[0]
    assert (voc.size, voc.md5) == (1_999_639_040, "6cd6e144f989b92b3379bac3b3de84fd")
    assert (sbd.size, sbd.md5) == (1_419_539_633, "82b4d87ceb2ed10f6038a1cba92111cb")
