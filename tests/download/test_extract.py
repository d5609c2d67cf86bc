"""Archives: what is unpacked, and that nothing hostile gets beside the folder it is unpacked to."""

import bz2
import gzip
import lzma
import random
import stat

import pytest

from download.hostile import GOOD, HOSTILE, entry, header, pax, tar, zipped
from segtrain.download.extract import Bounds, extract
from segtrain.errors import DataError

SOUND = {
    "tar": GOOD,
    "tar.gz": gzip.compress(GOOD),
    "tar.bz2": bz2.compress(GOOD),
    "tar.xz": lzma.compress(GOOD),
    "a gzip in pieces": gzip.compress(GOOD[:700]) + gzip.compress(GOOD[700:]),
    "zip": zipped(("set/", b""), ("set/a.png", b"first"), ("set/b.png", b"second")),
}


@pytest.fixture
def place(tmp_path):
    """A root with neighbors, so that whatever gets out of it is seen."""
    root = tmp_path / "outer" / "root"
    root.mkdir(parents=True)
    return root


def unpack(data, root, bounds=None):
    archive = root.parent.parent / "archive"
    archive.write_bytes(data)
    return extract(archive, root, bounds)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("form", SOUND)
def test_a_sound_archive_gives_its_files(form, place):
    assert unpack(SOUND[form], place) == 2
    assert tree(place) == ["set", "set/a.png", "set/b.png"]
    assert (place / "set/a.png").read_bytes() == b"first"
    assert (place / "set/b.png").read_bytes() == b"second"


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_and_leaves_nothing_outside(fault, place):
    data, words = HOSTILE[fault]
    with pytest.raises(DataError) as raised:
        unpack(data, place)
    said = str(raised.value)
    assert words in said
    assert said.isprintable()
    assert "Fix:" in said
    # archive and outer are there of themselves, root may hold what came before the fault: files and folders only.
    assert tree(place.parent.parent)[:2] == ["archive", "outer"]
    assert all(path.startswith("outer/root") for path in tree(place.parent.parent)[2:])
    assert all(path.is_dir() or stat.S_ISREG(path.lstat().st_mode) for path in place.rglob("*"))


def test_a_bomb_is_stopped_long_before_it_is_unpacked(place):
    with pytest.raises(DataError, match="times its own length"):
        unpack(*HOSTILE["a gzip bomb"][:1], place)
    # Up to 16 MiB are unpacked of anything; the bomb has 40 MB.
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) <= 2**24
    with pytest.raises(DataError, match="times its own length"):
        unpack(*HOSTILE["zip: a bomb"][:1], place)
    assert not (place / "zeros").stat().st_size > 2**24


def test_bounds_hold_for_members_and_bytes(place):
    with pytest.raises(DataError, match="more than 2 files"):
        unpack(tar(entry(b"a"), entry(b"b"), entry(b"c")), place, Bounds(members=2))
    with pytest.raises(DataError, match="more than 7 bytes"):
        unpack(tar(entry(b"d", b"1234"), entry(b"e", b"1234")), place, Bounds(length=7))
    assert tree(place) == ["a", "b", "d"]


def test_modes_of_the_archive_do_not_count(place):
    unpack(tar(entry(b"run", mode=b"0006777"), header(b"shut/", kind=b"5", mode=b"0000000"), entry(b"shut/a")), place)
    assert stat.S_IMODE((place / "run").stat().st_mode) & 0o7133 == 0
    assert (place / "shut/a").read_bytes() == b"data"


def test_long_names_of_gnu_and_pax_and_the_prefix_of_ustar_are_read(place):
    long = b"f" * 120 + b"/" + b"n" * 200
    data = tar(
        entry(b"././@LongLink", long + b"\0", b"L"),
        entry(b"cut"),
        pax((b"path", "größe/ü.png".encode()), (b"mtime", b"1.5"), (b"LIBARCHIVE.xattr.x", b"=\n\n")),
        entry(b"cut"),
        entry(b"name.png", prefix=b"folder/sub"),
        pax((b"comment", b"of git"), kind=b"g"),
        entry(b"./last.png"),
    )
    assert unpack(data, place) == 4
    files = {path for path in tree(place) if (place / path).is_file()}
    assert files == {long.decode(), "größe/ü.png", "folder/sub/name.png", "last.png"}


def test_sizes_come_from_pax_where_it_has_them(place):
    big = entry(b"a", b"x" * 600)
    unpack(tar(pax((b"size", b"600")), header(b"a", 0) + big[512:], entry(b"b")), place)
    assert (place / "a").stat().st_size == 600
    assert (place / "b").read_bytes() == b"data"


def test_what_is_there_is_never_written_over_or_through(place, tmp_path):
    (place / "set").mkdir()
    (place / "set/a.png").symlink_to(tmp_path / "victim")
    with pytest.raises(Exception, match="File exists"):
        unpack(GOOD, place)
    assert not (tmp_path / "victim").exists()


def test_five_hundred_damaged_archives_end_in_a_refusal_or_in_files(place):
    """Bytes changed, cut and repeated at random: never another error, never a file outside."""
    generator = random.Random(7)
    refused = 0
    for number in range(500):
        data = bytearray(generator.choice([*SOUND.values()]))
        for _ in range(generator.randint(1, 8)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        if generator.random() < 0.3:
            data = data[: generator.randrange(len(data))]
        root = place / str(number)
        root.mkdir()
        try:
            unpack(bytes(data), root)
        except DataError as error:
            refused += 1
            assert str(error).isprintable()
    assert refused > 250
    assert [path.name for path in place.parent.parent.iterdir()] == ["outer"]
    assert sorted(path.name for path in place.parent.iterdir()) == ["archive", "root"]
    assert not [path for path in place.rglob("*") if path.is_symlink()]
