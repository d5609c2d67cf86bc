"""List files of one name a line: encodings, line ends, names that leave the dataset."""

import pytest

from segtrain.data.listing.list_file import read_names
from segtrain.errors import DataError


def test_list_file_with_mark_windows_lines_and_blanks_is_read(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\n  b.c  \r\nd.jpg")
    assert read_names(tmp_path / "train.txt") == ["a", "b.c", "d.jpg"]


def test_list_file_keeps_its_order(tmp_path):
    (tmp_path / "train.txt").write_text("9\n10\n1\n")
    assert read_names(tmp_path / "train.txt") == ["9", "10", "1"]


def test_list_file_that_names_twice_is_refused(tmp_path):
    (tmp_path / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"train\.txt:3: 'a': .* line 1\. Fix: sed -i\.bak 3d "):
        read_names(tmp_path / "train.txt")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "~/a", "a/../../b", "a.png ../secret.png"])
def test_list_file_that_leaves_the_dataset_is_refused(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"a\n\n{name}\n")
    with pytest.raises(DataError, match=f"train.txt:3: '{name}' leaves the dataset.* Fix: "):
        read_names(tmp_path / "train.txt")


def test_missing_list_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the list .*train\.txt.* Fix: "):
        read_names(tmp_path / "train.txt")


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ("a\nb\n".encode("utf-16-le"), "UTF-16 without a byte-order mark.* Fix: iconv -f UTF-16LE "),
        ("a\ncaf\u00e9\n".encode("latin-1"), "byte 0xe9 in line 2.* Fix: iconv -f WINDOWS-1252 "),
        (b"\xff\xfea\0b", "byte-order mark of UTF-16-LE before other bytes"),
    ],
)
def test_list_file_of_another_encoding_is_refused(tmp_path, data, seen):
    (tmp_path / "train.txt").write_bytes(data)
    with pytest.raises(DataError, match=rf"cannot read the list .*train\.txt: .*{seen}"):
        read_names(tmp_path / "train.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_list_files_of_unicode_are_read_with_line_ends_of_any_system(tmp_path, encoding, end):
    names = ["caf\u00e9", "a\u2028b", "x\u0085y"]  # which str.splitlines would cut
    (tmp_path / "train.txt").write_bytes((end.join(names) + end).encode(encoding))
    assert read_names(tmp_path / "train.txt") == names
