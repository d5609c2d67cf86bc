"""`segtrain summary`: the published numbers, without weights and without data."""

import pytest

pytestmark = pytest.mark.tensorflow


def test_summary_of_the_keras_io_program_prints_its_published_numbers(segtrain, workplace):
    result = segtrain("summary", "+experiment=keras_io_2021")
    assert result.code == 0, result.err
    for number in ("11,857,236", "11,824,500", "32,736", "(32, 32, 256)", "(128, 128, 64)", "(512, 512, 20)"):
        assert number in result.out
    # 81.6 GFLOP an image are 40.8 G multiplications with as many additions.
    assert "40.80 G" in result.out
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("experiment", ["people", "cihp", "voc", "binary", "camvid"])
def test_every_experiment_has_a_summary_without_data_or_weights(segtrain, workplace, experiment):
    result = segtrain("summary", f"experiment={experiment}", "image_size=[64,96]")
    assert result.code == 0, result.err
    num_classes = {"people": 20, "cihp": 20, "voc": 21, "binary": 2, "camvid": 11}[experiment]
    assert f"(64, 96, {num_classes})" in result.out
    assert list(workplace.iterdir()) == []


def test_summary_of_a_wrong_tap_names_near_layers(segtrain):
    result = segtrain("summary", "+experiment=people", "backbone.high=block_6_expnd_relu")
    assert result.code == 2
    assert "backbone.high=block_6_expnd_relu: no such layer" in result.err
    assert "Fix: backbone.high=block_6_expand_relu" in result.err
