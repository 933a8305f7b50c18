"""Residual nets for 32 x 32 images: ResNet-18 with a 3x3 stem, and He's ResNet-20 and ResNet-32."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fourier_robust.arch.init import he_fan_out


def stage(block: Any, inputs: int, width: int, blocks: int, stride: int, **options: Any) -> nn.Sequential:
    """A row of torchvision residual blocks; the first has the stride and, where shapes differ, a 1x1 conv shortcut.

    Args:
        block: torchvision's BasicBlock or Bottleneck.
        inputs: channels in.
        width: the block's base width; channels out are ``width * block.expansion``.
        blocks: how many.
        stride: of the first block.
        options: passed to every block (groups, base_width).
    """
    outputs = width * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = block(inputs, width, stride, shortcut, **options)
    return nn.Sequential(first, *(block(outputs, width, **options) for _ in range(blocks - 1)))


def resnet18(num_classes: int) -> nn.Module:
    """ResNet-18 with a 3x3 stem and no max pooling: normalised (B,3,H,W) -> logits (B,K).

    Args:
        num_classes: K.

    Source: He et al., "Deep Residual Learning", CVPR 2016, in the CIFAR shape of kuangliu/pytorch-cifar, which the APR
    code uses with torch's default initialisation. 11,173,962 parameters at K = 10, 11,220,132 at K = 100.
    """
    from torchvision.models.resnet import BasicBlock

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 64, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            layer1=stage(BasicBlock, 64, 64, 2, 1),
            layer2=stage(BasicBlock, 64, 128, 2, 2),
            layer3=stage(BasicBlock, 128, 256, 2, 2),
            layer4=stage(BasicBlock, 256, 512, 2, 2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(512, num_classes),
        )
    )


class OptionABlock(nn.Module):
    """Two 3x3 convolutions with BN; where shapes differ the shortcut is every second pixel, padded with zero channels.

    Args:
        inputs: channels in.
        outputs: channels out; half of the new ones are put before the old ones, half behind.
        stride: of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.side = stride, (outputs - inputs) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B,inputs,H,W) -> (B,outputs,H/stride,W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.side:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.side, self.side))
        return F.relu(out + x, inplace=True)


def resnet20(num_classes: int) -> nn.Module:
    """He's CIFAR ResNet-20 with parameter-free shortcuts (option A): normalised (B,3,H,W) -> logits (B,K).

    State-dict names are those of akamaster/pytorch_resnet_cifar10, so its weights load once their "module." prefix is
    cut; those expect mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).

    Args:
        num_classes: K.

    Source: He et al., "Deep Residual Learning", CVPR 2016, section 4.2. 269,722 parameters at K = 10.
    """
    return _option_a(num_classes, 3)


def resnet32(num_classes: int) -> nn.Module:
    """He's CIFAR ResNet-32, as `resnet20` with five blocks per stage; 464,154 parameters at K = 10."""
    return _option_a(num_classes, 5)


def _option_a(num_classes: int, blocks: int) -> nn.Module:
    def row(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        rest = (OptionABlock(outputs, outputs) for _ in range(blocks - 1))
        return nn.Sequential(OptionABlock(inputs, outputs, stride), *rest)

    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            relu=nn.ReLU(inplace=True),
            layer1=row(16, 16, 1),
            layer2=row(16, 32, 2),
            layer3=row(32, 64, 2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(64, num_classes),
        )
    )
    he_fan_out(net)
    return net
