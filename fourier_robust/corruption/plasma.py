"""Plasma clouds by the diamond-square algorithm."""

from __future__ import annotations

import torch


def plasma(uniform: torch.Tensor, decay: float) -> torch.Tensor:
    """Cloud maps between 0 and 1 from one uniform draw per place.

    Args:
        uniform: (B,M,M) floats in [-1,1), M a power of two; the draw at (0,0) is not used. The map is periodic.
        decay: the draws' weight falls by its square from one scale to the next.

    Returns:
        (B,M,M) of the same dtype, minimum 0 and maximum 1 in each map.

    Source: Hendrycks and Dietterich 2019, `plasma_fractal`, operation by operation.
    """
    side = uniform.shape[-1]
    if side & (side - 1) or uniform.shape[-2] != side:
        raise ValueError(f"uniform has shape {tuple(uniform.shape)}: the map must be square, a power of two wide")
    cloud = torch.zeros_like(uniform)
    step, wibble = side, 100.0
    while step >= 2:
        half = step // 2
        corners, centres = cloud[:, ::step, ::step], cloud[:, half::step, half::step]
        pairs = corners + corners.roll(-1, 1)
        _mean(centres, pairs + pairs.roll(-1, 2), uniform[:, half::step, half::step], wibble)
        upper = (centres + centres.roll(1, 1)) + (corners + corners.roll(-1, 2))
        lefts = (centres + centres.roll(1, 2)) + (corners + corners.roll(-1, 1))
        _mean(cloud[:, ::step, half::step], upper, uniform[:, ::step, half::step], wibble)
        _mean(cloud[:, half::step, ::step], lefts, uniform[:, half::step, ::step], wibble)
        step, wibble = half, wibble / decay
    cloud -= cloud.amin((1, 2), keepdim=True)
    return cloud.div_(cloud.amax((1, 2), keepdim=True))


def _mean(place: torch.Tensor, total: torch.Tensor, uniform: torch.Tensor, wibble: float) -> None:
    place.copy_(total.div_(4).add_(uniform, alpha=wibble * wibble))
