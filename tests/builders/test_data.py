"""The augmentations that segtrain ships, built as commands build them."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import toys
from segtrain import config
from segtrain.builders.data import augment_arguments, build_augment, in_processes
from segtrain.data import Cihp, Sample
from segtrain.errors import ConfigError

OPTIONS = sorted(path.stem for path in Path(config.config_dir(), "augment").glob("*.yaml"))


def loaded(option, **changes):
    node = OmegaConf.load(Path(config.config_dir(), "augment", f"{option}.yaml"))
    return OmegaConf.create({"augment": OmegaConf.merge(node, changes), "crop_size": [40, 56], "trusted_modules": []})


@pytest.fixture
def dataset(cihp_root):
    return Cihp(str(cihp_root))


def test_there_are_five():
    assert OPTIONS == ["basic", "deeplab", "none", "resize", "strong"]


@pytest.mark.parametrize("option", OPTIONS)
def test_each_gives_crops_of_the_dataset_s_classes(option, dataset):
    cfg = loaded(option)
    config.validate_calls(cfg, augment_arguments(cfg))
    samples = dataset.samples("train")
    augment = build_augment(cfg, dataset, dataset.flip_pairs)
    known = {*toys.CIHP_IDS, 0, dataset.ignore_class}
    for key in range(20):
        image, labels = augment(*dataset.read(samples[0]), np.random.default_rng(key))
        assert image.shape == (40, 56, 3) and labels.shape == (40, 56)
        assert image.dtype == labels.dtype == np.uint8
        assert {*np.unique(labels)} <= known


def test_none_shows_the_photograph_as_it_is(dataset):
    sample = dataset.samples("train")[0]
    image, labels = dataset.read(sample)
    out, ids = build_augment(loaded("none"), dataset, dataset.flip_pairs)(image, labels, np.random.default_rng(0))
    windows = np.lib.stride_tricks.sliding_window_view(image, (40, 56, 3))[:, :, 0]
    assert (windows == out).all((2, 3, 4)).sum() == 1
    assert {*np.unique(ids)} <= {*np.unique(labels)}


def test_steps_are_handed_the_facts_of_the_dataset(dataset):
    cfg = loaded("strong", steps={"cutout": {"probability": 1}})
    image, labels = dataset.read(dataset.samples("train")[0])
    _, ids = build_augment(cfg, dataset, dataset.flip_pairs)(image, labels, np.random.default_rng(0))
    assert dataset.ignore_class in ids


def test_strong_mixes_nothing_unless_asked(dataset):
    # There is no other sample here: whoever wanted one would raise.
    augment = build_augment(loaded("strong"), dataset, dataset.flip_pairs)
    pair = dataset.read(dataset.samples("train")[0])
    for key in range(30):
        augment(*pair, np.random.default_rng(key))
    asked = loaded("strong", steps={"cut_mix": {"probability": 1}})
    with pytest.raises(ValueError, match="CutMix needs another sample"):
        build_augment(asked, dataset, dataset.flip_pairs)(*pair, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"color": {"hue": 0.7}}, "augment.steps.color.hue=0.7: expected a number from 0 to 0.5"),
        ({"blur": {"probability": 2}}, "augment.steps.blur.probability=2: expected a number from 0 to 1"),
        ({"color": {"heu": 1}}, "augment.steps.color.heu: segtrain.data.ColorJitter has no argument 'heu'; "),
        ({"cutout": {"ignore_class": 3}}, "augment.steps.cutout.ignore_class=3: this comes from the dataset"),
        (
            {"color": 3},
            "augment.steps.color=3: expected a call, like those of augment=strong. Fix: ~augment.",
        ),
        ({"color": None}, "augment.steps.color=None: expected a call"),
        ({"mine": {"sigma": 3}}, "augment.steps.mine={'sigma': 3}: expected a call"),
        ({"mine": {"_target_": "segtrain.data.Blurr"}}, "augment.steps.mine._target_=segtrain.data.Blurr: "),
    ],
)
def test_errors_of_a_step_name_its_full_key(dataset, steps, said):
    with pytest.raises(ConfigError) as caught:
        cfg = loaded("strong", steps=steps)
        config.validate_calls(cfg, augment_arguments(cfg))
        build_augment(cfg, dataset, dataset.flip_pairs)
    assert str(caught.value).startswith(said)


def test_steps_have_names(dataset):
    cfg = loaded("none")
    cfg.augment.steps = [{"_target_": "segtrain.data.Blur"}]
    with pytest.raises(ConfigError, match=r"augment\.steps=.*expected steps by name. Fix: "):
        build_augment(cfg, dataset, dataset.flip_pairs)


class Knowing(Sample):
    """A sample that knows more than its files."""


@pytest.mark.parametrize(
    ("keys", "kind", "expected"),
    [
        ({}, Sample, True),
        ({"cache": "memory"}, Sample, False),
        ({"cache": "/fast/disk"}, Sample, False),
        ({"trusted_modules": ["mine"]}, Sample, False),
        ({}, Knowing, False),
        ({"loader": "threads"}, Sample, False),
        ({"loader": "processes", "trusted_modules": ["mine"]}, Sample, True),
    ],
)
def test_processes_load_what_they_can_load(keys, kind, expected):
    cfg = OmegaConf.create({"loader": "auto", "cache": None, "trusted_modules": [], **keys})
    assert in_processes(cfg, [Sample("a", Path("a"), Path("b")), kind("b", Path("c"), Path("d"))]) is expected


def test_processes_with_a_cache_or_samples_of_ones_own_are_refused():
    cfg = OmegaConf.create({"loader": "processes", "cache": "memory", "trusted_modules": []})
    with pytest.raises(ConfigError, match=r"loader=processes, cache=memory: .* threads only\. Fix: loader=auto, or"):
        in_processes(cfg, [])
    cfg.cache = None
    with pytest.raises(ConfigError, match=r"loader=processes: .* a class of its own, .* Fix: loader=threads"):
        in_processes(cfg, [Knowing("a", Path("a"), Path("b"))])
