"""Pre-activation ResNet-18 for 32 x 32 images, and the block that Wide ResNets share with it."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


class PreActBlock(nn.Module):
    """(BN, ReLU, 3x3 convolution) twice, plus a shortcut.

    The shortcut is the raw input where shapes agree, else a 1x1 convolution of the *activated* input.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B,inputs,H,W) -> (B,outputs,H/stride,W/stride)."""
        active = F.relu(self.bn1(x), inplace=True)
        shortcut = x if self.shortcut is None else self.shortcut(active)
        out = self.conv1(active)
        return shortcut + self.conv2(F.relu(self.bn2(out), inplace=True))


def preact_net(stem: int, widths: tuple[int, ...], blocks: int, num_classes: int) -> nn.Sequential:
    """3x3 stem, one stage of `blocks` PreActBlocks per width (H and W halve from the second on), BN, mean, linear.

    Args:
        stem: channels of the stem.
        widths: channels of each stage.
        blocks: blocks per stage.
        num_classes: K.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, stem, 3, padding=1, bias=False))
    inputs = stem
    for i, width in enumerate(widths, start=1):
        first = PreActBlock(inputs, width, stride=1 if i == 1 else 2)
        layers[f"layer{i}"] = nn.Sequential(first, *(PreActBlock(width, width) for _ in range(blocks - 1)))
        inputs = width
    layers.update(bn=nn.BatchNorm2d(inputs), relu=nn.ReLU(inplace=True), pool=nn.AdaptiveAvgPool2d(1))
    layers.update(flatten=nn.Flatten(), fc=nn.Linear(inputs, num_classes))
    return nn.Sequential(layers)


def preact_resnet18(num_classes: int) -> nn.Module:
    """Pre-activation ResNet-18 with a final BatchNorm: normalised (B,3,H,W) -> logits (B,K).

    Args:
        num_classes: K.

    Source: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016; shape of locuslab/fast_adversarial,
    the base of APR's adversarial training, with torch's default initialisation. 11,172,170 parameters at K = 10.
    """
    return preact_net(64, (64, 128, 256, 512), 2, num_classes)
