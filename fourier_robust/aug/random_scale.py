"""Random zoom: every image enlarged or shrunk about its middle, on a canvas of the same size."""

from __future__ import annotations

import math

import torch

from fourier_robust.aug.views import Params


class RandomScale:
    """Resizes every image by its own factor about the middle; what is beyond is cut off, what is lacking is `fill`.

    The factor's logarithm is uniform, so halving is as frequent as doubling. Resizing is linear and antialiased:
    shrinking averages, or the factor would be one of aliasing too.

    Args:
        scale: smallest and largest factor of lengths, ascending, above 0; ``(1, 1)`` is the identity.
        fill: value around a shrunk image, in [0,1].

    Raises:
        ValueError: an argument outside its range.

    Source:
        Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", CVPR 2021, section 3: scale jittering,
        padded with grey.
    Deviates: the cut is central, for places move by their own step (`CropFlip`); the factor is log-uniform in 0.5 to 2
        (theirs: 0.1 to 2, or 0.8 to 1.25).
    """

    def __init__(self, scale: tuple[float, float] = (0.5, 2.0), fill: float = 0.5019607843137255) -> None:
        low, high = scale
        if not 0 < low <= high < math.inf:
            raise ValueError(f"scale must be an ascending pair above 0, got {tuple(scale)}")
        if not 0 <= fill <= 1:
            raise ValueError(f"fill must lie in [0, 1], got {fill}")
        self.scale, self.fill = (float(low), float(high)), fill

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """`scale` ((B,) float32): the factor of each image."""
        low, high = map(math.log, self.scale)
        return {"scale": torch.rand(shape[0], generator=generator).mul_(high - low).add_(low).exp_()}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) float32 in [0,1] -> the same; `images` is left unchanged."""
        scale = params["scale"].to(images.device, non_blocking=True)
        down, across = (linear_weights(scale, length) for length in images.shape[2:])
        resized = down[:, None] @ images @ across[:, None].transpose(-1, -2)
        covered = down.sum(2)[:, None, :, None] * across.sum(2)[:, None, None, :]
        return resized.add_((1 - covered) * self.fill).clamp_(0, 1)


def linear_weights(scale: torch.Tensor, length: int) -> torch.Tensor:
    """(B,length,length) float32: the weight of input pixel j in output pixel i, resized by (B,) `scale` on one axis.

    A tent over the output pixel's place in the input, one pixel wide on either side, or 1/scale where that is more.
    Weights over all places, also those outside, sum to 1.
    """
    reach = (1 / scale).clamp_min(1)[:, None, None]
    middle = length / 2
    steps = torch.arange(length, device=scale.device) + 0.5
    centres = middle + (steps[None] - middle) / scale[:, None]  # (B,length), input pixels
    beyond = math.ceil(float(reach.max())) + math.ceil(max(0.0, -float(centres.min())))
    every = torch.arange(-beyond, length + beyond, device=scale.device) + 0.5
    tent = (1 - (every - centres[..., None]).abs() / reach).clamp_min_(0)
    return (tent / tent.sum(2, keepdim=True))[..., beyond : beyond + length]
