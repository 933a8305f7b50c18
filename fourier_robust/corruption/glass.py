"""Blur as through frosted glass: pixels moved about within a small window, between two Gaussian blurs."""

from __future__ import annotations

from typing import ClassVar

import torch

from fourier_robust.corruption.base import Params, map_levels, parameters
from fourier_robust.corruption.blur import blur_levels, gaussian_weights


class GlassBlur:
    """Blurs, replaces each pixel by one from its neighbourhood (once to three times over), and blurs again.

    Published quirks kept: the code means to swap two pixels, but on NumPy rows its line is a copy, so pixels vanish and
    others double (a true swap raises the gradient energy by a third and makes another benchmark). The window is
    lopsided, from -d to d-1, and the loop leaves a frame of d+1 pixels at the top and left and of d-1 at the bottom and
    right as it is. It runs from the last pixel back, so a pixel may copy one that was copied before.

    The sequence of copies is resolved at once: a pixel's source is either still untouched or has a source itself, so
    following the sources by doubling (source of the source, and so on) takes 3 or 6 gathers for the whole batch. Equal
    to the loop, bit for bit.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py, make_tinyimagenet_c.py, make_imagenet_c.py.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, int, int], ...]]] = {
        32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),  # sigma, d, passes
        64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (sigma, self.reach, self.passes) = parameters(self.TABLES, size, severity)
        self.weights = gaussian_weights(sigma)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"offsets": (B, passes, 2, H-2d, W-2d) int8 in [-d,d)}: rows and columns to each moved pixel's source."""
        batch, _, height, width = shape
        moved = (batch, self.passes, 2, height - 2 * self.reach, width - 2 * self.reach)
        device = generator.device
        drawn = torch.randint(-self.reach, self.reach, moved, generator=generator, device=device, dtype=torch.int8)
        return {"offsets": drawn}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._shatter, images, params["offsets"])

    def _shatter(self, levels: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        _, height, width, batch = levels.shape
        places = torch.arange(height * width * batch, dtype=torch.int32, device=levels.device)
        for drawn in offsets.flip(1).unbind(1):  # the last pass reads from the one before
            places = self._origins(drawn, height, width).index_select(0, places)
        blurred = blur_levels(levels, self.weights).flatten(1)
        moved = blurred.index_select(1, places).view(levels.shape)
        return blur_levels(moved, self.weights)

    def _origins(self, offsets: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B,2,h,w) offsets of one pass -> (HWB,) int32: which old value ends up where."""
        d, batch, device = self.reach, len(offsets), offsets.device
        rows = torch.arange(d + 1, height - d + 1, dtype=torch.int32, device=device)[:, None, None]
        columns = torch.arange(d + 1, width - d + 1, dtype=torch.int32, device=device)[:, None]
        down, right = offsets.permute(1, 2, 3, 0).int()
        steps = down * width + right
        # Read after it was written: later in the loop's reversed order, and inside the frame.
        written = steps > 0
        written &= down <= height - d - rows
        written &= (right > d - columns) & (right <= width - d - columns)
        # Nodes: the new values, then as many old ones, which point to themselves.
        values = height * width * batch
        link = torch.arange(2 * values, dtype=torch.int32, device=device)
        new = link[:values]
        new += values
        inner = new.view(height, width, batch)[d + 1 : height - d + 1, d + 1 : width - d + 1]
        inner.add_(steps, alpha=batch).sub_(written.int(), alpha=values)
        resolved = False
        while not resolved:
            for _ in range(3):
                new.copy_(link.index_select(0, new))
            resolved = bool((new >= values).all())
        return new - values
