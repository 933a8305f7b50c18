"""RGB to HSV and back in float64, in scikit-image's order of operations, for results that are then truncated.

Choices are made by whole-number arithmetic on bytes (which wraps, harmlessly): torch.where costs 5 ns a value on a CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from fourier_robust.corruption.base import to_greys, truncate


class Hsv(NamedTuple):
    """Hue (in sixths of the circle, [0,6)), saturation and value ([0,1]), each (H,W,B) float64."""

    hue: torch.Tensor
    saturation: torch.Tensor
    value: torch.Tensor


def to_hsv(levels: torch.Tensor) -> Hsv:
    """(3,H,W,B) uint8 -> Hsv; grey pixels have hue and saturation 0; among equal channels blue leads, then green."""
    red, green, blue = levels
    highest = levels.amax(0)
    value = to_greys(highest)
    spread = value - to_greys(levels.amin(0))
    blue_leads = (blue == highest).view(torch.uint8)
    green_leads = (green == highest).view(torch.uint8) * (1 - blue_leads)
    # Red leads: green - blue; green leads: blue - red; blue leads: red - green.
    minuend = green + green_leads * (blue - green) + blue_leads * (red - green)
    subtrahend = blue + green_leads * (red - blue) + blue_leads * (green - blue)
    hue = to_greys(minuend).sub_(to_greys(subtrahend)).div_(spread).nan_to_num_(0)
    hue.add_(green_leads * 2 + blue_leads * 4).div_(torch.full((), 6, dtype=hue.dtype, device=hue.device))
    hue.sub_(hue.floor()).mul_(6).mul_(spread != 0)
    return Hsv(hue, spread.div_(value).nan_to_num_(0), value)


def from_hsv(hsv: Hsv) -> torch.Tensor:
    """Hsv -> (3,H,W,B) uint8, truncated. In each sixth one channel is the value, one the lowest, one between them."""
    hue, saturation, value = hsv
    sixth = hue.floor()
    sector = sixth.to(torch.uint8)
    # The fraction of the sixth in the odd sixths, 1 minus it in the even ones.
    slope = (1 - (sector & 1)).sub(hue - sixth).abs_().mul_(saturation)
    lowest = truncate((1 - saturation).mul_(value))
    between = truncate((1 - slope).mul_(value))
    highest = truncate(value.clone())
    # Steps from the two sixths in which the channel is the highest: 0 highest, 1 between, 2 lowest.
    turned = torch.stack((sector, sector + 4, sector + 2))
    turned = torch.minimum(turned, turned - 6)
    steps = torch.minimum(turned, 5 - turned)
    return highest + (steps & 1) * (between - highest) + (steps >> 1) * (lowest - highest)
