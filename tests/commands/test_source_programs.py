"""The five programs that segtrain grew out of: each experiment is its program, to the parameter.

docs/source-programs.md tells them; where a number is published, the test says so.
"""

import functools
import math

import keras
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from segtrain import config
from segtrain.builders.network import build_network, load_weights
from segtrain.models.layers import BatchNormalization, Preprocessing

pytestmark = pytest.mark.tensorflow


def composed(experiment, *words):
    config.set_up()
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        return compose("train", [f"+experiment={experiment}", "dataset.root=.", "backbone.weights=null", *words])


@functools.cache
def network(experiment, *words):
    return build_network(composed(experiment, *words), 21)[0]


@pytest.fixture(scope="module", autouse=True)
def forgotten_networks():
    """Eight networks with random weights take 1.3 GB."""
    yield
    network.cache_clear()


def sources(layer):
    """Names of the layers whose results a layer takes."""
    return [tensor._keras_history.operation.name for tensor in keras.tree.flatten(layer.input)]


def preprocessing(model):
    (layer,) = [layer for layer in model.layers if isinstance(layer, Preprocessing)]
    return layer


def head_convolutions(model):
    """The convolutions behind the backbone but the classifier, which no batch norm follows."""
    ours = ("aspp", "low_level", "decoder", "head")
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    return [layer for layer in model.layers if isinstance(layer, kinds) and layer.name.startswith(ours)]


# What summary prints; keras_io_2021 is in test_summary.py, keras_io_2024 in test_compare.py


@pytest.mark.parametrize(
    ("experiment", "facts"),
    [
        pytest.param(
            "idiotdeveloper_v3plus",
            "17,830,209 | 8,589,184 | 9,241,025 | (512, 512, 3) | (32, 32, 1024) | conv4_block6_out, stride 16 | "
            "(128, 128, 256) | conv2_block2_out, stride 4 | 6, 12, 18 | (512, 512, 2)",
            marks=pytest.mark.slow,
        ),
        # Keras' ResNet50V2 is 23,564,800 without its top. ASPP on 2048 channels: two 1x1, three 3x3, the projection of
        # 5 * 256, six batch norms; classifier: 2*2048*256 + 27*2048*256 + 1280*256 + 6*4*256 + 257*21
        pytest.param(
            "thalles_v3",
            "23,564,800 | 15,543,573 | (32, 32, 2048) | post_relu, stride 16 | 2, 4, 8 | 6, 12, 18 | (512, 512, 21)",
            marks=pytest.mark.slow,
        ),
        # torchvision publishes 42,004,074, auxiliary head and all. torch counts no running statistics: they are what is
        # not trained.
        pytest.param(
            "berrios_v3",
            "42,004,074 | 57,216 | (64, 64, 2048) | 2 (6x), 4 (2x) | 12, 24, 36 | output auxiliary",
            marks=pytest.mark.slow,
        ),
        # segmentation_models.pytorch 0.6.0: 6,129,717 parameters and 15,696 running statistics
        ("berrios_v3_mobile", "6,129,717 | 15,696 | 939,120 | (64, 64, 576) | 12, 24, 36"),
    ],
)
def test_summary_shows_the_facts_of(experiment, facts, segtrain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    result = segtrain("summary", f"+experiment={experiment}")
    assert result.code == 0, result.err
    assert [fact for fact in facts.split(" | ") if fact not in result.out] == []


# What the layers are


def test_idiotdeveloper_has_a_relu_on_both_sides_of_the_decoders_batch_norm_and_nowhere_else():
    model = network("idiotdeveloper_v3plus_softmax")
    for number in (1, 2):
        chain = [f"decoder_{number}_{part}" for part in ("conv", "first_relu", "bn", "relu")]
        assert [sources(model.get_layer(name)) for name in chain[1:]] == [[name] for name in chain[:-1]]
    assert [layer.name for layer in model.layers if layer.name.endswith("first_relu")] == [
        "decoder_1_first_relu",
        "decoder_2_first_relu",
    ]


def test_idiotdeveloper_has_no_bias_but_the_classifiers_which_comes_after_the_upsampling():
    model = network("idiotdeveloper_v3plus_softmax")
    assert [layer.use_bias for layer in head_convolutions(model)] == [False] * 9
    assert model.get_layer("classifier").use_bias
    assert sources(model.get_layer("classifier")) == ["upsampling"]
    assert preprocessing(model).mode == "none"


def test_idiotdeveloper_with_many_classes_is_the_same_network_with_more_filters():
    # 20 filters more, of 256 weights and a bias each
    assert network("idiotdeveloper_v3plus_softmax").count_params() == 17_830_209 + 20 * 257


def test_idiotdevelopers_branches_lie_in_its_order():
    branches = sources(network("idiotdeveloper_v3plus_softmax").get_layer("aspp_concat"))
    assert branches == ["aspp_pool_upsampling", "aspp_1x1_relu", *(f"aspp_branch_{place}_relu" for place in (1, 2, 3))]
    decoder = sources(network("idiotdeveloper_v3plus_softmax").get_layer("decoder_concat"))
    assert decoder == ["decoder_upsampling", "low_level_relu"]


def test_stackabuses_block_has_a_bias_before_every_batch_norm():
    model, unbiased = network("stackabuse_block"), network("stackabuse_block", "model.conv_bias=false")
    convolutions = head_convolutions(model)
    assert [layer.use_bias for layer in convolutions] == [True] * 9
    assert not any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in convolutions)
    # Five branches and the projection of 256, the early tap's 48, two of 256 in the decoder.
    assert model.count_params() - unbiased.count_params() == 6 * 256 + 48 + 2 * 256


def test_keras_ios_pool_branch_alone_has_a_bias():
    biased = [layer.name for layer in head_convolutions(network("keras_io_2024")) if layer.use_bias]
    assert biased == ["aspp_pool_conv"]


@pytest.mark.slow
def test_thalles_multi_grid_dilates_the_last_block_by_2_4_8():
    model = network("thalles_v3_code")
    dilations = {layer.name: layer.dilation_rate[0] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    dilated = {name: dilation for name, dilation in dilations.items() if dilation > 1 and name.startswith("conv")}
    assert dilated == {f"conv5_block{place}_2_conv": 2**place for place in (1, 2, 3)}


def test_thalles_code_has_no_relu_behind_its_tap_and_slims_batch_norm():
    model = network("thalles_v3_code")
    assert [layer.name for layer in model.layers if layer.name.startswith("aspp") and "relu" in layer.name] == []
    # thalles_v3 without its last batch norm's 4 * 2048
    assert model.count_params() == 39_108_373 - 8_192
    norms = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.9997}
    assert {layer.epsilon for layer in norms if layer.name.startswith("aspp")} == {1e-5}
    # (1, 1, 1) less ImageNet's mean color, R, G and B in their places
    pixel = np.asarray(preprocessing(model)(np.ones((1, 1, 1, 3), np.float32)))[0, 0, 0]
    np.testing.assert_allclose(pixel, [1 - 123.68, 1 - 116.779, 1 - 103.939], atol=1e-4)


@pytest.mark.slow
def test_berrios_network_is_torchvisions_behind_the_aspp():
    model = network("berrios_v3")
    # 3x3 1024 -> 256, batch norm, 1x1 256 -> 21 with bias: 2,365,205 of torchvision's 42,004,074.
    auxiliary = [layer for layer in model.layers if layer.name.startswith("auxiliary")]
    assert sum(math.prod(weight.shape) for layer in auxiliary for weight in layer.trainable_weights) == 2_365_205
    assert model.get_layer("aspp_dropout").rate == 0.5
    assert sources(model.get_layer("head_1_conv")) == ["aspp_dropout"]
    assert model.get_layer("head_1_conv").kernel_size == (3, 3)
    assert {layer.epsilon for layer in model.layers if isinstance(layer, BatchNormalization)} == {1e-5}


# What the recipes are


@pytest.mark.parametrize("experiment", ["keras_io_2021", "keras_io_2024"])
def test_keras_io_trains_as_published(experiment):
    cfg = composed(experiment)
    dataset = cfg.dataset
    assert (dataset.num_train_images, dataset.num_val_images, dataset.val_folder) == (1000, 50, "Training")
    assert dataset.colormap_scale == 100
    assert (cfg.epochs, cfg.batch_size, cfg.crop_size, cfg.shuffle) == (25, 4, [512, 512], False)
    assert (cfg.augment._target_, cfg.augment.labels_interpolation) == ("segtrain.data.Resize", "bilinear")
    assert (cfg.optimizer._target_, cfg.optimizer.learning_rate) == ("keras.optimizers.Adam", 1e-3)
    assert cfg.schedule._target_ == "segtrain.training.constant"
    assert cfg.backbone.preprocessing == {"keras_io_2021": "tf", "keras_io_2024": "caffe"}[experiment]


@pytest.mark.parametrize(("experiment", "preprocessing"), [("thalles_v3", "tf"), ("thalles_v3_code", "mean")])
def test_thalles_trains_as_published(experiment, preprocessing):
    cfg = composed(experiment)
    assert (cfg.dataset._target_, cfg.dataset.labels) == ("segtrain.data.Voc", "SegmentationClassAug")
    assert (cfg.batch_size, cfg.crop_size) == (8, [513, 513])
    assert (cfg.augment.scale, cfg.augment.flip) == ([0.5, 2.0], 0.5)
    assert (cfg.optimizer._target_, cfg.optimizer.learning_rate) == ("keras.optimizers.Adam", 1e-5)
    assert cfg.schedule._target_ == "segtrain.training.constant"
    assert cfg.backbone.preprocessing == preprocessing


@pytest.mark.parametrize("experiment", ["idiotdeveloper_v3plus", "idiotdeveloper_v3plus_softmax", "stackabuse_block"])
def test_where_a_text_has_no_recipe_keras_own_batch_norm_is_kept(experiment):
    assert (composed(experiment).norm.momentum, composed(experiment).norm.epsilon) == (0.99, 1e-3)


@pytest.mark.slow
def test_thalles_starts_from_what_there_is_of_its_weights(test_data):
    """The file holds stages 1 to 4 as float16; stage 5 and the head stay random."""
    path = test_data / "weights" / "keras_models_dir" / "resnet50v2_imagenet_conv1_to_conv4_fp16.h5"
    if not path.is_file():
        pytest.skip(f"no {path}")
    words = (f"backbone.weights={path}", "backbone.partial_weights=true")
    cfg = composed("thalles_v3_code", *words)
    model, backbone = build_network(cfg, 21)
    load_weights(cfg, model, backbone)
    kernel = np.asarray(model.get_layer("conv4_block6_2_conv").kernel)
    assert np.array_equal(kernel, kernel.astype(np.float16)) and kernel.std() > 0
    last = np.asarray(model.get_layer("conv5_block1_2_conv").kernel)
    assert not np.array_equal(last, last.astype(np.float16))
