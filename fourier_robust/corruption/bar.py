"""What the C-bar corruptions share: pieces of a batch, uniform draws, lengths, interpolation, the table of severities.

CIFAR-10-C-bar and ImageNet-C-bar: Mintun, Kirillov and Xie 2021 (2102.11273); definitions and severities of the
authors' repository facebookresearch/augmentation-corruption at commit c7d90e3, folder ``imagenet_c_bar`` (for numpy
1.19.2, scipy 1.5.2, scikit-image 0.16.2). A severity there is a number between 0.5 and 10, five per corruption; TABLES
holds them in rising order under 32 (CIFAR-10-C-bar) and 224 (ImageNet-C-bar).

Common to all of them:

- Every class ends in the published cast to uint8, which cuts the decimals off (one exception says so).
- The published code knows square images only. Here positions are drawn over H and W, and every length is in units of
  the shorter side; for square images that is the same.
- Their ImageNet script saves the result as JPEG of quality 85, after a resize to 256 and a crop of 224: neither is
  part of a corruption, and neither is done here.
- Their loader's workers may share the state of NumPy's generator, and so their draws; here each image has its own.
- float32 and float64 are used where numpy 1.19 did: in float32 images a product with a number stays float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from fourier_robust.corruption.base import Params, check_images, to_levels

Shape = tuple[int, int, int, int]
_PIECE = {"cpu": 1 << 15, "cuda": 1 << 22}  # pixels


def map_images(
    function: Callable[[torch.Tensor, Params], torch.Tensor], images: torch.Tensor, params: Params
) -> torch.Tensor:
    """Apply a map of (uint8 (B,3,H,W), params) to uint8, in pieces of the batch, to (B,3,H,W) float32 images."""
    check_images(images)
    rows = max(1, _PIECE.get(images.device.type, 1 << 15) // images.shape[2:].numel())
    result = torch.empty(images.shape, device=images.device)
    moved = {name: value.to(images.device, non_blocking=True) for name, value in params.items()}
    for start in range(0, len(images), rows):
        part = slice(start, start + rows)
        levels = to_levels(images[part]).contiguous()
        result[part] = function(levels, {name: value[part] for name, value in moved.items()})
    return result.div_(torch.full((), 255.0, device=images.device))


def uniform(shape: tuple[int, ...], generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """float64 in [low,high), on the generator's device."""
    draw = torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)
    return draw.mul_(high - low).add_(low)


def positions(
    number: int, generator: torch.Generator, shape: Shape, low: float = 0.0, high: float = 1.0
) -> torch.Tensor:
    """(B,number,2) float64: row in [low H, high H) and column in [low W, high W)."""
    sides = torch.tensor(shape[2:], dtype=torch.float64, device=generator.device)
    return uniform((shape[0], number, 2), generator, low, high).mul_(sides)


def mesh(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Row numbers (H,1) and column numbers (1,W) of (...,H,W) images, float64 on their device."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, dtype=torch.float64, device=like.device)
    return rows[:, None], torch.arange(width, dtype=torch.float64, device=like.device)[None]


def side(shape: tuple[int, ...]) -> int:
    """The shorter side of (...,H,W) in pixels, the unit of length."""
    return min(shape[-2:])


def cut(values: torch.Tensor) -> torch.Tensor:
    """Any float values in levels -> uint8: clipped to [0,255], decimals cut off. Overwrites `values`."""
    return values.clamp_(0, 255).to(torch.uint8)


def bilinear(values: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """The image between its pixels, black outside; in the order of operations and with the roundings of numpy 1.19.

    A product of a float32 pixel and a weight is rounded to float32; a sum with an outside pixel, which is an integer
    array there, leaves float32, and so does what follows.

    Args:
        values: (B,C,H,W) float32 or float64.
        row: (B,H,W) float64, in pixels from the first one's centre.
        column: likewise.

    Returns:
        (B,C,H,W) float64.
    """
    channels, height, width = values.shape[1:]
    flat = values.flatten(2)
    top, left = row.floor(), column.floor()
    # The weights of the far pixels as 1 - (top + 1) + row: not the same bits as row - top.
    row_weights = (1.0 - row + top, 1.0 - (top + 1) + row)
    column_weights = (1.0 - column + left, 1.0 - (left + 1) + column)
    narrow, wide = [], []
    whole = torch.ones(row.shape, dtype=torch.bool, device=values.device)
    for down in (0, 1):
        line = torch.zeros_like(values)
        inside_line = torch.ones_like(whole)
        for right in (0, 1):
            y, x = top + down, left + right
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long()
            pixel = flat.gather(2, index.flatten(1)[:, None].expand(-1, channels, -1)).view_as(values)
            weight = column_weights[right].to(values.dtype)
            line = line + (pixel * weight[:, None]) * inside[:, None]
            inside_line &= inside
        weight = row_weights[down]
        rounded = line * weight.to(values.dtype)[:, None]
        narrow.append(rounded)
        wide.append(torch.where(inside_line[:, None], rounded.double(), line.double() * weight[:, None]))
        whole &= inside_line
    return torch.where(whole[:, None], (narrow[0] + narrow[1]).double(), wide[0] + wide[1])


def cubic(position: torch.Tensor, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The four (pixel, weight) pairs of a cubic B-spline at positions in [0, length-1], mirrored at both ends.

    The weights are computed as in scipy.ndimage, the fourth as 1 minus the others.
    """
    first = position.floor()
    near = position - first
    far = 1 - near
    inner = (near * near * (near - 2) * 3 + 4) / 6
    outer = (far * far * (far - 2) * 3 + 4) / 6
    start = far * far * far / 6
    taps = []
    for offset, weight in enumerate((start, inner, outer, 1 - start - inner - outer), -1):
        index = (first.long() + offset).abs_()
        taps.append((length - 1 - (length - 1 - index).abs_(), weight))
    return taps
