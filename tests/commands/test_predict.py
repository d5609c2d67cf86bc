"""`segtrain predict` on files that a user may have, with a network trained in seconds."""

import csv
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

import segtrain as package
import toys
from commands.conftest import only_run, train_once


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return train_once(folder, toys.draw_binary(folder, num_val=3), "dataset=binary", "tensorboard_images=0")


@pytest.fixture
def run(trained, workplace):
    copy = workplace / "runs" / "train" / trained.name
    shutil.copytree(trained, copy)
    return copy


def draw(path, size=(40, 56), seed=0, **options):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return image


def table(folder):
    return list(csv.DictReader((folder / "predictions.csv").open()))


@pytest.mark.tensorflow
def test_a_folder_is_labeled_image_by_image_at_its_own_size(segtrain, workplace, run):
    first, second = draw(workplace / "photos" / "a.png"), draw(workplace / "photos" / "deep" / "b.png", (33, 47), 1)
    result = segtrain("predict", "photos/", "save=[labels,probabilities,panels]")
    assert result.code == 0, result.err
    output = only_run(workplace, "predict")
    network = package.load_run(run)
    for name, image in (("a", first), ("deep/b", second)):
        labels = np.asarray(Image.open(output / "labels" / f"{name}.png"))
        np.testing.assert_array_equal(labels, network.predict(image))
        with np.load(output / "probabilities" / f"{name}.npz", allow_pickle=False) as arrays:
            np.testing.assert_allclose(arrays["probabilities"], network.probabilities(image), atol=1e-3)
    rows = table(output)
    assert [(row["file"], row["width"], row["height"]) for row in rows] == [
        ("photos/a.png", "56", "40"),
        ("photos/deep/b.png", "47", "33"),
    ]
    assert int(rows[0]["pixels/background"]) + int(rows[0]["pixels/foreground"]) == 40 * 56
    np.testing.assert_allclose(float(rows[0]["confidence"]), network.label(first).confidence.mean(), atol=1e-5)
    assert f"predictions: runs/predict/{output.name}" in result.out


@pytest.mark.tensorflow
def test_an_image_that_a_camera_turned_is_labeled_upright(segtrain, workplace, run):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise: 56 x 40 pixels become 40 x 56
    draw(workplace / "turned.jpg", exif=exif)
    assert segtrain("predict", "turned.jpg", "save=labels", f"run={run}").code == 0
    assert Image.open(only_run(workplace, "predict") / "labels" / "turned.png").size == (40, 56)


@pytest.mark.tensorflow
def test_bad_files_are_listed_the_others_done_and_the_exit_code_says_so(segtrain, workplace, run):
    draw(workplace / "photos" / "a.png")
    (workplace / "photos" / "broken.jpg").write_bytes(b"junk")
    (workplace / "photos" / "empty.png").write_bytes(b"")
    result = segtrain("predict", "photos")
    assert result.code == 3 and "Traceback" not in result.err
    output = only_run(workplace, "predict")
    assert [path.name for path in (output / "labels").iterdir()] == ["a.png"]
    assert {row["file"]: row["status"][:13] for row in table(output)} == {
        "photos/a.png": "ok",
        "photos/broken.jpg": "cannot decode",
        "photos/empty.png": "cannot decode",
    }
    assert "2 of 3 files could not be predicted" in result.err.splitlines()[-1]


@pytest.mark.tensorflow
def test_an_interrupted_job_is_continued(segtrain, workplace, run):
    draw(workplace / "photos" / "a.png")
    assert segtrain("predict", "photos", "output=results").code == 0
    before = (workplace / "results" / "labels" / "a.png").stat().st_mtime_ns
    draw(workplace / "photos" / "b.png", seed=1)
    refused = segtrain("predict", "photos", "output=results")
    assert refused.code == 3 and "skip_existing=true" in refused.err
    assert segtrain("predict", "photos", "output=results", "skip_existing=true").code == 0
    assert (workplace / "results" / "labels" / "a.png").stat().st_mtime_ns == before
    assert [row["file"] for row in table(workplace / "results")] == ["photos/a.png", "photos/b.png"]


@pytest.mark.tensorflow
def test_ctrl_c_leaves_complete_files_and_prints_how_to_continue(segtrain, workplace, run, monkeypatch):
    for number in range(4):
        draw(workplace / "photos" / f"{number}.png", seed=number)
    label, calls = package.Run.label, []

    def interrupted(self, image):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return label(self, image)

    monkeypatch.setattr(package.Run, "label", interrupted)
    result = segtrain("predict", "photos", "output=results")
    assert result.code == 130
    assert "stopped after 2 of 4 images" in result.err and "skip_existing=true" in result.err
    assert [row["file"] for row in table(workplace / "results")] == ["photos/0.png", "photos/1.png"]
    assert sorted(path.name for path in (workplace / "results" / "overlay").iterdir()) == ["0.jpg", "1.jpg"]


def film(path, frames, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.5, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()


@pytest.mark.tensorflow
def test_a_video_keeps_its_frames_size_and_rate(segtrain, workplace, run):
    film(workplace / "clip.mp4", 10)
    assert segtrain("predict", "clip.mp4", "save=[overlay,labels]").code == 0
    output = only_run(workplace, "predict")
    video = cv2.VideoCapture(str(output / "overlay" / "clip.mp4"))
    wanted = (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    assert [video.get(each) for each in wanted] == [10, 12.5, 64, 48]
    assert len(list((output / "labels" / "clip").iterdir())) == 10
    assert [row["frame"] for row in table(output)] == [str(number) for number in range(1, 11)]


@pytest.mark.tensorflow
def test_a_truncated_video_names_the_frame_and_keeps_those_before(segtrain, workplace, run):
    film(workplace / "clip.avi", 20, "MJPG")
    data = (workplace / "clip.avi").read_bytes()
    (workplace / "clip.avi").write_bytes(data[: len(data) // 2])
    result = segtrain("predict", "clip.avi", "save=overlay")
    assert result.code == 3 and "of 20" in result.err
    found = cv2.VideoCapture(str(only_run(workplace, "predict") / "overlay" / "clip.mp4"))
    number = int(found.get(cv2.CAP_PROP_FRAME_COUNT))
    assert 5 < number < 15 and f"ends at frame {number} of 20" in result.err


@pytest.mark.tensorflow
def test_a_file_of_another_kind_that_is_called_a_video_is_one_line(segtrain, workplace, run):
    (workplace / "clip.mp4").write_bytes(b"junk" * 100)
    result = segtrain("predict", "clip.mp4")
    assert result.code == 3 and "cannot decode the video clip.mp4" in result.err.splitlines()[-1]


@pytest.mark.tensorflow
def test_modes_and_weights_are_those_of_load_run(segtrain, workplace, run):
    image = draw(workplace / "a.png", (90, 140))
    words = ("tta=flip", "tiles=64", "weights=raw", "checkpoint=last", "save=labels")
    assert segtrain("predict", "a.png", *words).code == 0
    network = package.load_run(run, checkpoint="last", weights="raw", tta="flip", tiles=64)
    labels = np.asarray(Image.open(only_run(workplace, "predict") / "labels" / "a.png"))
    np.testing.assert_array_equal(labels, network.predict(image))


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ((), "source: nothing to predict"),
        (("gone.png",), "source=gone.png: no such file"),
        (("a.png", "save=lables"), "save: lables"),
        (("a.png", "tta=flop"), "tta=flop"),
        (("a.png", "tta={scales: [0]}"), "tta.scales: 0"),
        (("a.png", "tiles=8"), "tiles=8"),
        (("a.png", "output_stride=5"), "output_stride=5"),
        (("a.png", "run=gone"), "run=gone"),
        (("photos", "output=photos"), "output=photos: the folder of the images"),
        (("a.png", "backbone.output_stride=8"), "Fix: segtrain predict output_stride=8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_one_line_and_leaves_nothing(segtrain, workplace, run, words, seen):
    draw(workplace / "a.png")
    draw(workplace / "photos" / "b.png")
    before = sorted(workplace.rglob("*"))
    result = segtrain("predict", *words)
    assert result.code in (2, 3, 4) and seen in result.err and len(result.err.splitlines()) == 1
    assert sorted(workplace.rglob("*")) == before


def test_without_a_run_the_line_names_segtrain_train(segtrain, workplace):
    draw(workplace / "a.png")
    result = segtrain("predict", "a.png")
    assert result.code == 4 and "no training run with a checkpoint" in result.err and "segtrain train" in result.err
