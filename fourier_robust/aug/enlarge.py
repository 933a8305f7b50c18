"""Images resized to a square, then a random crop of it and a flip: what fine-tuning at another resolution takes."""

from __future__ import annotations

import torch
from torch.nn import functional

from fourier_robust.aug.views import Params


class Enlarge:
    """Resize every image to ``resize`` x ``resize``, cut ``size`` x ``size`` out of it, mirror it left to right.

    The only step that changes the size of a batch: the model must take images of both (``arch=transfer`` does).

    Args:
        resize: pixels before the crop.
        size: pixels of the crop, at most `resize`.
        flip: probability in [0,1] of mirroring.

    Raises:
        ValueError: an argument outside its range.

    Source: Kolesnikov et al., "Big Transfer (BiT)", ECCV 2020: 160 and 128 for images below 96 x 96 pixels, else 512
        and 480; bilinear.
    """

    def __init__(self, resize: int = 160, size: int = 128, flip: float = 0.5) -> None:
        if not 1 <= size <= resize:
            raise ValueError(f"size={size} must lie in 1 to resize={resize}")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip must lie in [0, 1], got {flip}")
        self.resize, self.size, self.flip = resize, size, flip

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """`top`, `left` ((B,) int64 in 0..resize-size), `flip` ((B,) bool)."""
        top, left = torch.randint(self.resize - self.size + 1, (2, shape[0]), generator=generator)
        return {"top": top, "left": left, "flip": torch.rand(shape[0], generator=generator) < self.flip}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) in [0,1] -> (B,C,size,size)."""
        wide = functional.interpolate(images, size=(self.resize,) * 2, mode="bilinear", antialias=True)
        corners = zip(wide, params["top"].tolist(), params["left"].tolist(), params["flip"].tolist(), strict=True)
        cut = [(image[:, y : y + self.size, x : x + self.size], mirrored) for image, y, x, mirrored in corners]
        return torch.stack([image.flip(2) if mirrored else image for image, mirrored in cut]).clamp_(0, 1)
