"""He initialisation, shared by the CIFAR nets of the AugMix and APR code."""

from __future__ import annotations

from torch import nn


def he_fan_out(net: nn.Module) -> None:
    """Set every convolution's weight to N(0, 2 / (kH kW C_out)) and every linear layer's bias to 0, in place.

    BatchNorm keeps torch's default (weight 1, bias 0); convolution biases and linear weights keep theirs too.

    Args:
        net: any module; its convolutions may be grouped (C_out counts all groups).

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 14 (the fan-out form).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
