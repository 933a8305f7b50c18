"""What maps over the plane of frequencies share: the cells, the noise of one frequency, means over both halves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from fourier_robust.fourier.basis import Phase, fourier_basis, random_phases
from fourier_robust.run.seed import derive

NORMS = {32: 4.0, 224: 15.7}  # the paper's, L2 per channel, by pixels per side
Cells = Literal["all", "centre63", "rings"]
Frequency = tuple[int, int]


def usual_norm(size: int) -> float:
    """The paper's: 4.0 up to 128 pixels per side, 15.7 above."""
    return NORMS[32 if size <= 128 else 224]


class FourierNoise:
    """``x + r eps U``: the basis image of one frequency, with a sign r per image and channel.

    Signs and phases are drawn on the CPU, image after image, so the sizes of the batches decide nothing.

    Args:
        frequency: cycles per image, down and across.
        size: pixels per side.
        norm: eps, the L2 norm of what is added to each channel, pixels in [0,1].
        phase: of the basis image; ``random`` is per image.
        clip: whether the sum is cut to [0,1].
        seed: with the frequency, of the draws.
    """

    def __init__(
        self, frequency: Frequency, size: int, norm: float, phase: Phase | Literal["random"], clip: bool, seed: int
    ) -> None:
        self._freqs = torch.tensor([frequency])
        self._size, self._norm, self._clip = size, norm, clip
        self._draw = torch.Generator().manual_seed(derive(seed, "heatmap", *frequency))
        self._fixed = None if phase == "random" else norm * fourier_basis(self._freqs, size, size, phase)

    def add(self, images: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W), the next images of the set -> the same with noise, beyond [0,1] where it is not clipped."""
        count, channels = images.shape[:2]
        signs = torch.randint(2, (count, channels, 1, 1), generator=self._draw).mul(2).sub(1)
        basis = self._fixed
        if basis is None:
            phases = random_phases(count, self._draw)
            basis = self._norm * fourier_basis(self._freqs.expand(count, -1), self._size, self._size, phases)
        # One pass: images + signs * basis takes 4 times as long in channels_last (1000 images of 32 x 32).
        added = torch.addcmul(images, signs.to(images), basis[:, None].to(images))
        return added.clamp_(0, 1) if self._clip else added


def drawn_images(count: int, images: int | None, seed: int) -> torch.Tensor:
    """(M,) int64, ascending: which of `count` images, drawn without replacement; all for None or fewer than wanted."""
    draw = torch.Generator().manual_seed(derive(seed, "heatmap", "images"))
    return torch.randperm(count, generator=draw)[: min(images or count, count)].sort().values


def half_plane(size: int, cells: str, per_ring: int, seed: int) -> list[Frequency]:
    """The frequencies of one half of the plane, nearest to zero first.

    Args:
        size: pixels per side.
        cells: ``all``; ``centre63``, |u| and |v| at most 31; ``rings``, up to `per_ring` directions of each radius.
        per_ring: see `cells`.
        seed: of the choice on a ring.
    """
    low, high = -(size // 2), (size - 1) // 2
    if cells == "centre63":
        low, high = max(low, -31), min(high, 31)
    every = {(u, v) for u in range(low, high + 1) for v in range(low, high + 1)}
    half = {max(cell, mirror(cell, size)) for cell in every}
    ordered = sorted(half, key=lambda cell: (cell[0] ** 2 + cell[1] ** 2, cell))
    if cells != "rings":
        return ordered
    draw = torch.Generator().manual_seed(seed)
    shuffled = [ordered[i] for i in torch.randperm(len(ordered), generator=draw).tolist()]
    rings: dict[int, list[Frequency]] = {}
    for cell in shuffled:
        rings.setdefault(ring_of(cell), []).append(cell)
    return [cell for ring in sorted(rings) for cell in sorted(rings[ring][:per_ring])]


def mirror(cell: Frequency, size: int) -> Frequency:
    """(-u,-v), where -size/2 stands for size/2 too."""
    u, v = ((-value if 2 * value != -size else value) for value in cell)
    return u, v


def ring_of(cell: Frequency) -> int:
    """round(sqrt(u^2 + v^2)), cycles per image."""
    return round((cell[0] ** 2 + cell[1] ** 2) ** 0.5)


def mean_of_cells(values: Mapping[Frequency, torch.Tensor], chosen: Sequence[Frequency], size: int) -> torch.Tensor:
    """(N,) float64: each image's mean over the chosen frequencies, in both halves of the plane."""
    weights = torch.tensor([1 if mirror(cell, size) == cell else 2 for cell in chosen]).double()
    return (weights[:, None] * torch.stack([values[cell] for cell in chosen])).sum(0) / weights.sum()


def rings_and_mean(values: Mapping[Frequency, torch.Tensor], size: int) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """(N,) per-image means: over all frequencies without the mean image, and of each ring."""
    rings: dict[int, list[Frequency]] = {}
    for cell in values:
        rings.setdefault(ring_of(cell), []).append(cell)
    overall = mean_of_cells(values, [cell for cell in values if cell != (0, 0)], size)
    return overall, {ring: mean_of_cells(values, rings[ring], size) for ring in sorted(rings)}


def plane_of(values: Mapping[Frequency, float], size: int) -> np.ndarray:
    """(H,W) float64, zero frequency at (H//2,W//2), both halves; NaN where nothing was measured."""
    plane = np.full((size, size), np.nan)
    for cell, value in values.items():
        for u, v in (cell, mirror(cell, size)):
            plane[(u + size // 2) % size, (v + size // 2) % size] = value
    return plane
