"""Files of other kinds become PNGs of the same values, or are refused."""

import numpy as np
import pytest
from PIL import Image

import fixes
from segtrain.data import Folder
from segtrain.data.convert import main, read_pixels
from segtrain.data.images.labels import read_labels
from segtrain.errors import DataError

IDS = np.random.default_rng(0).integers(0, 5, (12, 17)).astype(np.uint8)
COLORS = np.random.default_rng(1).integers(0, 256, (5, 3)).astype(np.uint8)[IDS]


def pgm(values, greatest, plain=False):
    height, width = values.shape
    head = f"P{2 if plain else 5}\n# a comment\n{width} {height}\n{greatest}\n".encode()
    if plain:
        return head + " ".join(map(str, values.ravel().tolist())).encode()
    return head + values.astype(np.uint8 if greatest < 256 else ">u2").tobytes()


def save(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".pgm":
        path.write_bytes(pgm(values, 255))
    else:
        Image.fromarray(values).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


@pytest.mark.parametrize("kind", [".gif", ".npy", ".pgm", ".webp", ".tga", ".pcx"])
def test_class_ids_stay_as_they_are(tmp_path, kind):
    np.testing.assert_array_equal(read_pixels(save(tmp_path / f"a{kind}", IDS), exact=True), IDS)
    np.testing.assert_array_equal(read_pixels(save(tmp_path / f"b{kind}", IDS * 50), exact=True), IDS * 50)


@pytest.mark.parametrize("kind", [".gif", ".ppm", ".webp", ".tga"])
def test_colors_stay_as_they_are(tmp_path, kind):
    np.testing.assert_array_equal(read_pixels(save(tmp_path / f"a{kind}", COLORS), exact=True), COLORS)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.uint16, np.int64])
def test_arrays_of_any_whole_numbers_are_read(tmp_path, dtype):
    values = (IDS > 2) if dtype is bool else IDS.astype(dtype)
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.npy", values), exact=True), values)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("greatest", [4, 20, 255, 300, 65535])
def test_a_pgm_gives_its_numbers_whatever_its_greatest(tmp_path, greatest, plain):
    (tmp_path / "a.pgm").write_bytes(pgm(IDS, greatest, plain))
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.pgm", exact=True), IDS)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.npy", IDS.astype(np.float32)),
        ("a.npy", IDS[None]),
        ("a.npy", IDS.astype(np.int16) - 1),
        ("a.npy", IDS.astype(np.int64) + 2**20),
        ("a.npy", np.array([{}], object)),
        ("a.npy", IDS[:0]),
    ],
)
def test_arrays_that_are_no_class_ids_are_refused(tmp_path, name, values):
    np.save(tmp_path / name, values, allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot convert .*a\.npy.*Fix: "):
        read_pixels(tmp_path / name, exact=True)


def test_lossy_kinds_are_refused_for_labels_and_read_for_images(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "a.webp", lossless=False)
    Image.fromarray(IDS).save(tmp_path / "a.jp2")
    for name in ("a.webp", "a.jp2"):
        with pytest.raises(DataError, match="may have blurred class ids"):
            read_pixels(tmp_path / name, exact=True)
        assert read_pixels(tmp_path / name, exact=False).shape[:2] == IDS.shape


@pytest.mark.parametrize(
    "data", [b"P5\n", b"P5 9 9 255\nabc", b"GIF89a", b"\x93NUMPY\1\0", b"RIFF", b"P2 2 2 9\n1 2 3 4"]
)
@pytest.mark.parametrize("kind", [".gif", ".npy", ".pgm", ".webp", ".tga"])
def test_damaged_files_are_one_line(tmp_path, capsys, data, kind):
    (tmp_path / f"a{kind}").write_bytes(data)
    code = main(["labels", str(tmp_path), kind])
    error = capsys.readouterr().err
    assert (code, error) == (0, "") or (code == 3 and error.count("\n") == 1 and "Fix: " in error)
    assert not list(tmp_path.glob("*.part"))


def test_a_png_that_is_there_is_left_alone(tmp_path, capsys):
    save(tmp_path / "a.npy", IDS)
    (tmp_path / "a.png").write_bytes(b"mine")
    assert main(["labels", str(tmp_path), ".npy"]) == 0
    assert (tmp_path / "a.png").read_bytes() == b"mine" and "0 files converted" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["d", "my data", "it's"])
@pytest.mark.parametrize("kind", [".gif", ".GIF", ".npy", ".pgm", ".webp"])
def test_the_fix_of_an_unread_kind_works_when_it_is_pasted(tmp_path, folder, kind):
    root = tmp_path / folder
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index in range(6):
        Image.fromarray(COLORS).save(root / "images" / f"p{index}.jpg")
        save(root / "masks" / f"p{index}{kind.lower()}", IDS).rename(root / "masks" / f"p{index}{kind}")
    dataset = Folder(str(root), list("abcde"), "images", "masks", val_fraction=0.4)
    with pytest.raises(DataError, match=rf"6 names without label file .*p0{kind} is a .*which is not read") as caught:
        dataset.samples("train")
    fixes.run(str(caught.value), tmp_path)
    for sample in dataset.samples("train"):
        np.testing.assert_array_equal(read_labels(sample.labels), IDS)


def test_an_animation_of_many_frames_is_refused_at_once(tmp_path):
    frames = [Image.new("L", (1, 1), index % 256) for index in range(2000)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"several frames.* Fix: "):
        read_pixels(tmp_path / "a.gif", exact=True)
