"""Objects with masks, backgrounds, and which goes before which: what SI-Score images are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from fourier_robust.dataset.base import content_identity


class Objects(NamedTuple):
    """Foregrounds, each in the middle of a square of its own, the long side of its box M or less.

    Attributes:
        rgba: (N,M,M,4) uint8, colours not multiplied by alpha; alpha is 0 beyond the box.
        boxes: (N,2) int64, (width, height) of the box; even, where `compose` draws them.
        labels: (N,) int64, the model's class.
        classes: class name of each object.
        instances: name of each object.
    """

    rgba: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    instances: tuple[str, ...]

    def layers(self, rows: torch.Tensor) -> torch.Tensor:
        """(B,4,M,M) float32 in [0,1] of the objects at `rows`: colours multiplied by alpha, and alpha."""
        straight = self.rgba[rows].permute(0, 3, 1, 2).float() / 255
        return torch.cat((straight[:, :3] * straight[:, 3:], straight[:, 3:]), 1)


class Backgrounds(NamedTuple):
    """Square backgrounds of the canvas' size: pixels (N,S,S,3) uint8, and their names."""

    pixels: torch.Tensor
    names: tuple[str, ...]


class Pairs(NamedTuple):
    """Which object stands before which background: positions (P,) int64 each."""

    objects: torch.Tensor
    backgrounds: torch.Tensor


class Scenes(NamedTuple):
    """Everything that stays while a factor moves."""

    objects: Objects
    backgrounds: Backgrounds
    pairs: Pairs

    @property
    def size(self) -> int:
        """S, pixels of the canvas."""
        return self.backgrounds.pixels.shape[1]

    def identity(self) -> str:
        """SHA-256 (hex) over pixels, boxes, labels, pairs and names."""
        objects, backgrounds, pairs = self
        names = "\n".join((*objects.classes, "", *objects.instances, "", *backgrounds.names))
        pixels = content_identity(objects.rgba, objects.boxes, objects.labels, backgrounds.pixels, *pairs)
        return hashlib.sha256(f"{pixels}\n{names}".encode()).hexdigest()


def draw_pairs(objects: int, backgrounds: int, each: int, generator: torch.Generator) -> Pairs:
    """Every object before `each` distinct backgrounds, drawn once and kept whatever the factor's value.

    Raises:
        ValueError: `each` is below 1 or above the number of backgrounds.
    """
    if not 1 <= each <= backgrounds:
        raise ValueError(f"backgrounds_each={each} must lie in 1 to {backgrounds}, the number of backgrounds")
    drawn = torch.stack([torch.randperm(backgrounds, generator=generator)[:each] for _ in range(objects)])
    return Pairs(torch.arange(objects).repeat_interleave(each), drawn.flatten())


def pack(cutouts: Sequence[torch.Tensor], side: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Cutouts of any size as `Objects.rgba` and `Objects.boxes`.

    Each is cut tight to its mask (alpha above 0) and resized to a long side of `side` pixels and an even short one:
    colours multiplied by alpha, antialiased bilinear. One that has this size already stays as it is, to the bit.

    Args:
        cutouts: (h,w,4) uint8 each, colours not multiplied by alpha.
        side: M, even; None resizes none of them, M is then the longest side there is, and boxes can be odd.

    Raises:
        ValueError: `side` is odd, or a mask is empty.
    """
    if side is not None and (side < 2 or side % 2):
        raise ValueError(f"side={side} must be even and at least 2")
    tights = [_tight(cutout) for cutout in cutouts]
    wanted, side = side, side or max(max(tight.shape[:2]) for tight in tights)
    rgba, boxes = torch.zeros(len(tights), side, side, 4, dtype=torch.uint8), torch.empty(len(tights), 2).long()
    for row, tight in enumerate(tights):
        scale = side / max(tight.shape[:2])
        height, width = (max(2, 2 * round(length * scale / 2)) for length in tight.shape[:2])
        if wanted is None:
            height, width = tight.shape[:2]
        top, left = (side - height) // 2, (side - width) // 2
        rgba[row, top : top + height, left : left + width] = _resized(tight, height, width)
        boxes[row] = torch.tensor([width, height])
    return rgba, boxes


def _tight(rgba: torch.Tensor) -> torch.Tensor:
    """(h,w,4) -> its part within the box of the mask."""
    down, across = (torch.nonzero(rgba[..., 3].amax(axis))[:, 0] for axis in (1, 0))
    if not len(down):
        raise ValueError("a cutout has an empty mask")
    return rgba[int(down[0]) : int(down[-1]) + 1, int(across[0]) : int(across[-1]) + 1]


def _resized(rgba: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(h,w,4) uint8 -> (height,width,4) uint8, without the colours under the mask's outside."""
    if rgba.shape[:2] == (height, width):
        return rgba
    straight = rgba.permute(2, 0, 1)[None].float() / 255
    layers = torch.cat((straight[:, :3] * straight[:, 3:], straight[:, 3:]), 1)
    layers = F.interpolate(layers, (height, width), mode="bilinear", antialias=True, align_corners=False)
    alpha = layers[:, 3:]
    colour = torch.where(alpha > 0, layers[:, :3] / alpha.clamp_min(1e-6), 0.0)
    return torch.cat((colour, alpha), 1).clamp_(0, 1).mul_(255).round_().to(torch.uint8)[0].permute(1, 2, 0)
