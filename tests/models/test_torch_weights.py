"""Weights of a backbone in torch's names: safetensors, and .pth files read as tensors only."""

import sys
import types

import keras
import numpy as np
import pytest
import safetensors.numpy

from segtrain.errors import CheckpointError, ConfigError
from segtrain.models import torch_resnet
from segtrain.models.weights import load_backbone_weights

pytestmark = pytest.mark.tensorflow


def _filled(weights):
    """ResNet-18 in torchvision's layout, filled from a file."""
    backbone = torch_resnet(depth=18, weights=str(weights))
    taps = keras.Model(backbone.pixels, [backbone.high, backbone.low])
    load_backbone_weights(taps, backbone)
    return taps


def _refusal(weights, error=CheckpointError):
    with pytest.raises(error) as caught:
        _filled(weights)
    return str(caught.value)


def test_torchs_layout_has_no_imagenet_weights_of_its_own():
    message = _refusal("imagenet", ConfigError)
    assert message.startswith("weights=imagenet: found no ImageNet weights for this layout. Fix: weights=null")


def _torch_resnet18(seed=0):
    """A state dict as torchvision names and shapes ResNet-18: kernels (out, in, h, w)."""
    shapes = {"conv1.weight": (64, 3, 7, 7), "bn1": (64,), "fc.weight": (1000, 512), "fc.bias": (1000,)}
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name, incoming = f"layer{stage}.{block}", channels if block or stage == 1 else channels // 2
            shapes |= {f"{name}.conv1.weight": (channels, incoming, 3, 3), f"{name}.bn1": (channels,)}
            shapes |= {f"{name}.conv2.weight": (channels, channels, 3, 3), f"{name}.bn2": (channels,)}
            if incoming != channels:
                shapes |= {
                    f"{name}.downsample.0.weight": (channels, incoming, 1, 1),
                    f"{name}.downsample.1": (channels,),
                }
    rng, state = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        if name.endswith((".weight", ".bias")):
            state[name] = rng.normal(size=shape).astype(np.float32)
        else:
            for part in ("weight", "bias", "running_mean", "running_var"):
                state[f"{name}.{part}"] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
            state[f"{name}.num_batches_tracked"] = np.array(7)
    return state


def test_a_state_dict_of_torch_as_safetensors_fills_a_backbone(tmp_path):
    state = _torch_resnet18()
    safetensors.numpy.save_file(state, tmp_path / "resnet18.safetensors")
    taps = _filled(tmp_path / "resnet18.safetensors")
    kernel = state["layer2.0.conv1.weight"].transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
    np.testing.assert_array_equal(taps.get_layer("conv3_block1_1_conv").kernel, kernel)
    shortcut = taps.get_layer("conv5_block1_0_bn")
    for one, part in zip(shortcut.weights, ("weight", "bias", "running_mean", "running_var"), strict=True):
        np.testing.assert_array_equal(one, state[f"layer4.0.downsample.1.{part}"])


def test_a_pth_file_without_torch_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed, where it is
    (tmp_path / "resnet18.pth").write_bytes(b"")
    message = _refusal(tmp_path / "resnet18.pth")
    assert message == (
        f"weights={tmp_path / 'resnet18.pth'}: a .pth file is read by torch, which is not installed. Fix: pip "
        f"install 'segtrain-keras[torch]', or save the state dict as .safetensors"
    )


class _Tensor:
    """What segtrain needs of torch's."""

    def __init__(self, array):
        self.array = array

    def float(self):
        return _Tensor(self.array.astype(np.float32))

    def numpy(self):
        return self.array


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"epoch": 3, "state_dict": state}])
def test_a_pth_file_is_read_as_tensors_only(tmp_path, monkeypatch, wrap):
    asked = {}

    def load(path, **options):
        asked.update(options)
        return wrap({name: _Tensor(array) for name, array in _torch_resnet18().items()})

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    (tmp_path / "resnet18.pth").write_bytes(b"read by torch")
    taps = _filled(tmp_path / "resnet18.pth")
    np.testing.assert_array_equal(
        taps.get_layer("conv1_conv").kernel, _torch_resnet18()["conv1.weight"].transpose(2, 3, 1, 0)
    )
    assert asked["weights_only"] is True


@pytest.mark.parametrize("said", [lambda path, **options: {"epoch": 3}, lambda path, **options: 1 / 0])
def test_a_pth_file_of_something_else_is_one_clear_line(tmp_path, monkeypatch, said):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=said))
    (tmp_path / "resnet18.pth").write_bytes(b"read by torch")
    message = _refusal(tmp_path / "resnet18.pth")
    assert "expected a state dict of tensors alone. Fix: save it with torch.save(model.state_dict(), PATH)" in message
    assert "\n" not in message
