"""What a user gets wrong: one clear line (what, where, seen, expected, fix), an exit code, and nothing left behind."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import toys
from commands.conftest import TINY, copy_run, only_run, train_once

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def refused(segtrain, workplace):
    """Call a command that must fail; return its one line, once the exit code and the empty folder were seen."""

    def call(code: int, *words: str) -> str:
        before = sorted(path.name for path in workplace.rglob("*"))
        result = segtrain(*words)
        assert "Traceback" not in result.err
        assert result.code == code, result.err
        assert sorted(path.name for path in workplace.rglob("*")) == before
        (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert "Fix:" in line or "did you mean" in line
        return line

    return call


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A run and the dataset that it was trained on."""
    folder = tmp_path_factory.mktemp("trained")
    root = toys.draw_binary(folder)
    return train_once(folder, root, "+experiment=binary"), root


@pytest.fixture
def trained(trained_once, workplace, binary_root):
    """A run that was trained on `binary_root`."""
    return copy_run(*trained_once, workplace, binary_root)


def cihp(root: Path, *words: str) -> tuple[str, ...]:
    return ("train", "+experiment=cihp", f"dataset.root={root}", *TINY, *words)


def label_file(root: Path, split: str = "Training") -> Path:
    return sorted((root / split / "Category_ids").iterdir())[0]


def image_file(root: Path) -> Path:
    return sorted((root / "Training" / "Images").iterdir())[0]


def test_a_root_that_does_not_exist(refused, tmp_path):
    line = refused(3, *cihp(tmp_path / "nowhere"))
    assert f"dataset.root={tmp_path / 'nowhere'}: no such folder" in line
    assert "looked for Training/Images, Training/Category_ids, Validation/Images, Validation/Category_ids" in line


def test_a_root_of_another_layout_says_what_it_holds(refused, voc_root):
    line = refused(3, *cihp(voc_root))
    assert "it holds ImageSets, JPEGImages, SegmentationClass, looked for Training/Images" in line


def test_a_root_that_is_not_given(refused):
    assert "dataset.root" in refused(2, "train", "+experiment=cihp")


def test_an_image_without_its_labels(refused, cihp_root):
    label_file(cihp_root).unlink()
    line = refused(3, *cihp(cihp_root))
    assert f"1 names without label file in {cihp_root}/Training/Category_ids: 0000001" in line


def test_sizes_that_differ(refused, cihp_root):
    Image.fromarray(np.zeros((48, 63), np.uint8)).save(label_file(cihp_root))
    line = refused(3, *cihp(cihp_root))
    assert "labels 48x63 (HxW)" in line and "48x64, expected equal" in line and "0000001.png" in line


def test_a_label_outside_the_classes(refused, cihp_root):
    labels = np.zeros((48, 64), np.uint8)
    labels[:2, :3] = 77
    Image.fromarray(labels).save(label_file(cihp_root))
    line = refused(3, *cihp(cihp_root))
    # 2 x 3 pixels
    assert f"labels in {label_file(cihp_root)}: unknown value 77 (6 pixels), expected 0..19, 255" in line


def test_colours_where_ids_are_expected(refused, cihp_root):
    colors = np.zeros((48, 64, 3), np.uint8)
    colors[0, 0] = (128, 0, 0)  # three equal channels would be ids
    Image.fromarray(colors).save(label_file(cihp_root))
    line = refused(3, *cihp(cihp_root))
    assert f"labels in {label_file(cihp_root)}: mode RGB" in line and "expected class ids (H, W)" in line


def test_jpeg_labels(refused, cihp_root):
    path = label_file(cihp_root)
    Image.open(path).convert("L").save(path.with_suffix(".jpg"))
    path.unlink()
    line = refused(3, *cihp(cihp_root))
    assert f"labels in {path.with_suffix('.jpg')}: a JPEG file, expected PNG" in line


def test_a_truncated_image(refused, cihp_root):
    path = image_file(cihp_root)
    path.write_bytes(path.read_bytes()[:-400])
    line = refused(3, *cihp(cihp_root))
    assert f"cannot decode {path}: a truncated JPEG file" in line


def test_an_empty_split(refused, cihp_root):
    for path in (
        *(cihp_root / "Validation" / "Images").iterdir(),
        *(cihp_root / "Validation" / "Category_ids").iterdir(),
    ):
        path.unlink()
    line = refused(3, *cihp(cihp_root))
    assert "split 'val' is empty" in line and "found 0" in line


def test_fewer_photographs_than_a_batch(refused, cihp_root):
    line = refused(3, *cihp(cihp_root, "batch_size=5"))
    assert "split 'train': 4 samples, expected at least one batch of batch_size=5" in line


def test_a_mask_that_is_neither_black_nor_white(refused, binary_root):
    path = sorted((binary_root / "masks").iterdir())[0]
    Image.fromarray(np.full((48, 64), 128, np.uint8)).save(path)
    line = refused(3, "train", "+experiment=binary", f"dataset.root={binary_root}", *TINY)
    assert f"labels in {path}: unknown value 128 (3072 pixels), expected 0..1, 255" in line


def test_an_unknown_option_of_a_group(refused):
    assert "did you mean resnet50" in refused(2, "train", "backbone=resnet5")


@pytest.mark.parametrize("word", ["epohcs=3", "+epohcs=3", "++epohcs=3"])
def test_an_unknown_key(refused, cihp_root, word):
    line = refused(2, *cihp(cihp_root, word))
    assert "epohcs" in line and "did you mean epochs" in line


def test_an_unknown_key_of_a_part(refused, cihp_root):
    line = refused(2, *cihp(cihp_root, "+model.aspp_dilation=[1]"))
    assert "aspp_dilation" in line and "did you mean" in line and "aspp_dilations" in line


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("epochs=many", "epochs"),
        ("batch_size=2.5", "batch_size"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate=nan"),
        ("optimizer.learning_rate=1e400", "optimizer.learning_rate=inf"),
        ("crop_size=[48]", "crop_size"),
        ("model.aspp_dilations=[-2]", "model.aspp_dilations=[-2]"),
        ("norm.momentum=1.5", "norm.momentum=1.5"),
        ("augment.scale=[2,1]", "augment.scale=[2, 1]"),
        ("loss.class_weights=[1,2]", "loss.class_weights=[1, 2]"),
        ("schedule.warmup_steps=99", "schedule.warmup_steps=99"),
    ],
)
def test_a_value_of_the_wrong_type_or_range(segtrain, workplace, cihp_root, word, seen):
    result = segtrain(*cihp(cihp_root, word))
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert seen in line and "expected" in line or "could not be converted" in line
    assert list(workplace.rglob("*")) == []


def test_a_tap_that_does_not_exist(refused, cihp_root):
    line = refused(2, *cihp(cihp_root, "backbone.high=block_6_expand_rellu"))
    assert "backbone.high=block_6_expand_rellu: no such layer in" in line
    assert "Fix: backbone.high=block_6_expand_relu" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["backbone.output_stride=12"],
            "backbone.output_stride=12: expected 8, 16 or 32. Fix: backbone.output_stride=16",
        ),
        (
            ["model.aspp_dilations=[6,-12,18]"],
            "model.aspp_dilations=[6, -12, 18]: expected each a number from 1",
        ),
        (
            ["backbone.multi_grid=[1,2,4,8]"],
            "backbone.multi_grid=[1, 2, 4, 8]: expected for mobilenetv2_0.35_None 3 numbers, one a block of its last "
            "stage. Fix: 'backbone.multi_grid=[1,2,4]'",
        ),
        (["norm.epsilon=0"], "norm.epsilon=0: expected a number above 0"),
        (["backbone.alpha=-1"], "backbone.alpha=-1: expected a number from"),
    ],
)
def test_a_network_that_cannot_be_built(segtrain, workplace, cihp_root, words, said):
    result = segtrain(*cihp(cihp_root, *words))
    assert result.code == 2 and "Traceback" not in result.err, result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {said}")
    assert list(workplace.iterdir()) == []


def test_a_network_that_keras_does_not_have(refused, cihp_root):
    words = ("backbone=application", "backbone.name=ResNet5O", "backbone.weights=null")
    line = refused(2, "train", "+experiment=cihp", f"dataset.root={cihp_root}", "batch_size=2", *words)
    assert "backbone.name=ResNet5O: keras.applications has no such network, nearest are ResNet50" in line


def test_a_tap_at_another_stride_is_told_which_layers_lie_at_the_wanted_one(refused, cihp_root):
    line = refused(2, *cihp(cihp_root, "backbone.high=block_3_expand_relu"))
    # Of stride 8 are MobileNetV2's blocks 4 to 6, and, dilated, all that follow.
    assert "backbone.high=block_3_expand_relu lies at stride 4, expected 8; at stride 8 lie block_3_depthwise" in line
    assert "out_relu. Fix: backbone.high=out_relu" in line


def test_a_tap_that_is_no_map(refused, cihp_root):
    words = ("backbone=mobilenet_v3_small", "backbone.alpha=1.0", "backbone.high=expanded_conv_10_squeeze_excite_conv")
    line = refused(2, *cihp(cihp_root, *words))
    assert "backbone.high=expanded_conv_10_squeeze_excite_conv: no map of features in" in line


def test_weights_of_another_shape_are_a_table_below_the_line(segtrain, workplace, cihp_root, test_data):
    path = test_data / "weights/keras_models_dir/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    result = segtrain(*cihp(cihp_root, f"backbone.weights={path}"))
    assert result.code == 4 and "Traceback" not in result.err
    lines = result.err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert lines[start].startswith(f"error: backbone.weights={path}: 0 of ")
    assert "Fix: give weights of the same network" in lines[start]
    # alpha 1.0 has 32 filters in its first convolution, alpha 0.35 has 16.
    assert lines[start + 1] == "  differing Conv1/kernel (3, 3, 3, 32), expected (3, 3, 3, 16)"
    assert list(workplace.iterdir()) == []


def test_a_pth_file_without_torch(refused, cihp_root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed, where it is
    (tmp_path / "net.pth").write_bytes(b"")
    line = refused(4, *cihp(cihp_root, f"weights={tmp_path / 'net.pth'}"))
    assert (
        "net.pth: a .pth file is read by torch, which is not installed. Fix: pip install 'segtrain-keras[torch]'"
        in line
    )


def test_a_run_folder_as_weights_that_is_none(refused, cihp_root, tmp_path):
    assert f"no checkpoint in {tmp_path}/checkpoints" in refused(4, *cihp(cihp_root, f"weights={tmp_path}"))


def test_weights_of_other_classes_are_told_how_to_reset_the_head(segtrain, workplace, cihp_root, trained):
    result = segtrain(*cihp(cihp_root, f"weights={trained}"))
    assert result.code == 4 and "Traceback" not in result.err
    assert "2 differ. Fix: reset_classifier=true, which keeps all but the classifier" in result.err
    assert "differing classifier/bias (2,), expected (20,)" in result.err
    assert only_run(workplace) == trained


def test_imagenet_weights_that_cannot_be_had(refused, cihp_root, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "empty"), raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    # No alpha of 0.75 lies in the shared weights either.
    line = refused(4, *cihp(cihp_root, "backbone.weights=imagenet", "backbone.alpha=0.75"))
    assert "backbone.weights=imagenet: URL fetch failure" in line
    assert f"put that file, under its own name, into {tmp_path / 'empty' / 'models'}" in line
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.75_224_no_top.h5" in line


def test_a_file_of_weights_that_does_not_exist(refused, cihp_root):
    assert "backbone.weights=nowhere.h5" in refused(4, *cihp(cihp_root, "backbone.weights=nowhere.h5"))


def test_a_run_folder_that_is_none(refused, tmp_path):
    assert f"run={tmp_path / 'nowhere'}" in refused(4, "eval", f"run={tmp_path / 'nowhere'}")
    (tmp_path / "other").mkdir()
    line = refused(4, "eval", f"run={tmp_path / 'other'}")
    assert f"not a training run: {tmp_path / 'other'}: missing config.yaml, classes.json, checkpoints" in line
    assert "not a training run" in refused(4, "train", f"resume={tmp_path / 'other'}")


def test_eval_before_any_training(refused):
    assert "no training run with a checkpoint in" in refused(4, "eval")


def test_no_permission_to_write(refused, cihp_root, workplace):
    # Tests run as root, whom no permission stops: a file stands where the folder would.
    (workplace / "runs").write_text("")
    line = refused(5, *cihp(cihp_root))
    assert "cannot create a run folder in" in line and "Fix: run segtrain in a writable folder" in line


def test_a_monitor_that_is_no_score(refused, cihp_root):
    line = refused(2, *cihp(cihp_root, "monitor=val_miou"))
    assert "monitor" in line


def test_a_damaged_checkpoint_is_not_evaluated(segtrain, workplace, trained):
    for path in trained.glob("checkpoints/*/state.safetensors"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    result = segtrain("eval")
    assert result.code == 4
    assert "damaged, SHA-256" in result.err and "Traceback" not in result.err
    assert not (workplace / "runs" / "eval").exists()


def test_a_checkpoint_of_another_network_is_refused(segtrain, trained):
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace("decoder_channels: 16", "decoder_channels: 24"))
    result = segtrain("eval")
    assert result.code == 4
    assert "the checkpoint is of another network" in result.err


def test_a_strangers_run_may_not_name_other_code(segtrain, trained):
    config = trained / "config.yaml"
    text = config.read_text().replace("segtrain.models.deeplabv3plus", "pathlib.Path")
    config.write_text(text.replace("trusted_modules: []", "trusted_modules: [pathlib]"))
    result = segtrain("eval")
    assert result.code == 2
    assert "refused for safety" in result.err


def test_ignored_pixels_alone_train_without_nan(segtrain, workplace, voc_root):
    for name in (voc_root / "ImageSets/Segmentation/train.txt").read_text().split():
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(voc_root / f"SegmentationClass/{name}.png")
    result = segtrain("train", "dataset=voc", f"dataset.root={voc_root}", *TINY)
    assert result.code == 0, result.err
    assert "loss 0.0000" in result.err
