"""DenseNet-40 with growth 12, the "DenseNet" row of the APR tables."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from fourier_robust.arch.init import he_fan_out


class DenseLayer(nn.Module):
    """BN, ReLU, 3x3 convolution; the `growth` new channels are appended to the input's."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) -> (B,C+growth,H,W)."""
        return torch.cat((x, self.conv(self.relu(self.bn(x)))), 1)


def densenet40_12(num_classes: int) -> nn.Module:
    """DenseNet, depth 40, growth 12, without bottleneck and without compression: normalised (B,3,H,W) -> (B,K).

    Three blocks of 12 layers; the transitions keep the number of channels and halve H and W (multiples of 4).

    Args:
        num_classes: K.

    Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017. Papers that follow AugMix print
    "DenseNet-BC (k = 12, d = 100)"; their code builds this smaller net, and so do we. 1,059,298 parameters at K = 10,
    1,100,428 at K = 100.
    """
    growth, channels = 12, 24
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, channels, 3, padding=1, bias=False))
    for block in (1, 2, 3):
        layers[f"dense{block}"] = nn.Sequential(*(DenseLayer(channels + i * growth, growth) for i in range(12)))
        channels += 12 * growth
        if block < 3:
            layers[f"transition{block}"] = nn.Sequential(
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.AvgPool2d(2),
            )
    layers.update(bn=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True), pool=nn.AdaptiveAvgPool2d(1))
    layers.update(flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    net = nn.Sequential(layers)
    he_fan_out(net)
    return net
