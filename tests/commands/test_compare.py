"""`segtrain compare ONE OTHER`: what differs, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from segtrain.cli import main as cli
from segtrain.cli.completion import matches
from segtrain.config.tree import plain
from segtrain.report.differences import differences, leaves


def tables(out):
    """By title of each table, by key of each row, the two values."""
    found = {}
    for line in out.splitlines():
        if line.strip() in ("config", "network"):
            rows = found.setdefault(line.strip(), {})
        elif line.startswith("│"):
            key, *values = (cell.strip() for cell in line.strip("│").split("│"))
            rows[key] = tuple(values)
    return found


@pytest.fixture
def compare(segtrain, monkeypatch):
    """Run the command on a wide terminal, where no cell takes two lines."""
    monkeypatch.setenv("COLUMNS", "250")

    def call(*words):
        result = segtrain("compare", *words)
        assert result.code == 0, result.err
        return tables(result.out), result.out

    return call


# What is printed


@pytest.mark.tensorflow
def test_keras_io_has_changed_its_preprocessing_since_2021_and_nothing_else(tmp_path):
    """As the real command, which says nothing but this: TensorFlow's start writes 8 lines."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", "segtrain", "compare", "keras_io_2021", "keras_io_2024", "image_size=[64,64]"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert tables(done.stdout) == {"config": {"backbone.preprocessing": ("tf", "caffe")}}
    assert "network: no difference" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tensorflow
@pytest.mark.slow
def test_cihp_differs_from_keras_io_in_every_mended_defect(compare):
    found, _ = compare("keras_io_2021", "cihp")
    config, network = found["config"], found["network"]
    assert config["augment"] == ("Resize", "ScaleCropFlip")
    assert config["augment.labels_interpolation"] == ("bilinear", "-")
    assert config["backbone.preprocessing"] == ("tf", "caffe")
    assert config["shuffle"] == ("false", "true")
    assert config["crop_size"] == ("[512, 512]", "[384, 256]")
    assert config["dataset.num_train_images"] == ("1000", "null")
    assert not {"name", "other", "dataset.root", "seed", "norm"} & config.keys()
    assert network["high tap"] == (
        "(32, 32, 256) conv4_block6_2_relu, stride 16",
        "(32, 32, 2048) conv5_block3_out, stride 16",
    )
    assert network["parameters"] == ("11,857,236", "26,793,156")
    assert network["multiply-adds"] == ("40.80 G", "36.88 G")
    # Stage 5 is dilated by 2 in its three 3x3; ASPP and decoder have 3 + 2 separable convolutions.
    assert network["dilated ones"] == ("6, 12, 18", "2 (3x), 6, 12, 18")
    assert network["depthwise ones"] == ("0", "5")
    assert network["dropout"] == ("none", "0.1")
    assert not {"output stride", "ASPP dilations", "input", "output"} & network.keys()


@pytest.mark.tensorflow
def test_what_else_is_given_counts_for_both_even_if_the_defaults_lack_the_key(compare):
    words = ["backbone=mobilenet_v3_small", "backbone.multi_grid=null", "model.aspp_relu=false", "image_size=[65,65]"]
    found, _ = compare("berrios_v3_mobile", "thalles_v3", *words)
    assert not [key for key in found["config"] if key.startswith("backbone") and key != "backbone.output_stride"]
    assert "model.aspp_relu" not in found["config"]
    # Without it, all that is left is the ReLU of berrios' 3x3 behind the ASPP, which thalles does not have.
    one, other = (dict(each.split(" ")[::-1] for each in cell.split(", ")) for cell in found["network"]["activations"])
    assert int(one.pop("relu")) - int(other.pop("relu")) == 1
    assert one == other
    assert found["network"]["dropout"] == ("0.5", "none")


def test_keys_stand_where_either_config_has_them():
    one = {"model": "a", "model.x": "1", "epochs": "2", "seed": "0"}
    other = {"first": "0", "model": "b", "model.y": "3", "epochs": "4", "seed": "0"}
    assert list(differences(one, other).items()) == [
        ("first", ("-", "0")),
        ("model", ("a", "b")),
        ("model.y", ("-", "3")),
        ("model.x", ("1", "-")),
        ("epochs", ("2", "4")),
    ]


def test_values_read_as_in_yaml():
    cfg = OmegaConf.create(
        {
            "name": "left_out",
            "model": {"_target_": "segtrain.models.fcn", "skips": [16, 8], "channels": None, "wide": True},
            "heads": {},  # shows where the other config has some
            "dataset": {"root": "???"},
        }
    )
    assert leaves(plain(cfg)) == {
        "model": "fcn",
        "model.skips": "[16, 8]",
        "model.channels": "null",
        "model.wide": "true",
        "dataset.root": "not given",
    }


# What is refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "segtrain compare: expected the names of two experiments, or run folders. Fix: segtrain compare "),
        ("cihp", "segtrain compare cihp: expected the names of two experiments. Fix: segtrain compare cihp OTHER"),
        ("cihp voc people", "segtrain compare cihp voc people: expected the names of two experiments"),
        ("chip voc", "no experiment 'chip'; did you mean cihp? options: "),
        ("voc chip", "other=chip: no experiment 'chip'; did you mean cihp? options: "),
        ("voc cihp epohcs=3", "segtrain compare has no key 'epohcs'; did you mean epochs?"),
        ("thalles_v3 voc model.aspp_relu=true", "model has no key 'aspp_relu'"),
        ("voc cihp image_size=[64]", "cannot read image_size=[64], expected 'image_size=[64,64]'"),
    ],
)
def test_a_mistake_is_one_line(line, said, segtrain):
    result = segtrain("compare", *line.split())
    assert result.code == 2
    assert result.err.startswith(f"error: {said}")
    assert result.err.count("\n") == 1
    assert result.out == ""


@pytest.mark.parametrize("words", [["compare", "--help"], ["compare", "voc", "chip"], ["compare", "cihp"]])
def test_help_and_a_misspelt_name_need_no_tensorflow(words):
    program = (
        f"import sys, segtrain.cli.main as cli; cli.main({words}); "
        "print({'tensorflow', 'keras'} & sys.modules.keys())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.endswith("set()\n")


# Help and completion


def test_help_shows_both_names_and_the_keys(segtrain):
    result = segtrain("compare", "--help")
    assert result.code == 0
    assert "segtrain compare ONE OTHER" in result.out
    assert "  image_size=[512,512]" in result.out


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("segtrain comp", ["compare", "completion"]),
        ("segtrain compare keras_io_202", ["keras_io_2021", "keras_io_2024"]),
        ("segtrain compare keras_io_2021 keras_io_2024", ["keras_io_2024"]),
        ("segtrain compare voc cihp epo", ["epochs="]),
        ("segtrain compare voc cihp backbone=resnet50_", ["backbone=resnet50_v2"]),
    ],
)
def test_experiments_and_keys_complete(line, found, workplace):
    assert matches(line) == found
