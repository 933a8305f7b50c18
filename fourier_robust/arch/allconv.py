"""AllConv: a plain convolutional net with max pooling, as the AugMix and APR papers use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from fourier_robust.arch.init import he_fan_out


class SigmoidGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, the cheap stand-in for GELU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise; written with silu, which keeps one tensor for the backward pass, not three."""
        return F.silu(1.702 * x) / 1.702


class AllConv(nn.Module):
    """Nine convolutions (96-192 channels) with BatchNorm, then the mean over 8 x 8 positions and a linear layer.

    The two 1x1 convolutions are padded by one pixel, so the last map is 10 x 10 (8 -> 6 -> 8 -> 10) and the 8 x 8 mean
    sees its top left part only. The published numbers were made with it, so it stays.

    Args:
        num_classes: K.

    Source: Springenberg et al., "Striving for Simplicity", 2014, arXiv 1412.6806, in the variant of the AugMix code
    (models/cifar/allconv.py), which the APR code repeats. 1,409,674 parameters at K = 10, 1,427,044 at K = 100.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_layer(3, 96, 3, 1),
            *_layer(96, 96, 3, 1),
            *_layer(96, 96, 3, 1),
            nn.MaxPool2d(2),
            nn.Dropout(0.5),
            *_layer(96, 192, 3, 1),
            *_layer(192, 192, 3, 1),
            *_layer(192, 192, 3, 1),
            nn.MaxPool2d(2),
            nn.Dropout(0.5),
            *_layer(192, 192, 3, 0),
            *_layer(192, 192, 1, 1),
            *_layer(192, 192, 1, 1),
            nn.AvgPool2d(8),
        )
        self.classifier = nn.Linear(192, num_classes)
        he_fan_out(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B,3,32,32) -> logits (B,K). Raises ValueError at any other image size."""
        if x.shape[-2:] != (32, 32):
            raise ValueError(f"AllConv takes 32 x 32 images only, got {x.shape[-2]} x {x.shape[-1]}")
        return self.classifier(self.features(x).flatten(1))


def _layer(inputs: int, outputs: int, kernel: int, padding: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), SigmoidGELU()
