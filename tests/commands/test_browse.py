"""`segtrain browse`: a sheet and a page of what a training would load, without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from commands.conftest import only_run
from segtrain.builders.data import build_augment
from segtrain.commands import browse as command
from segtrain.data import Cihp
from segtrain.data.loading.crops import Crops

SMALL = ("crop_size=[24,32]", "augment=strong", "images=3")


def cihp(root, *words):
    return ("browse", "+experiment=cihp", f"dataset.root={root}", *SMALL, *words)


@pytest.fixture
def shown(monkeypatch):
    """What the command shows, in its order: title, image, labels."""
    seen = []

    def remembered(title, image, labels, colors, alpha):
        seen.append((title, image, labels))
        return view(title, image, labels, colors, alpha)

    view = command.view
    monkeypatch.setattr(command, "view", remembered)
    return seen


def test_a_sheet_and_a_page_are_left(segtrain, workplace, cihp_root):
    result = segtrain(*cihp(cihp_root))
    assert result.code == 0, result.err
    folder = only_run(workplace, "browse")
    assert folder.name.endswith("_cihp") and {path.name for path in folder.iterdir()} == {"sheet.png", "index.html"}
    assert f"runs/browse/{folder.name}/index.html" in result.out
    assert Image.open(folder / "sheet.png").width > 4 * 360
    page = (folder / "index.html").read_text()
    assert "cihp, train: 3 of 4 images" in page
    assert "augment=strong, crop_size 24x32 (height x width), seed 0" in page
    assert page.count("<section>") == 3 and page.count("<img") == 3 * 4 * 2
    assert "Left-arm" in page and "48x64" in page


def test_it_shows_what_a_training_loads(segtrain, cihp_root, shown):
    result = segtrain(*cihp(cihp_root, "images=4", "draws=2", "seed=5", "augment.steps.cut_mix.probability=0.5"))
    assert result.code == 0, result.err
    dataset = Cihp(str(cihp_root))
    samples = dataset.samples("train")
    loaded = OmegaConf.create({"augment": last_augment(segtrain, cihp_root), "crop_size": [24, 32]})
    crops = Crops(
        samples,
        dataset.read,
        build_augment(loaded, dataset, dataset.flip_pairs),
        crop_size=(24, 32),
        batch_size=2,
        seed=5,
    )
    # Two epochs of two batches of two, shuffled: each sample once an epoch.
    trained = {(position // 4, crops.sample(position).name): crops.crop(position) for position in range(8)}
    for place, sample in enumerate(samples):
        [whole, *draws] = shown[3 * place : 3 * place + 3]
        np.testing.assert_array_equal(whole[1], dataset.read(sample)[0])
        for epoch, (title, image, labels) in enumerate(draws):
            assert title == f"draw {epoch + 1}"
            np.testing.assert_array_equal(image, trained[epoch, sample.name][0])
            np.testing.assert_array_equal(labels, trained[epoch, sample.name][1])


def last_augment(segtrain, root):
    words = cihp(root, "augment.steps.cut_mix.probability=0.5", "--cfg", "job", "--package", "augment")
    return OmegaConf.create(segtrain(*words).out)


def test_the_seed_draws_the_samples(segtrain, cihp_root, shown):
    def names(*words):
        shown.clear()
        assert segtrain(*cihp(cihp_root, "images=2", "draws=0", *words)).code == 0
        return tuple(image.tobytes() for _, image, _ in shown)

    assert names() == names()
    assert len({names(f"seed={seed}") for seed in range(1, 4)}) > 1


def test_more_images_than_there_are_shows_all(segtrain, workplace, cihp_root, shown):
    assert segtrain(*cihp(cihp_root, "images=99", "draws=0", "split=val")).code == 0
    assert len(shown) == 2
    assert "cihp, val: 2 of 2 images" in (only_run(workplace, "browse") / "index.html").read_text()


def test_a_step_is_changed_added_and_taken_out(segtrain, cihp_root):
    words = ("augment.steps.color.hue=0.1", "~augment.steps.blur", "+augment.steps.mine._target_=segtrain.data.Blur")
    result = segtrain(*cihp(cihp_root, *words, "--cfg", "job"))
    steps = OmegaConf.create(result.out).augment.steps
    assert list(steps) == ["cut_mix", "copy_paste", "color", "noise", "cutout", "mine"] and steps.color.hue == 0.1
    assert segtrain(*cihp(cihp_root, *words)).code == 0


def test_an_experiment_s_augmentation_can_be_made_strong(segtrain, cihp_root):
    # +experiment=cihp sets augment.scale, which every augmentation that crops has.
    result = segtrain(*cihp(cihp_root, "--cfg", "job"))
    augment = OmegaConf.create(result.out).augment
    assert augment.scale == [0.5, 1.5] and "color" in augment.steps


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("augment.steps.color.hue=0.7", 2, "augment.steps.color.hue=0.7: expected a number from 0 to 0.5"),
        ("+augment.steps.blur.sigmas=1", 2, "augment.steps.blur.sigmas: segtrain.data.Blur has no argument 'sigmas'"),
        ("augment.steps.blur=off", 2, "augment.steps.blur=off: expected a call"),
        ("augment.rotate=400", 2, "augment.rotate=400: expected a number from 0 to 180"),
        ("images=0", 2, "images=0: expected at least 1"),
        ("split=test", 3, "no split 'test': this dataset has train, val. Fix: split=val"),
        ("dataset.root=/nowhere", 3, "dataset.root=/nowhere: no such folder"),
    ],
)
def test_a_wrong_word_leaves_one_line_and_no_folder(segtrain, workplace, cihp_root, word, code, said):
    result = segtrain(*cihp(cihp_root, word))
    assert result.code == code and "Traceback" not in result.err
    assert f"error: {said}" in result.err
    assert list(workplace.iterdir()) == []


def test_no_tensorflow_is_started(workplace, cihp_root):
    words = list(cihp(cihp_root, "images=1"))
    program = (
        f"import sys; from segtrain.cli.main import main; code = main({words!r}); "
        "sys.exit(code or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_real_people_are_shown(segtrain, workplace, test_data):
    root = test_data / "cihp_sample" / "instance-level_human_parsing"
    result = segtrain("browse", "dataset=cihp", f"dataset.root={root}", "crop_size=[128,96]", "images=2", "draws=1")
    assert result.code == 0, result.err
    assert (only_run(workplace, "browse") / "index.html").read_text().count("<section>") == 2
