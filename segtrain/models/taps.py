"""Find the layers of a backbone at each stride, and check the taps that a config names."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import keras

from segtrain.errors import ConfigError, argument
from segtrain.models.dilation import StrideInfo
from segtrain.shell import setting

# Ends of blocks are the usual taps.
_IS_END = re.compile(r"(_out|_add|add|_relu|_act|_activation|_BN)$")


def stable_names(network: keras.Model) -> dict[str, str]:
    """Return stable names of layers. Keras numbers layers that keras.applications does not name per process.

    Returns:
        Name of each layer -> the same name, or `conv2d_2` for the third unnamed convolution of this network.
    """
    counts: Counter[str] = Counter()
    names = {}
    for layer in network.operations:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        bare = kind.replace("_", "")
        given = re.sub(r"_\d+$", "", layer.name).replace("_", "")
        if given == bare and not type(layer).__module__.startswith("segtrain"):
            names[layer.name] = f"{kind}_{counts[kind]}"
            counts[kind] += 1
        else:
            names[layer.name] = layer.name
    return names


def grid_factors(network: keras.Model, blocks: Sequence[str], multi_grid: Sequence[int] | None) -> dict[str, int]:
    """Return the `multi_grid` factor of each layer in the last stage's blocks.

    Raises:
        ConfigError: The number of factors differs from that of blocks.
    """
    if multi_grid is None:
        return {}
    if not blocks or len(multi_grid) != len(blocks):
        expected = f"{len(blocks)} numbers, one a block of its last stage" if blocks else "null"
        raise ConfigError(
            f"{argument('multi_grid')}={list(multi_grid)}: expected for {network.name} {expected}. Fix: "
            f"{setting(argument('multi_grid'), [1, 2, 4][: len(blocks)] if 0 < len(blocks) <= 3 else None)}"
        )
    factors = dict(zip(blocks, multi_grid, strict=True))
    return {
        layer.name: factor
        for layer in network.layers
        for prefix, factor in factors.items()
        if layer.name.startswith(prefix)
    }


def last_of_each_stride(found: Mapping[str, StrideInfo], network: keras.Model) -> dict[int, str]:
    """Find the last map at each stride of the undilated network."""
    padding = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)
    maps = [layer.name for layer in network.layers if layer.name in found and not isinstance(layer, padding)]
    return {found[name].nominal: name for name in maps if found[name].nominal > 1}


def named_stages(stages: Sequence[str], found: Mapping[str, StrideInfo], network: keras.Model) -> dict[int, str]:
    """Order a backbone's `stages` by stride in the undilated network.

    Raises:
        ConfigError: A name is not a layer, or the layer does not return a map.
    """
    for name in stages:
        require_map(argument("stages"), name, found, network)
    return {found[name].nominal: name for name in stages}


def require_map(key: str, name: str, found: Mapping[str, StrideInfo], network: keras.Model) -> None:
    """Refuse a tap that is not a layer or does not return a map, as the gate of a squeeze-and-excitation block.

    Raises:
        ConfigError: The tap is refused; the message has the nearest names that work.
    """
    names = [layer.name for layer in network.layers if layer.name in found]
    if name in names:
        return
    near = _of_stage(name, names) or difflib.get_close_matches(name, names, n=4, cutoff=0.4)
    seen = "no map of features" if any(layer.name == name for layer in network.layers) else "no such layer"
    raise ConfigError(
        f"{key}={name}: {seen} in {network.name}, nearest are {_with_strides(near or names[-1:], found)}. Fix: "
        f"{key}={near[0] if near else names[-1]}"
    )


def _of_stage(name: str, names: Sequence[str]) -> list[str]:
    """Return the ends of the blocks whose names begin with `name`, the last first; empty without any."""
    inside = [each for each in names if each.startswith(f"{name}_") or each.startswith(f"{name}.")]
    ends = [each for each in inside if _IS_END.search(each)] or inside
    return ends[::-1][:4]


def _with_strides(names: Sequence[str], found: Mapping[str, StrideInfo]) -> str:
    return ", ".join(f"{name} (stride {found[name].stride})" for name in names)


def require_stride(key: str, name: str, found: Mapping[str, StrideInfo], wanted: int, fits: bool) -> None:
    """Refuse a tap at another stride than the network needs.

    Raises:
        ConfigError: The tap is refused; the message has the layers at the wanted stride.
    """
    if fits:
        return
    stride = found[name].stride
    there = [layer for layer, info in found.items() if info.stride == wanted]
    ends = [layer for layer in there if _IS_END.search(layer)] or there
    shown = ends if len(ends) <= 6 else [*ends[:2], "...", *ends[-3:]]
    expected = str(wanted) if key == "high" else "a finer one"
    fix = f"Fix: {argument(key)}={ends[-1] if ends else 'null'}"
    if key == "high" and stride in (8, 16, 32):
        fix += f", or {argument('output_stride')}={stride}"
    raise ConfigError(
        f"{argument(key)}={name} lies at stride {stride}, expected {expected}; at stride {wanted} lie "
        f"{', '.join(shown) or 'no layers'}. {fix}"
    )
