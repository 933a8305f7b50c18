"""What every corruption is, its parameter table by image size, and the way from [0,1] to grey levels and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch

Params = dict[str, torch.Tensor]
Entry = TypeVar("Entry")
SEVERITIES = range(1, 6)
SMALLEST = 16  # pixels per side
_PIECE = 32 * 32 * 32  # pixels


class Corruption(Protocol):
    """One corruption at one severity; random numbers are drawn apart from their use.

    The common contract of this room. Inputs are 8-bit images given as k/255 (anything else is first rounded to the
    nearest grey level, as reading an 8-bit file would). Outputs are k/255 too: the published scripts cut the decimals
    off (a cast to uint8, not a rounding), and so does every class here.

    Attributes:
        table_size: pixels per side that the parameters in use were published for; another number than the size asked
            for means that there is no table of that size and the nearest one serves.
    """

    table_size: int

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """Draw for a (B,3,H,W) batch, on the generator's device; every value has B rows; {} if nothing is random."""
        ...

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,3,H,W) float32 in [0,1] -> the same, a new tensor; row b depends on image b and row b of `params` only.

        Any H and W from 16 on, square or not.

        Raises:
            ValueError: see `check_images`.
        """
        ...


def parameters(tables: Mapping[int, Sequence[Entry]], size: int, severity: int) -> tuple[int, Entry]:
    """The table's image size and its entry for one severity, from the table nearest to `size`.

    Args:
        tables: five entries by image size (pixels per side).
        size: pixels per side of the images to corrupt; between two tables the smaller one serves.
        severity: 1 to 5.

    Raises:
        ValueError: severity outside 1..5, or size below 1.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity={severity}: must be 1, 2, 3, 4 or 5")
    if size < 1:
        raise ValueError(f"size={size}: must be a number of pixels, 1 or more")
    nearest = min(sorted(tables), key=lambda table: abs(table - size))
    return nearest, tables[nearest][severity - 1]


def to_levels(images: torch.Tensor) -> torch.Tensor:
    """float32 in [0,1] -> the nearest grey level, uint8."""
    return images.mul(255).round_().to(torch.uint8)


def check_images(images: torch.Tensor) -> None:
    """Refuse what no corruption here can take.

    Raises:
        ValueError: not a floating (B,3,H,W) batch, a side below 16 pixels, or values outside [0,1].
    """
    if images.dim() != 4 or images.shape[1] != 3:
        hint = "; repeat the grey channel: images.expand(-1, 3, -1, -1)" if images.dim() == 4 else ""
        raise ValueError(f"images have shape {tuple(images.shape)}: must be (B,3,H,W){hint}")
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}: must be floats in [0,1], e.g. images.float() / 255")
    if min(images.shape[2:]) < SMALLEST:
        raise ValueError(f"images are {images.shape[2]}x{images.shape[3]} pixels: no corruption below {SMALLEST}")
    if len(images):
        low, high = images.aminmax()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ValueError(f"images run from {float(low):g} to {float(high):g}: must lie in [0,1]")


def to_greys(levels: torch.Tensor, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """uint8 -> k/255, correctly rounded in `dtype`.

    The divisor is a tensor because CUDA turns division by a Python number into a multiplication by its reciprocal;
    k/255*255 may then fall just below k, and truncation would take a whole level off.
    """
    return levels.to(dtype) / torch.full((), 255, dtype=dtype, device=levels.device)


def truncate(greys: torch.Tensor) -> torch.Tensor:
    """Any float values -> uint8: clipped to [0,1], times 255, decimals cut off. Overwrites `greys`."""
    return greys.clamp_(0, 1).mul_(255).to(torch.uint8)


def map_levels(
    function: Callable[..., torch.Tensor], images: torch.Tensor, *draws: torch.Tensor, pieces: int = 1
) -> torch.Tensor:
    """Apply a map of uint8 (C,H,W,B), and of rows of `draws`, to the same to (B,C,H,W) float32 images.

    With the batch last, a shift along rows or columns moves long contiguous runs: up to 3 times faster on a CPU.

    Args:
        function: handed some images at a time, contiguous.
        images: in [0,1].
        draws: B rows each.
        pieces: so many times the usual number of images at a time, for a function of many small steps.
    """
    return _by_pieces(
        lambda part, *rows: function(to_levels(part).permute(1, 2, 3, 0).contiguous(), *rows).permute(3, 0, 1, 2),
        images,
        *draws,
        pieces=pieces,
    )


def by_channel(function: Callable[[torch.Tensor], torch.Tensor], levels: torch.Tensor) -> torch.Tensor:
    """A map of (C,H,W,B) that treats the channels alike; one after the other where one alone fills a CPU's cache."""
    if levels.is_cuda or levels[0].numel() < _PIECE:
        return function(levels)
    return torch.cat([function(channel) for channel in levels.split(1)])


def map_values(function: Callable[..., torch.Tensor], images: torch.Tensor, *draws: torch.Tensor) -> torch.Tensor:
    """Apply a map of uint8 (B,C,H,W), and of rows of `draws`, to uint8 of that shape to float32 images."""
    return _by_pieces(lambda part, *rows: function(to_levels(part).contiguous(), *rows), images, *draws)


def _by_pieces(
    function: Callable[..., torch.Tensor], images: torch.Tensor, *draws: torch.Tensor, pieces: int = 1
) -> torch.Tensor:
    """On a CPU in pieces of 32 images of 32 pixels, which stay in the cache: 2 to 5 times faster at 1024 images."""
    check_images(images)
    rows = len(images) if images.is_cuda else pieces * _PIECE // images.shape[2:].numel()
    result = torch.empty(images.shape, device=images.device)
    if not len(images):
        return result
    top = torch.full((), 255.0, device=images.device)
    draws = tuple(draw.to(images.device, non_blocking=True) for draw in draws)
    parts = (tensor.split(max(1, rows)) for tensor in (result, images, *draws))
    for target, *sources in zip(*parts, strict=True):
        target.copy_(function(*sources)).div_(top)
    return result
