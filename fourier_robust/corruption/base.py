"""What every corruption is, its parameter table by image size, and the way from [0,1] to grey levels and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch

Params = dict[str, torch.Tensor]
Entry = TypeVar("Entry")
SEVERITIES = range(1, 6)
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
        """(B,3,H,W) float32 in [0,1] -> the same, a new tensor; row b depends on image b and row b of `params` only."""
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


def to_greys(levels: torch.Tensor, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """uint8 -> k/255, correctly rounded in `dtype`.

    The divisor is a tensor because CUDA turns division by a Python number into a multiplication by its reciprocal;
    k/255*255 may then fall just below k, and truncation would take a whole level off.
    """
    return levels.to(dtype) / torch.full((), 255, dtype=dtype, device=levels.device)


def truncate(greys: torch.Tensor) -> torch.Tensor:
    """Any float values -> uint8: clipped to [0,1], times 255, decimals cut off. Overwrites `greys`."""
    return greys.clamp_(0, 1).mul_(255).to(torch.uint8)


def map_levels(function: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Apply a map of uint8 (C,H,W,B) to the same to (B,C,H,W) float32 images.

    With the batch last, a shift along rows or columns moves long contiguous runs: up to 3 times faster on a CPU.
    """
    return _by_pieces(
        lambda part: function(to_levels(part).permute(1, 2, 3, 0).contiguous()).permute(3, 0, 1, 2), images
    )


def map_values(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], images: torch.Tensor, draw: torch.Tensor
) -> torch.Tensor:
    """Apply a map of uint8 (B,C,H,W) and a draw of that shape to uint8, value by value, to float32 images."""
    draw = draw.to(images.device, non_blocking=True)
    return _by_pieces(lambda part, rows: function(to_levels(part).contiguous(), rows), images, draw)


def _by_pieces(function: Callable[..., torch.Tensor], images: torch.Tensor, *draws: torch.Tensor) -> torch.Tensor:
    """On a CPU in pieces of 32 images of 32 pixels, which stay in the cache: 2 to 5 times faster at 1024 images."""
    rows = len(images) if images.is_cuda else max(1, _PIECE // images.shape[2:].numel())
    result = torch.empty(images.shape, device=images.device)
    top = torch.full((), 255.0, device=images.device)
    parts = (tensor.split(rows) for tensor in (result, images, *draws))
    for target, *sources in zip(*parts, strict=True):
        target.copy_(function(*sources)).div_(top)
    return result
