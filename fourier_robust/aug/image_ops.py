"""AugMix's nine image operations on batches: one operation and one parameter per image, PIL's 8-bit results.

Images are (B,C,H,W) uint8: shuffling them between operations costs a quarter of what float32 would.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch

from fourier_robust.aug.affine import affine, window

OPERATIONS = (
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
AUTOCONTRAST, EQUALIZE, POSTERIZE, SOLARIZE, ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y = range(9)
# Operations that run as one batch bear the number of their first.
_GROUP = torch.tensor([0, 1, 2, 3, ROTATE, ROTATE, ROTATE, TRANSLATE_X, TRANSLATE_X])
# Values of a float32 batch that are worked on at a time on a CPU, so that temporaries stay in cache.
_CACHE_VALUES = 2**20


class Draw(NamedTuple):
    """One operation per image, on the CPU.

    Attributes:
        operation: (B,) int64, index into `OPERATIONS`.
        value: (B,) float64. posterize: bits kept; solarize: the grey level from which on it inverts; rotate: degrees,
            counter-clockwise; shears: pixels per pixel; translations: pixels; 0 for the two without a parameter.
    """

    operation: torch.Tensor
    value: torch.Tensor

    def at(self, rows: torch.Tensor | slice) -> Draw:
        """The draw of some of the images."""
        return Draw(self.operation[rows], self.value[rows])


def sample_operations(shape: tuple[int, int, int, int], magnitude: float, generator: torch.Generator) -> Draw:
    """Draw for every image of a batch one of the nine operations, uniformly, and its parameter.

    Args:
        shape: (B,C,H,W); translations are in proportion to W or H.
        magnitude: in [0.1,10]; each image's level is uniform in [0.1, magnitude).
        generator: on the CPU.

    Source: AugMix (Hendrycks et al., ICLR 2020), google-research/augmix 9b9824c: whole numbers are truncated, signs are
        fair coins. At magnitude 3 posterize keeps 4 bits (83 %) or 3, solarize inverts from 180..254 on.
    """
    count, _, height, width = shape
    operation = torch.randint(len(OPERATIONS), (count,), generator=generator)
    uniform, coin = torch.rand(2, count, dtype=torch.float64, generator=generator).numpy()
    which = operation.numpy()
    level = 0.1 + (magnitude - 0.1) * uniform
    # Per operation: where the parameter starts, and how far from there level 10 takes it.
    start = np.array([0, 0, 4, 256, 0, 0, 0, 0, 0], np.float64)[which]
    reach = np.array([0, 0, 4, 256, 30, 0.3, 0.3, width / 3, height / 3])[which]
    distance = level * reach / 10
    fractional = (which == SHEAR_X) | (which == SHEAR_Y)
    downward = (which <= SOLARIZE) | (coin > 0.5)
    distance = np.where(fractional, distance, np.trunc(distance))
    return Draw(operation, torch.from_numpy(start + np.where(downward, -distance, distance)))


def apply_operations(grey: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Every image of a (B,C,H,W) uint8 batch through the operation drawn for it -> a new batch.

    The batch is sorted by operation, so that each runs once and on its own images only.
    """
    order = _GROUP[draw.operation].argsort()
    ordered = draw.at(order)
    groups, counts = _GROUP[ordered.operation].unique_consecutive(return_counts=True)
    sizes = counts.tolist()
    pieces = grey.index_select(0, order.to(grey.device, non_blocking=True)).split(sizes)
    draws = zip(ordered.operation.split(sizes), ordered.value.split(sizes), strict=True)
    done = [_operate(*each) for each in zip(groups.tolist(), pieces, itertools.starmap(Draw, draws), strict=True)]
    return torch.cat(done).index_select(0, order.argsort().to(grey.device, non_blocking=True))


def _operate(group: int, grey: torch.Tensor, draw: Draw) -> torch.Tensor:
    if group == AUTOCONTRAST:
        return autocontrast(grey)
    if group == EQUALIZE:
        return equalize(grey)
    if group == POSTERIZE:
        return posterize(grey, draw.value)
    if group == SOLARIZE:
        return solarize(grey, draw.value)
    if group == ROTATE:
        return rotate_or_shear(grey, draw)
    return translate(grey, draw)


def rotate_or_shear(grey: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Turn each image about its centre, or shear it about its upper left corner, as drawn."""
    operation, value = draw.operation.numpy(), draw.value.numpy()
    y, x = grey.shape[2] / 2, grey.shape[3] / 2
    angle = np.deg2rad(np.where(operation == ROTATE, value, 0))
    cos, sin = np.cos(angle), np.sin(angle)
    matrices = np.empty((len(value), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = cos
    matrices[:, 0, 1] = np.where(operation == SHEAR_X, value, -sin)
    matrices[:, 1, 0] = np.where(operation == SHEAR_Y, value, sin)
    matrices[:, 0, 2] = x - cos * x + sin * y
    matrices[:, 1, 2] = y - sin * x - cos * y
    return affine(grey, torch.from_numpy(matrices))


def translate(grey: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Move each image by whole pixels as drawn. As an affine map it would cost four times as much."""
    pixels = draw.value.long()
    reach = int(pixels.abs().max())
    down = torch.where(draw.operation == TRANSLATE_Y, pixels, 0)
    return window(grey, reach + down, reach + pixels - down, reach, 0)


def autocontrast(grey: torch.Tensor) -> torch.Tensor:
    """Stretch every channel linearly to 0..255; a channel of one level stays.

    In float64 and in PIL's order of operations, because PIL truncates: ``level * scale - low * scale`` is now and then
    a rounding error short of a whole number. For the same reason a division, not ``255 / span``, which torch computes
    as a product with the reciprocal (6 % of the values were one level off).
    """
    low, high = grey.amin((2, 3), keepdim=True).double(), grey.amax((2, 3), keepdim=True).double()
    flat = low == high
    scale = torch.where(flat, 1.0, torch.full_like(low, 255) / (high - low))
    offset = torch.where(flat, 0.0, low * scale)
    return grey.double().mul_(scale).sub_(offset).to(torch.uint8)


def equalize(grey: torch.Tensor) -> torch.Tensor:
    """Flatten every channel's histogram by PIL's integer rule; a channel of one level, or of too few pixels, stays."""
    levels = grey.flatten(2).long()
    one = torch.ones((), device=grey.device).expand(levels.shape)
    # Float32 holds counts up to 2^24 pixels exactly. No bincount: on a GPU it waits for the device.
    counts = torch.zeros(*levels.shape[:2], 256, device=grey.device).scatter_add_(2, levels, one)
    in_highest = counts.gather(2, levels.amax(2, keepdim=True)).long()
    step = (levels.shape[2] - in_highest).div_(255, rounding_mode="floor").float()
    below = counts.cumsum(2).sub_(counts)
    table = below.add_((step / 2).floor_()).div_(step.clamp(min=1)).floor_().clamp_(max=255)
    table = torch.where(step > 0, table, torch.arange(256.0, device=grey.device))
    return table.to(torch.uint8).gather(2, levels).view_as(grey)


def posterize(grey: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Keep the leading `bits` ((B,) in 1..8) of every grey level."""
    return grey & _per_image(256 - 2 ** (8 - bits), grey)


def solarize(grey: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Invert the grey levels at or above `threshold` ((B,) in 0..255)."""
    inverted = (grey >= _per_image(threshold, grey)).view(torch.uint8)
    return inverted.neg_().bitwise_xor_(grey)  # -1 is 255; torch.where on uint8 is five times slower


def _per_image(values: torch.Tensor, grey: torch.Tensor) -> torch.Tensor:
    """(B,) parameters on the CPU -> (B,1,1,1) uint8 beside the images."""
    return values.to(torch.uint8).to(grey.device, non_blocking=True)[:, None, None, None]


def cache_slices(images: torch.Tensor) -> list[slice]:
    """Cut a (B,C,H,W) batch into slices whose temporaries fit a CPU's cache; one slice on other devices."""
    size = len(images) if images.device.type != "cpu" else _CACHE_VALUES // images.shape[1:].numel()
    size = max(1, size)
    return [slice(start, start + size) for start in range(0, len(images), size)]
