"""Workers for networks in torch: channels last, Adam, mean cross-entropy, float32."""

import serving

asked = serving.request()

import torch  # noqa: E402  after the thread count is set
from keras_io_torch import KerasIo  # noqa: E402
from torch_networks import smp_network, torchvision_deeplabv3  # noqa: E402

# By variant: the network, the number of classes.
NETWORKS = {
    "torch_keras_io": (lambda: KerasIo(20), 20),
    "torchvision_deeplabv3": (lambda: torchvision_deeplabv3("resnet50", 21, auxiliary=False), 21),
    "smp_deeplabv3plus": (lambda: smp_network("DeepLabV3Plus", "resnet50", 21), 21),
}


def logits_of(output: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
    return output["out"] if isinstance(output, dict) else output


def main() -> None:
    torch.set_num_threads(asked.threads)
    build, num_classes = NETWORKS[asked.variant]
    network = build().to(memory_format=torch.channels_last)
    images, labels = serving.images(asked, num_classes)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    truth = torch.from_numpy(labels).long()
    steps = serving.steps(asked, sum(parameter.numel() for parameter in network.parameters()))
    if asked.task == "infer":
        infer(network, pixels, steps)
    else:
        train(network, pixels, truth, steps)


def train(network: torch.nn.Module, pixels: torch.Tensor, truth: torch.Tensor, steps) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss = torch.nn.CrossEntropyLoss(ignore_index=255)
    network.train()
    for _ in steps:
        optimizer.zero_grad(set_to_none=True)
        cost = loss(logits_of(network(pixels)), truth)
        cost.backward()
        optimizer.step()
        cost.item()


def infer(network: torch.nn.Module, pixels: torch.Tensor, steps) -> None:
    """Run the traced and frozen network, the fastest option in torch."""
    network.eval()
    with torch.inference_mode():
        frozen = torch.jit.freeze(torch.jit.trace(network, pixels, strict=False))
        for _ in steps:
            logits_of(frozen(pixels)).argmax(1)


if __name__ == "__main__":
    main()
