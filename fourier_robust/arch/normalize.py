"""The first layer of every model: pixels in [0,1] become zero mean, unit variance per channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Normalized(nn.Module):
    """``net((images - mean) / std)``, with both constants in the state dict.

    Attacks, Fourier noise and corruptions therefore work in [0,1] pixels, and a checkpoint carries its normalisation.

    Args:
        net: takes normalised (B,C,H,W), returns logits (B,K); kept as `.net`.
        mean: C channel means, in units of [0,1] pixels.
        std: C channel standard deviations, > 0, the same units.

    Raises:
        ValueError: `std` has another length than `mean`, or a value that is not positive.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"std must hold {len(mean)} positive numbers, one per channel of mean, got {tuple(std)}")
        self.net = net
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) float32 in [0,1], any memory format -> logits (B,K)."""
        return self.net(self.normalize(images))

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) -> the same shape and memory format, normalised; `images` is left unchanged."""
        return (images - self.mean).div_(self.std)

    @property
    def init_from_data(self) -> Callable[[torch.Tensor], None]:
        """`net.init_from_data` for (N,C,H,W) images in [0,1]; there only if the net has it (``hasattr`` tells)."""
        net: Any = self.net
        init = net.init_from_data  # the AttributeError of a net without it makes hasattr() false here too
        return lambda images: init(self.normalize(images.to(self.mean.device)))
