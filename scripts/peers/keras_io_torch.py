"""The keras.io network of 2021 in torch: the same layers, sizes and biases, channels first.

B batch, C channels, H height, W width, K classes.
"""

import torch
from torch import nn
from torch.nn import functional


def norm(channels: int, epsilon: float = 1e-3) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=epsilon, momentum=0.01)


class Bottleneck(nn.Module):
    """A block of keras.applications' ResNet: biased convolutions, the stride in the first one.

    Attributes:
        inside: (B, channels, H, W) features after the 3x3 convolution, which keras.io taps.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1, *, complete: bool = True) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride), norm(channels, 1.001e-5), nn.ReLU(True))
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), norm(channels, 1.001e-5), nn.ReLU(True)
        )
        self.third = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), norm(4 * channels, 1.001e-5))
        self.shortcut = nn.Sequential(nn.Conv2d(channels_in, 4 * channels, 1, stride), norm(4 * channels, 1.001e-5))
        if channels_in == 4 * channels:
            self.shortcut = nn.Sequential()
        if not complete:
            self.third, self.shortcut = nn.Sequential(), nn.Sequential()
        self.complete = complete

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = self.second(self.first(x))
        return (torch.relu(self.third(inside) + self.shortcut(x)) if self.complete else inside), inside


def stage(channels_in: int, channels: int, blocks: int, stride: int, *, complete: bool = True) -> nn.ModuleList:
    made = [Bottleneck(channels_in, channels, stride)]
    made += [Bottleneck(4 * channels, channels, complete=complete or index < blocks - 1) for index in range(1, blocks)]
    return nn.ModuleList(made)


def conv(channels_in: int, channels: int, kernel_size: int, dilation: int = 1, *, bias: bool = False) -> nn.Sequential:
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel_size, padding=padding, dilation=dilation, bias=bias),
        norm(channels),
        nn.ReLU(True),
    )


def resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class KerasIo(nn.Module):
    """(B, 3, H, W) pixels to (B, K, H, W) logits, the classifier before the last upsampling as segtrain has it."""

    def __init__(self, num_classes: int = 20) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, padding=3), norm(64, 1.001e-5), nn.ReLU(True), nn.MaxPool2d(3, 2, padding=1)
        )
        self.stage2 = stage(64, 64, 3, 1)
        self.stage3 = stage(256, 128, 4, 2)
        self.stage4 = stage(512, 256, 6, 2, complete=False)
        self.pool = conv(256, 256, 1, bias=True)
        self.branches = nn.ModuleList([conv(256, 256, 1), *(conv(256, 256, 3, rate) for rate in (6, 12, 18))])
        self.projection = conv(5 * 256, 256, 1)
        self.low_level = conv(64, 48, 1)
        self.decoder = nn.Sequential(conv(256 + 48, 256, 3), conv(256, 256, 3))
        self.classifier = nn.Conv2d(256, num_classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.stem(pixels)  # (B, 64, H/4, W/4)
        low = x
        for block in self.stage2:
            x, low = block(x)
        for block in [*self.stage3, *self.stage4]:
            x, _ = block(x)  # the last one (B, 256, H/16, W/16)
        pooled = resize(self.pool(x.mean((2, 3), keepdim=True)), x)
        x = self.projection(torch.cat([pooled, *(branch(x) for branch in self.branches)], 1))
        low = self.low_level(low)
        x = self.decoder(torch.cat([resize(x, low), low], 1))
        return resize(self.classifier(x), pixels)
