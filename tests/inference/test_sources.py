"""What a source holds, by its kind, and sources that are refused."""

import os

import pytest

from segtrain.errors import ConfigError, DataError
from segtrain.inference.sources import Image, Video, find_inputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three images, one of them below, a video and a note; the working folder."""
    for name in ("b.PNG", "a.jpg", "deep/down/c.tif", "clip.mp4", "notes.md", ".hidden.png", ".cache/d.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(source, **options):
    return [each.name for each in find_inputs(source, **options)]


def test_a_folder_holds_its_images_and_videos_and_those_below_by_name(folder):
    found = find_inputs(str(folder))
    assert [each.name for each in found] == ["a", "b", "clip", "deep/down/c"]
    assert [type(each) for each in found] == [Image, Image, Video, Image]
    assert found[3] == Image(folder / "deep" / "down" / "c.tif", "deep/down/c")


def test_earlier_results_below_the_folder_do_not_count(folder):
    assert names(str(folder), without=folder / "deep") == ["a", "b", "clip"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("photos/a.jpg", ["a"]),
        ("photos/clip.mp4", ["clip"]),
        ("photos/*.jpg", ["a"]),
        ("photos/**/*.tif", ["deep/down/c"]),
        (["photos/b.PNG", "photos/a.jpg"], ["b", "a"]),
        (0, ["camera-0"]),
        ("2", ["camera-2"]),
    ],
)
def test_files_globs_lists_of_sources_and_cameras(folder, source, expected):
    assert names(source) == expected


def test_a_list_names_one_image_a_line_relative_to_itself_or_to_the_working_folder(folder):
    (folder / "list.txt").write_text("# chosen\na.jpg\n\nphotos/deep/down/c.tif\n")
    assert names("photos/list.txt") == ["a", "photos/deep/down/c"]


def test_a_list_with_missing_images_names_the_first(folder):
    (folder / "list.txt").write_text("a.jpg\ngone.jpg\nnotes.md\n")
    with pytest.raises(
        DataError, match=r"source=photos/list\.txt: 2 of 3 lines name no image, the first gone\.jpg.*Fix: "
    ):
        find_inputs("photos/list.txt")


def test_results_of_a_listed_image_elsewhere_stay_in_their_folder(folder, tmp_path):
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"")
    (folder / "list.txt").write_text(f"../outside.jpg\n{outside}\n")
    assert names("photos/list.txt") == ["outside_jpg", "outside_jpg_2"]


def test_images_of_one_name_get_different_names_for_their_results(folder):
    (folder / "a.png").write_bytes(b"")
    (folder / "a.tif").write_bytes(b"")
    assert names(str(folder))[:3] == ["a_jpg", "a_png", "a_tif"]


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("gone", "source=gone: no such file or folder"),
        ("photos/notes.md", r"source=photos/notes\.md: a file of another kind"),
        ("photos/*.gif", r"source=photos/\*\.gif: 0 matches"),
        ("photos/*.md", r"source=photos/\*\.md: 1 matches, none of them an image"),
        ("pipe", "source=pipe: not a regular file"),
        ("nothing", "source=nothing: no files"),
        ("texts", r"source=texts: files with \.md, no suffix"),
    ],
)
def test_a_source_without_images_is_refused(folder, tmp_path, source, seen):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "texts").mkdir()
    for name in ("x.md", "LICENSE"):
        (tmp_path / "texts" / name).write_bytes(b"")
    with pytest.raises(DataError, match=seen + ".*expected .*Fix: "):
        find_inputs(source)


@pytest.mark.parametrize("source", [None, "", []])
def test_no_source_is_refused_with_the_command(source):
    with pytest.raises(ConfigError, match="source: nothing to predict.*Fix: segtrain predict"):
        find_inputs(source)
