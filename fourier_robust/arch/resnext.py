"""ResNeXt-29 for 32 x 32 images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from fourier_robust.arch.init import he_fan_out
from fourier_robust.arch.resnet import stage


def resnext29_4x32d(num_classes: int) -> nn.Module:
    """ResNeXt-29, cardinality 4, base width 32: normalised (B,3,H,W) -> logits (B,K).

    Args:
        num_classes: K.

    Source: Xie et al., "Aggregated Residual Transformations", CVPR 2017, as in the AugMix and APR code. Papers print
    "32x4"; the code builds 4 groups of 32 channels (RobustBench's "ResNeXt29_32x4d" is this net). He initialisation,
    also of the linear layer. 6,807,882 parameters at K = 10, 6,900,132 at K = 100.
    """
    from torchvision.models.resnet import Bottleneck

    head = nn.Linear(1024, num_classes)
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 64, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            layer1=stage(Bottleneck, 64, 64, 3, 1, groups=4, base_width=32),
            layer2=stage(Bottleneck, 256, 128, 3, 2, groups=4, base_width=32),
            layer3=stage(Bottleneck, 512, 256, 3, 2, groups=4, base_width=32),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=head,
        )
    )
    he_fan_out(net)
    nn.init.kaiming_normal_(head.weight)
    return net
