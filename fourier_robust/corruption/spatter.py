"""Spatter: drops of water (severities 1 to 3) or mud (4 and 5) on the lens."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch

from fourier_robust.corruption.base import Params, map_levels, parameters, to_greys, truncate
from fourier_robust.corruption.blur import smoother
from fourier_robust.corruption.edges import PIXEL, box3, canny, chamfer, mirrored

_WATER = (175, 238, 238)
_MUD = (63, 42, 20)
_RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))


class _Liquid(NamedTuple):
    mean: float  # of the normal field
    deviation: float
    sigma: float  # of its blur
    threshold: float  # liquid is what lies above
    amount: float  # opacity of water, or sigma of the mud's blur
    mud: bool


class Spatter:
    """Liquid where a blurred normal field passes a threshold.

    Water gets a relief from the distance to its edges; mud covers what its blurred mask keeps above 0.8. Published
    quirk kept: a field above 1 wraps around when cut to 8 bits (water, severity 3).

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); OpenCV's Canny, distanceTransform, blur, equalizeHist and
        filter2D.
    Deviates: an image on which no water falls stays as it is; the published code divides 0 by 0 there.
    """

    TABLES: ClassVar[dict[int, tuple[_Liquid, ...]]] = {
        32: (
            _Liquid(0.62, 0.1, 0.7, 0.7, 0.5, False),
            _Liquid(0.65, 0.1, 0.8, 0.7, 0.5, False),
            _Liquid(0.65, 0.3, 1, 0.69, 0.5, False),
            _Liquid(0.65, 0.1, 0.7, 0.69, 0.6, True),
            _Liquid(0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
        64: (
            _Liquid(0.62, 0.1, 0.7, 0.7, 0.6, False),
            _Liquid(0.65, 0.1, 0.8, 0.7, 0.6, False),
            _Liquid(0.65, 0.3, 1, 0.69, 0.6, False),
            _Liquid(0.65, 0.1, 0.7, 0.68, 0.6, True),
            _Liquid(0.65, 0.1, 0.5, 0.67, 0.6, True),
        ),
        224: (
            _Liquid(0.65, 0.3, 4, 0.69, 0.6, False),
            _Liquid(0.65, 0.3, 3, 0.68, 0.6, False),
            _Liquid(0.65, 0.3, 2, 0.68, 0.5, False),
            _Liquid(0.65, 0.3, 1, 0.65, 1.5, True),
            _Liquid(0.67, 0.4, 1, 0.65, 1.5, True),
        ),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.liquid = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"noise": (B,H,W) float32 standard normal}."""
        batch, _, height, width = shape
        return {"noise": torch.randn(batch, height, width, generator=generator, device=generator.device)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._mud if self.liquid.mud else self._water, images, params["noise"], pieces=32)

    def _field(self, noise: torch.Tensor) -> torch.Tensor:
        """(B,H,W) normal -> (H,W,B) float64, 0 below the threshold."""
        liquid = self.liquid
        field = _blur(noise.double(), liquid.sigma).mul_(liquid.deviation).add_(liquid.mean)
        return field.mul_(field >= liquid.threshold).permute(1, 2, 0).contiguous()

    def _water(self, levels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        liquid = self._field(noise).mul_(255).int().bitwise_and_(255).to(torch.uint8)
        distance = chamfer(canny(liquid, 50, 150)).clamp_(max=20 * PIXEL)
        shade = box3(distance).div_(9 * PIXEL, rounding_mode="floor").to(torch.uint8)
        shade = box3(_relief(_equalize(shade)).int()).add_(4).div_(9, rounding_mode="floor")
        drops = liquid.float() * shade
        drops = (drops / drops.amax((0, 1))).nan_to_num_(0).mul_(self.liquid.amount)
        colour = to_greys(torch.tensor(_WATER, device=levels.device), torch.float32)[:, None, None, None]
        return truncate(to_greys(levels, torch.float32).add_(drops * colour))

    def _mud(self, levels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        mask = (self._field(noise) > self.liquid.threshold).permute(2, 0, 1).double()
        mask = _blur(mask, self.liquid.amount).float()
        mask = mask.mul_(mask >= 0.8).permute(1, 2, 0).contiguous()
        colour = to_greys(torch.tensor(_MUD, device=levels.device), torch.float32)[:, None, None, None]
        return truncate(to_greys(levels, torch.float32).mul_(1 - mask).add_(mask * colour))


def _blur(fields: torch.Tensor, sigma: float) -> torch.Tensor:
    rows, columns = (smoother(length, sigma, 4, "nearest").to(fields.device) for length in fields.shape[1:])
    return rows @ fields @ columns.T


def _equalize(levels: torch.Tensor) -> torch.Tensor:
    """Histogram equalisation of (H,W,B) uint8 as OpenCV's equalizeHist; a layer of one level stays as it is."""
    pixels = levels.flatten(0, 1).T.long()
    counts = torch.zeros(len(pixels), 256, dtype=torch.int64, device=levels.device)
    counts.scatter_add_(1, pixels, torch.ones_like(pixels))
    first = counts.gather(1, pixels.amin(1, keepdim=True))
    scale = 255 / (pixels.shape[1] - first).float()
    table = (counts.cumsum(1) - first).clamp_(min=0).float().mul_(scale).nan_to_num_(0).round_().clamp_(0, 255)
    table = torch.where(first == pixels.shape[1], torch.arange(256, device=levels.device), table)
    return table.to(torch.uint8).gather(1, pixels).T.reshape(levels.shape)


def _relief(levels: torch.Tensor) -> torch.Tensor:
    """Light from the upper left: 3x3 correlation of (H,W,B) uint8, cut to 0 to 255."""
    padded = mirrored(levels.int())
    height, width, _ = levels.shape
    total = torch.zeros_like(levels, dtype=torch.int32)
    for down, line in enumerate(_RELIEF):
        for right, weight in enumerate(line):
            if weight:
                total.add_(padded[down : down + height, right : right + width], alpha=weight)
    return total.clamp_(0, 255).to(torch.uint8)
