"""From a decoded image of any size to a square one: the two crops of the ImageNet recipe, on Pillow images."""

from __future__ import annotations

import math
from typing import Literal, Protocol, get_args

import torch
from PIL import Image
from torch.nn import functional

Interpolation = Literal["bilinear", "bicubic", "lanczos"]
_TRIES = 10  # torchvision's; then the largest central crop of allowed aspect ratio


class Crop(Protocol):
    """An image of any size -> (size, size); all that is random comes from `generator`."""

    size: int

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image: ...


class LevelsCrop(Crop, Protocol):
    """A crop that also takes tensors, which torch resizes: sooner, and not quite to Pillow's bytes.

    Measured on 200 photographs: by bilinear one grey level away in 0.1 % of the values, by bicubic two in 0.25 %.
    """

    def of_levels(self, levels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(3,H,W) uint8 -> (3,size,size) uint8; the same rectangle as for a Pillow image."""
        ...


class CentreCrop:
    """Short side to `resize` pixels (antialiased), then the central `size` x `size`; draws nothing.

    Args:
        size: pixels of the result.
        resize: pixels of the short side before the crop, at least `size`.
        interpolation: ``bilinear``, ``bicubic`` or ``lanczos``.

    Source: torchvision's ``Resize(resize)`` and ``CenterCrop(size)`` on Pillow images, to the byte.
    """

    def __init__(self, size: int, resize: int, interpolation: Interpolation = "bilinear") -> None:
        if not 1 <= size <= resize:
            raise ValueError(f"size={size} must lie in 1 to resize={resize}")
        if interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation={interpolation!r} must be one of {', '.join(get_args(Interpolation))}")
        self._filter = Image.Resampling[interpolation.upper()]
        self.size = size
        self.resize = resize
        self.interpolation = interpolation

    def place(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(width, height, left, top) in pixels: of the resized image, and of the crop in it."""
        short = min(width, height)
        if short != self.resize:
            width, height = int(self.resize * width / short), int(self.resize * height / short)
        return width, height, round((width - self.size) / 2), round((height - self.size) / 2)

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        """Resize and crop; `generator` is not used."""
        width, height, left, top = self.place(*image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), self._filter)
        return image.crop((left, top, left + self.size, top + self.size))

    def of_levels(self, levels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `LevelsCrop`; bilinear or bicubic."""
        width, height, left, top = self.place(levels.shape[2], levels.shape[1])
        if (height, width) != levels.shape[1:]:
            levels = _resized(levels, height, width, self.interpolation)
        return levels[:, top : top + self.size, left : left + self.size]


class RandomResizedCrop:
    """A random rectangle of the image, resized to `size` x `size` (bilinear, antialiased).

    The rectangle has a uniform share of the image's area, and an aspect ratio whose logarithm is uniform; one that does
    not fit is drawn again, ten times at most, then it is the largest central rectangle of allowed ratio.

    Args:
        size: pixels of the result.
        scale: lowest and highest share of the area, in (0,1].
        ratio: lowest and highest width / height.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2015; the law and the pixels are torchvision's
        ``RandomResizedCrop(size)`` on Pillow images.
    Deviates: the stream of random numbers is ours (one generator per image), so single draws differ.
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        if size < 1:
            raise ValueError(f"size={size} must be at least 1")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale={scale} must be an ascending pair in (0,1]")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio={ratio} must be an ascending pair above 0")
        self.size = size
        self.scale = scale
        self.ratio = ratio

    def sample(self, width: int, height: int, generator: torch.Generator) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels, within a `width` x `height` image."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for area, shape, across, down in torch.rand(_TRIES, 4, generator=generator, dtype=torch.float64).tolist():
            target = (self.scale[0] + area * (self.scale[1] - self.scale[0])) * width * height
            aspect = math.exp(low + shape * (high - low))
            w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
                return left, top, left + w, top + h
        aspect = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        """Draw a rectangle from `generator`, cut it out and resize it."""
        box = self.sample(*image.size, generator)
        return image.crop(box).resize((self.size, self.size), Image.Resampling.BILINEAR)

    def of_levels(self, levels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `LevelsCrop`."""
        left, top, right, bottom = self.sample(levels.shape[2], levels.shape[1], generator)
        return _resized(levels[:, top:bottom, left:right], self.size, self.size, "bilinear")


def _resized(levels: torch.Tensor, height: int, width: int, interpolation: Interpolation) -> torch.Tensor:
    """(3,H,W) uint8 -> (3,height,width) uint8, in the order in memory in which it came.

    A decoder leaves (H,W,3) in memory. torch keeps that order, with equal bits, where the stride of the batch of one
    tells it; that of ``levels[None]`` does not (500 x 375 to 341 x 256: 0.26 to 0.17 ms, and the
    copy of the crop 0.15 to 0.01).
    """
    one = levels.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    return functional.interpolate(one, (height, width), mode=interpolation, antialias=True)[0]
