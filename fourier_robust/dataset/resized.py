"""The same images at several sizes: from files decoded once, or from images that are there at their own size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional

from fourier_robust.dataset.base import Batch, Split
from fourier_robust.dataset.crops import CentreCrop, Interpolation
from fourier_robust.dataset.streaming import StreamingSplit
from fourier_robust.errors import UserError

SMALL = 64  # pixels; up to here data sets are upscaled rather than cut from larger files
_SMALL_LADDER = (0.75, 0.875, 1.0, 1.25, 1.5, 2.0)
_LADDER = (3 / 7, 4 / 7, 5 / 7, 6 / 7, 1.0, 8 / 7, 10 / 7, 12 / 7, 2.0)


def ladder(size: int) -> tuple[int, ...]:
    """The usual test sizes around a data set's own: 24 28 32 40 48 64 for 32, 96 128 160 192 224 256 320 384 448."""
    return tuple(dict.fromkeys(round(size * share) for share in (_SMALL_LADDER if size <= SMALL else _LADDER)))


def own_share(dataset: Any) -> float:
    """The share of the short side that the data set's own test crop keeps; 1 where images are taken as they are."""
    crop: CentreCrop | None = getattr(dataset, "test_crop", None)
    return 1.0 if crop is None else crop.size / crop.resize


def own_interpolation(dataset: Any) -> Interpolation:
    """That of the data set's own test crop, or else bilinear."""
    crop: CentreCrop | None = getattr(dataset, "test_crop", None)
    return "bilinear" if crop is None else crop.interpolation


def crops(sizes: Sequence[int], share: float, interpolation: Interpolation) -> tuple[CentreCrop, ...]:
    """One per size: the short side to ``round(size / share)`` pixels, then the centre.

    Args:
        sizes: pixels.
        share: in (0,1], of the short side that is kept.
        interpolation: of the resize, antialiased.
    """
    return tuple(CentreCrop(size, max(size, round(size / share)), interpolation) for size in sizes)


def views(
    split: Split, of: Sequence[CentreCrop], batch_size: int, order: torch.Tensor | None = None
) -> Iterator[Batch]:
    """Of each stretch of images one batch per crop, in their order; files are decoded once, and cropped from whole.

    Images that are no files of any size are taken as `split` gives them, and resized; see `resized`.
    """
    if isinstance(split, StreamingSplit):
        return split.each(of, batch_size, order)
    return views_of(split.batches(batch_size, order), of)


def views_of(batches: Iterable[Batch], of: Sequence[CentreCrop]) -> Iterator[Batch]:
    """The same of batches of images at their own size."""
    for batch in batches:
        for crop in of:
            yield batch._replace(images=resized(batch.images, crop))


def resized(images: torch.Tensor, crop: CentreCrop) -> torch.Tensor:
    """What `crop` makes of images: short side to its `resize` (antialiased), rounded to grey levels, then the centre.

    Args:
        images: (B,C,H,W) float32 in [0,1]; as they are where H or W is `resize` already.
        crop: of bilinear or bicubic interpolation.

    Returns:
        (B,C,size,size) float32 in [0,1].

    Raises:
        UserError: lanczos, which only files can be resized with.

    Deviates: from `CentreCrop` on a Pillow image by one grey level at most, since it rounds once, not twice.
    """
    width, height, left, top = crop.place(images.shape[3], images.shape[2])
    if (height, width) != tuple(images.shape[2:]):
        if crop.interpolation == "lanczos":
            raise UserError("lanczos resizes image files alone: give suite.interpolation=bicubic or bilinear")
        images = functional.interpolate(images, (height, width), mode=crop.interpolation, antialias=True)
        images = images.mul_(255).round_().clamp_(0, 255).div_(255)
    return images[:, :, top : top + crop.size, left : left + crop.size]
