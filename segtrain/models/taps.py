"""Which layers of a backbone may be tapped, at which stride, and what to say when another one was meant."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import keras

from segtrain.errors import ConfigError, argument
from segtrain.models.dilation import StrideInfo
from segtrain.shell import setting


def stable_names(network: keras.Model) -> dict[str, str]:
    """Name each layer for good. Where keras.applications names none, Keras numbers it through the whole process.

    Returns:
        By name of each layer, the same name, or `conv2d_2` for the third nameless convolution of this network.
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
    """Give each layer of the last stage's blocks its factor of dilation.

    Raises:
        ConfigError: There are not as many numbers as blocks.
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
        ConfigError: A name is no layer's, or no map's.
    """
    for name in stages:
        require_map(argument("stages"), name, found, network)
    return {found[name].nominal: name for name in stages}


def require_map(key: str, name: str, found: Mapping[str, StrideInfo], network: keras.Model) -> None:
    """Refuse a tap that is no layer, or one whose result is no map, as the gate of a squeeze-and-excitation block.

    Raises:
        ConfigError: Names the nearest that are.
    """
    names = [layer.name for layer in network.layers if layer.name in found]
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=4, cutoff=0.4)
    seen = "no map of features" if any(layer.name == name for layer in network.layers) else "no such layer"
    raise ConfigError(
        f"{key}={name}: {seen} in {network.name}, nearest are {', '.join(near) or names[-1]}. Fix: "
        f"{key}={near[0] if near else names[-1]}"
    )


def require_stride(key: str, name: str, found: Mapping[str, StrideInfo], wanted: int, fits: bool) -> None:
    """Refuse a tap that does not lie where the network needs it.

    Raises:
        ConfigError: Names the layers that lie at the wanted stride.
    """
    if fits:
        return
    stride = found[name].stride
    there = [layer for layer, place in found.items() if place.stride == wanted]
    # Where a block ends is what people tap.
    ends = [layer for layer in there if re.search(r"(_out|_add|add|_relu|_act|_activation|_BN)$", layer)] or there
    shown = ends if len(ends) <= 6 else [*ends[:2], "...", *ends[-3:]]
    expected = str(wanted) if key == "high" else "a finer one"
    mend = f"Fix: {argument(key)}={ends[-1] if ends else 'null'}"
    if key == "high" and stride in (8, 16, 32):
        mend += f", or {argument('output_stride')}={stride}"
    raise ConfigError(
        f"{argument(key)}={name} lies at stride {stride}, expected {expected}; at stride {wanted} lie "
        f"{', '.join(shown) or 'no layers'}. {mend}"
    )
