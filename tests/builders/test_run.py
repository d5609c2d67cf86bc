"""`segtrain.load_run`: a trained network from its run folder alone."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import segtrain as package
import toys
from commands.conftest import copy_run, only_run, train_once
from segtrain.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    root = toys.draw_binary(folder, num_val=3)
    words = ("dataset=binary", "ema_decay=0.9", "tensorboard_images=0")
    return train_once(folder, root, *words), root


@pytest.mark.tensorflow
def test_it_labels_images_as_eval_does_and_needs_no_dataset(segtrain, workplace, trained, tmp_path):
    run, root = trained
    copy = copy_run(run, root, workplace, tmp_path / "data")
    assert segtrain("eval", "overlays=0").code == 0
    predictions = sorted((only_run(workplace, "eval") / "predictions").iterdir())
    images = [
        np.asarray(Image.open(next((root / "images").glob(f"{path.stem}.*"))).convert("RGB")) for path in predictions
    ]
    shutil.rmtree(tmp_path / "data")
    loaded = package.load_run(copy)
    assert loaded.class_names == ("background", "foreground") and loaded.colors.shape == (2, 3)
    for path, image in zip(predictions, images, strict=True):
        labels = loaded.predict(image)
        assert labels.dtype == np.uint8 and labels.shape == image.shape[:2]
        np.testing.assert_array_equal(labels, np.asarray(Image.open(path)))
        np.testing.assert_array_equal(loaded.logits(image).argmax(-1), labels)


@pytest.mark.tensorflow
def test_averaged_and_raw_weights_are_those_of_the_checkpoint(trained):
    run, _ = trained
    for weights, prefix in (("ema", "ema/"), ("raw", "model/")):
        loaded = package.load_run(run, checkpoint="last", weights=weights)
        arrays = loaded.checkpoint.arrays()
        kernel = next(each for each in loaded.model.weights if each.path.endswith("kernel"))
        np.testing.assert_array_equal(kernel.numpy(), arrays[prefix + kernel.path])
    assert not np.array_equal(arrays["ema/" + kernel.path], arrays["model/" + kernel.path])


@pytest.mark.tensorflow
@pytest.mark.parametrize("options", [{"checkpoint": "first"}, {"weights": "both"}], ids=str)
def test_an_option_that_does_not_exist_names_those_that_do(trained, options):
    with pytest.raises(ValueError, match="expected (best or last|ema or raw)"):
        package.load_run(trained[0], **options)


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        package.load_run(tmp_path)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('"foreground"', "7", "class_names"),
        ('"ignore_class": 2', '"ignore_class": 256', "ignore_class=256"),
        ('"flip_pairs": []', '"flip_pairs": [[0, 9]]', "flip_pairs"),
        ('"colors": [', '"colors": [[1, 2],', "colors"),
    ],
)
def test_damaged_classes_are_named(trained, tmp_path, old, new, part):
    copy = tmp_path / "run"
    shutil.copytree(trained[0], copy)
    text = (copy / "classes.json").read_text()
    assert old in text
    (copy / "classes.json").write_text(text.replace(old, new))
    with pytest.raises(CheckpointError, match=part):
        package.load_run(copy)


@pytest.mark.tensorflow
def test_a_strangers_part_is_refused(trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained[0], copy)
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("segtrain.models.deeplabv3plus", "theirs.network"))
    with pytest.raises(ConfigError, match="theirs.network"):
        package.load_run(copy)


def test_importing_the_package_imports_neither_tensorflow_nor_numpy():
    code = (
        "import sys, segtrain; assert 'load_run' in dir(segtrain); "
        "print([name for name in ('tensorflow', 'keras', 'numpy', 'omegaconf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="load_runs"):
        _ = package.load_runs
