"""A user's part that raises, or returns what no command can use: one line that names its key, before the first step."""

import sys

import pytest
import yaml

from commands.conftest import TINY

pytestmark = pytest.mark.tensorflow

PARTS = """
import keras
import numpy as np
from segtrain.data import Folder, Sample
from segtrain.models import lraspp

def raises(**known): return {}["absent"]
def nothing(**known): return None
def number(**known): return 7
def text(**known): return "text"
def loss_map(**known): return lambda labels, logits: keras.ops.zeros(keras.ops.shape(labels))
def loss_int(**known): return lambda labels, logits: 3
def loss_raises(**known): return lambda labels, logits: {}["absent"]
def flat(backbone, num_classes, **known):
    return keras.Model(backbone.pixels, keras.layers.GlobalAveragePooling2D()(backbone.high))
def thin(backbone, num_classes, **known): return lraspp(backbone, num_classes + 1)
def head_flat(backbone, num_classes, name): return keras.layers.GlobalAveragePooling2D()(backbone.high)
def crop_float(**known): return lambda image, labels, rng, another=None: (image.astype(np.float32)[:48], labels[:48])
def crop_small(**known): return lambda image, labels, rng, another=None: (image[:8, :8], labels[:8, :8])
def crop_raises(**known): return lambda image, labels, rng, another=None: {}["absent"]
def crop_one(**known): return lambda image, labels, rng, another=None: image

class Mine(Folder):
    def __init__(self, root, how):
        super().__init__(root, ["a", "b"], "images", "masks", val_fraction=0.5, label_values={0: 0, 255: 1})
        self.how = how
    def samples(self, split):
        return {"raises": lambda: {}["absent"], "tuple": lambda: ("x",), "none": lambda: None}.get(
            self.how, lambda: super(Mine, self).samples(split))()
    def read(self, sample, reduction=1):
        image, labels = super().read(sample, reduction)
        return (image / 255, labels) if self.how == "float" else image if self.how == "image" else (image, labels[None])
"""
HEAD = "++heads.x={{head: {{_target_: mine_parts.{}}}, loss: {{_target_: segtrain.losses.CrossEntropy}}, weight: 1}}"
KINDS = {
    **dict.fromkeys(("dataset", "augment"), ("raises", "nothing", "number")),
    "loss": ("raises", "number", "loss_map", "loss_int", "loss_raises"),
    "model": ("raises", "number", "flat", "thin"),
    **dict.fromkeys(("backbone", "norm", "schedule", "optimizer"), ("text",)),
}
WRONG = {
    **{f"{group}._target_=mine_parts.{kind}": group for group, kinds in KINDS.items() for kind in kinds},
    **{f"augment._target_=mine_parts.crop_{kind}": "augment" for kind in ("float", "small", "raises", "one")},
    **{
        f"dataset={{_target_: mine_parts.Mine, how: {how}}}": "dataset"
        for how in ("raises", "tuple", "none", "float", "image", "deep")
    },
    HEAD.format("head_flat"): "heads.x.head",
    "++augment.steps.x={_target_: mine_parts.crop_small}": "augment.steps.x",
    "++callbacks.x={_target_: mine_parts.number}": "callbacks.x",
}


@pytest.fixture
def mine(workplace, monkeypatch):
    (workplace / "mine_parts.py").write_text(PARTS)
    yield
    sys.modules.pop("mine_parts", None)


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_part_is_one_line_that_names_its_key(segtrain, mine, workplace, binary_root, word):
    key = WRONG[word]
    words = ["train", "+experiment=binary", f"dataset.root={binary_root}", *TINY, "trusted_modules=[mine_parts]"]
    # A part of the user's has no arguments but those that commands pass.
    name, _, value = word.lstrip("+").partition("=")
    (workplace / "conf/experiment").mkdir(parents=True)
    group, _, last = name.partition(".")
    node = {last: value} if last == "_target_" else yaml.safe_load(value)
    if last == "_target_" and group == "optimizer":
        node["learning_rate"] = 0.1
    content = f"# @package {group if last == '_target_' or group == 'dataset' else name}\n" + yaml.safe_dump(node)
    if last == "_target_" or group == "dataset":
        (workplace / "conf" / group).mkdir()
        (workplace / "conf" / group / "mine.yaml").write_text("".join(content.splitlines(True)[1:]))
        words = [each for each in words if not each.startswith(f"{group}.") and not each.startswith(f"{group}=")]
        words += [f"{group}=mine"] + ([f"+dataset.root={binary_root}"] if word.startswith("dataset=") else [])
        words[1:2] = ["+experiment=binary"] if group != "dataset" else ["limit_samples=null"]
    else:
        words.append(word)
    result = segtrain(*words, "--config-dir", "conf")
    assert result.code == 2, result.err[-1500:]
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {key}: ") and "Fix:" in line, line
    assert not (workplace / "runs").exists()
