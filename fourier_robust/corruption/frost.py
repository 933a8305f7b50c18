"""Frost: crops of photographed ice over the image."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from fourier_robust.corruption.base import Params, check_images, map_values, parameters
from fourier_robust.corruption.plasma import plasma
from fourier_robust.errors import UserError

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
SYNTHETIC = "synthetic"
_SHRINK = {32: 0.2, 64: 0.3, 224: 1.0}


class Frost:
    """``a x + b ice``, in grey levels, clipped at 255: the ice a random crop of one of five photographs.

    Published quirk kept: there are six photographs, but the sixth is never drawn.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table and the scale of the photographs.
        textures: folder of the photographs (`FILES`); None looks for those that the package imagecorruptions-imaug
            installs; "synthetic" draws bluish plasma clouds, which makes another corruption: its results
            cannot be compared with the published benchmark's.

    Raises:
        UserError: no photographs, with the ways to get them.

    Source: Hendrycks and Dietterich 2019 (1903.12261); OpenCV's linear resize without anti-aliasing, so a fifth of
        the size (the 32-pixel table) is every fifth pixel.
    Deviates: a photograph that does not exceed the image is enlarged until it does (from 94 pixels per side with the
        64-pixel table, from 315 with the 224-pixel one), where the published code stops with an error.

    Attributes:
        variant: "synthetic_frost" for textures of our own, else ""; tables put it into the name of the set.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float], ...]]] = {
        32: ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),  # shares of image and ice
        64: ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        224: ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    }

    def __init__(self, severity: int, size: int = 32, textures: str | None = None) -> None:
        self.table_size, (self.keep, self.ice) = parameters(self.TABLES, size, severity)
        self.variant = "synthetic_frost" if textures == SYNTHETIC else ""
        self._folder = None if textures == SYNTHETIC else find_photographs(textures)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"crop": (B,3) int64: number of the photograph, first row, first column}."""
        batch, _, height, width = shape
        device = generator.device
        room = torch.tensor([[one.shape[1] - height, one.shape[2] - width] for one in self._textures(height, width)])
        which = torch.randint(len(room), (batch, 1), generator=generator, device=device)
        drawn = torch.rand(batch, 2, generator=generator, device=device, dtype=torch.float64)
        corner = drawn.mul_(room.to(device)[which[:, 0]]).long()
        return {"crop": torch.cat((which, corner), 1)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        check_images(images)
        height, width = images.shape[2:]
        textures = self._textures(height, width)
        crops = params["crop"].tolist()
        ice = [textures[which][:, top : top + height, left : left + width] for which, top, left in crops]
        return map_values(self._freeze, images, torch.stack(ice) if ice else images)

    def _textures(self, height: int, width: int) -> tuple[torch.Tensor, ...]:
        if self._folder is None:
            return _clouds(height, width)
        return _photographs(self._folder, _SHRINK[self.table_size], height, width)

    def _freeze(self, levels: torch.Tensor, ice: torch.Tensor) -> torch.Tensor:
        mixed = levels.double().mul_(self.keep).add_(ice.double().mul_(self.ice))
        return mixed.clamp_(max=255).to(torch.uint8)


def find_photographs(textures: str | None) -> Path:
    """The folder that holds the five photographs.

    Args:
        textures: the folder; None looks into the installed package imagecorruptions-imaug.

    Raises:
        UserError: they are not there; says how to get them.
    """
    if textures is not None:
        folder = Path(textures)
    else:
        package = importlib.util.find_spec("imagecorruptions")
        if package is None or package.origin is None:
            raise UserError(
                "frost needs its photographs: pip install 'fourier-robust[corruptions]' brings them; or name a folder "
                "of frost1.png to frost5.jpg, or synthetic for clouds drawn here, as suite.generators.frost.textures"
            )
        folder = Path(package.origin).parent / "frost"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"frost: no {missing[0]} in {folder}; {', '.join(FILES)} of the ImageNet-C code belong there")
    return folder


@functools.cache
def _photographs(folder: Path, shrink: float, height: int, width: int) -> tuple[torch.Tensor, ...]:
    """Five (3,h,w) uint8, scaled by `shrink`, or as far as it takes to be larger than height x width."""
    textures = []
    for name in FILES:
        with Image.open(folder / name) as file:
            levels = np.asarray(file.convert("RGB"))
        scale = max(shrink, (height + 1) / levels.shape[0], (width + 1) / levels.shape[1])
        textures.append(torch.from_numpy(_resize(levels, scale)).permute(2, 0, 1))
    return tuple(textures)


def _resize(levels: np.ndarray, scale: float) -> np.ndarray:
    """Linear interpolation of (h,w,3) uint8 without anti-aliasing, in OpenCV's fixed point: 11-bit weights."""
    (top, bottom, upper, lower), (left, right, first, second) = (_taps(length, scale) for length in levels.shape[:2])
    values = levels.astype(np.int64)
    rows = values[:, left] * first[:, None] + values[:, right] * second[:, None]
    rows >>= 4
    sums = (rows[top] * upper[:, None, None] >> 16) + (rows[bottom] * lower[:, None, None] >> 16)
    return ((sums + 2) >> 2).astype(np.uint8)


def _taps(length: int, scale: float) -> tuple[np.ndarray, ...]:
    """For each output pixel the two pixels to read and their weights times 2048."""
    places = ((np.arange(round(length * scale)) + 0.5) / scale - 0.5).clip(0, length - 1).astype(np.float32)
    low = np.floor(places).astype(np.int64)
    weight = places - low
    return (
        low,
        np.minimum(low + 1, length - 1),
        *(np.rint(share * 2048).astype(np.int64) for share in (1 - weight, weight)),
    )


@functools.cache
def _clouds(height: int, width: int) -> tuple[torch.Tensor, ...]:
    """Five (3,h,w) uint8 of bluish plasma clouds, always the same, with room for different crops."""
    side = 2 << (max(height, width) - 1).bit_length()
    uniform = torch.rand(5, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grey = plasma(uniform.mul_(2).sub_(1), 2.0).mul_(200).add_(40)
    tint = torch.tensor([0.85, 0.95, 1.0], dtype=torch.float64)[:, None, None]
    return tuple((one * tint).to(torch.uint8) for one in grey)
