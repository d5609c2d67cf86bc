"""Write tests/golden/torch/*.json: outputs of torch networks whose weights are derived from their names and shapes.

PATH/TO/TORCH/python scripts/write_torch_golden.py            all, a minute; environment: scripts/peers/README.md
PATH/TO/TORCH/python scripts/write_torch_golden.py smp_deeplabv3_resnet50     only this one

tests/models/test_torch_parity.py imports the weight and image generators from here, without torch.
"""

import json
import math
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "torch"
NUM_CLASSES = 21
NUM_SAMPLES = 500
# ImageNet's mean and standard deviation, R, G, B in 0-1, as torchvision's weights were trained with them.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw one entry of a state dict from its name and shape, scaled to keep activations near 1 at any depth.

    NumPy guarantees that RandomState's stream never changes; that of default_rng may.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    unit = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    if name.endswith("running_var"):
        return (0.5 + unit).astype(np.float32)
    signed = 2.0 * unit - 1.0
    if len(shape) == 1:
        scale_of_batch_norm = name.endswith("weight")
        return (0.1 * signed + scale_of_batch_norm).astype(np.float32)
    # Variance 1 / fan-in: each residual branch shrinks slightly, so that sums of 33 branches stay bounded.
    # Depthwise kernels compensate for the attenuation by hard-swish and squeeze-and-excite in MobileNetV3.
    variance = (3.3 if shape[1] == 1 else 1.0) / math.prod(shape[1:])
    return (signed * math.sqrt(3.0 * variance)).astype(np.float32)


def draw_image(height: int, width: int, seed: int) -> np.ndarray:
    """Draw a (H, W, 3) uint8 image of colored tiles, which give spatially varying deep features, plus noise."""
    random = np.random.RandomState(seed)
    tiles = random.randint(0, 256, (math.ceil(height / 32), math.ceil(width / 32), 3))
    image = tiles.repeat(32, axis=0).repeat(32, axis=1)[:height, :width]
    return np.clip(image + random.randint(-40, 41, image.shape), 0, 255).astype(np.uint8)


def sample(logits: np.ndarray, num_samples: int = NUM_SAMPLES) -> dict[str, Any]:
    """Return statistics and random samples of (H, W, K) logits."""
    random = np.random.RandomState(0)
    positions = np.stack([random.randint(0, side, num_samples) for side in logits.shape], axis=1)
    return {
        "max_abs_logit": round(float(np.abs(logits).max()), 4),
        "class_means": [round(float(mean), 6) for mean in logits.mean((0, 1), dtype=np.float64)],
        "class_deviations": [round(float(deviation), 4) for deviation in logits.std((0, 1), dtype=np.float64)],
        "positions": positions.tolist(),
        "logits": [round(float(value), 6) for value in logits[tuple(positions.T)]],
    }


def networks() -> dict[str, tuple[Callable[[], Any], list[tuple[int, int]]]]:
    """Return each network's builder and its input sizes.

    segmentation_models.pytorch rejects 513; it requires padding to 520 or 528, whose deep feature maps are as large as
    those of 513. 112x144 has a deep feature map with odd sides at stride 16.
    """
    from peers.torch_networks import smp_network, torchvision_deeplabv3

    odd, every = [(97, 131)], [(513, 513), (97, 131)]
    return {
        "torchvision_deeplabv3_resnet50": (lambda: torchvision_deeplabv3("resnet50", NUM_CLASSES), every),
        "torchvision_deeplabv3_resnet101": (lambda: torchvision_deeplabv3("resnet101", NUM_CLASSES), odd),
        "torchvision_deeplabv3_mobilenet_v3_large": (
            lambda: torchvision_deeplabv3("mobilenet_v3_large", NUM_CLASSES),
            every,
        ),
        "smp_deeplabv3_resnet50": (
            lambda: smp_network("DeepLabV3", "resnet50", NUM_CLASSES),
            [(520, 520), (104, 136)],
        ),
        "smp_deeplabv3plus_resnet50": (
            lambda: smp_network("DeepLabV3Plus", "resnet50", NUM_CLASSES),
            [(528, 528), (112, 144)],
        ),
        "smp_deeplabv3plus_resnet18": (
            lambda: smp_network("DeepLabV3Plus", "resnet18", NUM_CLASSES),
            [(528, 528), (112, 144)],
        ),
    }


def describe(network: Any, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Set a network's weights with `numbers` and run it on an image of each size."""
    import torch

    state = {name: numbers(name, tuple(entry.shape)) for name, entry in network.state_dict().items()}
    network.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in state.items()})
    network.eval()
    runs = []
    for seed, (height, width) in enumerate(sizes):
        image = (draw_image(height, width, seed).astype(np.float32) / 255 - MEAN) / DEVIATION
        with torch.inference_mode():
            output = network(torch.from_numpy(image.transpose(2, 0, 1)[None]))
        heads = output if isinstance(output, dict) else {"out": output}
        found = {name: head[0].numpy().transpose(1, 2, 0) for name, head in heads.items()}
        run: dict[str, Any] = {"height": height, "width": width, "seed": seed} | sample(found["out"])
        if "aux" in found:
            run["auxiliary"] = sample(found["aux"], NUM_SAMPLES // 5)
        runs.append(run)
    return {
        "num_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "state": {name: list(array.shape) for name, array in state.items()},
        "runs": runs,
    }


def main(names: list[str]) -> None:
    import torch
    from peers.torch_networks import import_smp, import_torchvision

    versions = {module.__name__: module.__version__ for module in (torch, import_torchvision(), import_smp())}
    chosen = networks()
    for name in names or list(chosen):
        build, sizes = chosen[name]
        golden = {"versions": versions} | describe(build(), sizes)
        path = GOLDEN / f"{name}.json"
        path.write_text(written(golden) + "\n")
        scales = [(run["max_abs_logit"], max(run["class_deviations"])) for run in golden["runs"]]
        print(f"{path.name}: {path.stat().st_size:,} bytes, {golden['num_parameters']:,} parameters, {scales}")


def written(value: Any, indent: str = "") -> str:
    """Format JSON for reviewable diffs: one line per entry of the state and per list of a run."""
    deeper = indent + " "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(key)}: {written(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + ", ".join(written(item, indent) for item in value) + "]"
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1:])
