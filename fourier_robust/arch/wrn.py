"""Wide ResNets for 32 x 32 images."""

from __future__ import annotations

from torch import nn

from fourier_robust.arch.init import he_fan_out
from fourier_robust.arch.preact_resnet import preact_net


def wrn_40_2(num_classes: int) -> nn.Module:
    """Wide ResNet of depth 40, width factor 2, no dropout: normalised (B,3,H,W) -> logits (B,K).

    Args:
        num_classes: K.

    Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, as in the AugMix and APR code (6 blocks per
    stage, widths 32-64-128). 2,243,546 parameters at K = 10, 2,255,156 at K = 100.
    """
    net = preact_net(16, (32, 64, 128), 6, num_classes)
    he_fan_out(net)
    return net
