"""`segtrain summary`: the published numbers, without weights and without data."""

import pytest

pytestmark = pytest.mark.tensorflow


def lines(out):
    """The table's lines as (first, second, third) without the frame."""
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    return [tuple(each) for each in cells]


def test_summary_of_the_keras_io_program_prints_its_published_numbers(segtrain, workplace):
    result = segtrain("summary", "+experiment=keras_io_2021")
    assert result.code == 0, result.err
    found = lines(result.out)
    assert found == [
        ("input", "(512, 512, 3)", "raw RGB, 0-255"),
        ("high tap", "(32, 32, 256)", "conv4_block6_2_relu, stride 16"),
        ("low tap", "(128, 128, 64)", "conv2_block3_2_relu, stride 4"),
        ("output", "(512, 512, 20)", "logits of 20 classes"),
        ("output stride", "16", "pixels from one deep feature to the next"),
        ("dilations", "none", "of the backbone's convolutions"),
        ("ASPP dilations", "6, 12, 18", "one 3x3 branch each"),
        ("parameters", "11,857,236", "total"),
        ("", "8,321,920", "in the backbone"),
        ("", "3,535,316", "in the head"),
        ("", "11,824,500", "trainable"),
        ("", "32,736", "non-trainable"),
        # 81.6 GFLOP an image are 40.8 G multiplications with as many additions.
        ("multiply-adds", "40.80 G", "convolutions, forward, one image"),
    ]
    assert "deeplabv3plus on resnet50" in result.out
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("experiment", ["people", "cihp", "voc", "binary", "camvid"])
def test_every_experiment_has_a_summary_without_data_or_weights(segtrain, workplace, experiment):
    result = segtrain("summary", f"experiment={experiment}", "image_size=[64,96]")
    assert result.code == 0, result.err
    num_classes = {"people": 20, "cihp": 20, "voc": 21, "binary": 2, "camvid": 11}[experiment]
    assert f"(64, 96, {num_classes})" in result.out
    assert list(workplace.iterdir()) == []


def test_summary_shows_every_tap_dilation_and_head(segtrain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    words = ["backbone.output_stride=8", "backbone.alpha=0.35", "heads=edges", "image_size=[64,64]"]
    result = segtrain("summary", "+experiment=voc", *words)
    assert result.code == 0, result.err
    found = {name: (value, note) for name, value, note in lines(result.out) if name}
    # Stages 4 to 5 at stride 8 in the place of 16 and 32: dilation 2, then 4.
    assert found["dilations"][0] == "2 (7x), 4 (3x)"
    # 6, 12, 18 at output stride 16, doubled at 8; separable branches are dilated in their depthwise half.
    assert found["ASPP dilations"][0] == "12, 24, 36"
    assert found["output stride"][0] == "8"
    assert found["high tap"] == ("(8, 8, 112)", "block_16_project_BN, stride 8")
    # The edge head reads stages 4, 8 and 16, of which the last lies at stride 8 here.
    assert found["tap 2"][1] == "block_13_expand_relu, stride 8"
    assert found["tap 3"][1] == "block_6_expand_relu, stride 8"
    assert found["low tap"][1] == "block_3_expand_relu, stride 4"
    assert found["output edges"] == ("(64, 64, 1)", "logits of a further head")


def test_summary_of_a_network_without_aspp_and_low_tap_leaves_them_out(segtrain):
    result = segtrain("summary", "+experiment=voc", "model=fcn", "backbone.alpha=0.35", "image_size=[65,97]")
    assert result.code == 0, result.err
    names = [name for name, _, _ in lines(result.out)]
    assert "high tap" in names and "low tap" not in names and "ASPP dilations" not in names


def test_summary_of_a_wrong_tap_names_near_layers(segtrain):
    result = segtrain("summary", "+experiment=people", "backbone.high=block_6_expnd_relu")
    assert result.code == 2
    assert "backbone.high=block_6_expnd_relu: no such layer" in result.err
    assert "Fix: backbone.high=block_6_expand_relu" in result.err


def test_every_layer_that_can_be_a_tap_is_listed_with_stride_and_channels(segtrain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    result = segtrain("summary", "backbone=resnet50", "backbone.weights=null", "taps=all")
    assert result.code == 0, result.err
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.out.splitlines() if "│" in line]
    found = {row[1]: row[2:] for row in rows if len(row) == 5}
    assert found["conv2_block3_out"] == ["4", "256", "(128, 128, 256)"]
    assert found["conv5_block3_out"][:2] == ["16", "2048"]  # dilated: stride 16, not 32
    assert len(found) > 150 and "conv1_pad" not in found


def test_a_wrong_tap_is_answered_by_the_layers_of_its_stage(segtrain):
    result = segtrain("summary", "backbone=resnet50", "backbone.weights=null", "backbone.low=conv2")
    assert result.code == 2 and "conv2_block3_out (stride 4)" in result.err
    assert "Fix: backbone.low=conv2_block3_out" in result.err and "conv1" not in result.err
