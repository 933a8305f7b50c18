"""APR-S image by image with PIL and NumPy, slowly and from the definition: uint8 (H,W,3) in, uint8 (H,W,3) out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps
from reference.apr import JOINT, recombine_reference, to_grey_levels_reference

BILINEAR = Image.Resampling.BILINEAR
AFFINE = Image.Transform.AFFINE


def _affine(image: Image.Image, *entries: float) -> Image.Image:
    return image.transform(image.size, AFFINE, entries, resample=BILINEAR)


OPERATIONS = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "solarize": lambda image, threshold: ImageOps.solarize(image, int(threshold)),
    "rotate": lambda image, degrees: image.rotate(degrees, resample=BILINEAR),
    "shear_x": lambda image, slope: _affine(image, 1, slope, 0, 0, 1, 0),
    "shear_y": lambda image, slope: _affine(image, 1, 0, 0, slope, 1, 0),
    "translate_x": lambda image, pixels: _affine(image, 1, 0, pixels, 0, 1, 0),
    "translate_y": lambda image, pixels: _affine(image, 1, 0, 0, 0, 1, pixels),
}


def parameter(name: str, level: float, positive: bool, height: int, width: int) -> float:
    """AugMix's law: what a level (uniform in [0.1, magnitude)) and a coin mean for one operation."""
    sign = 1 if positive else -1
    if name == "posterize":
        return 4 - int(level * 4 / 10)
    if name == "solarize":
        return 256 - int(level * 256 / 10)
    if name == "rotate":
        return sign * int(level * 30 / 10)
    if name in ("shear_x", "shear_y"):
        return sign * level * 0.3 / 10
    if name == "translate_x":
        return sign * int(level * (width / 3) / 10)
    if name == "translate_y":
        return sign * int(level * (height / 3) / 10)
    return 0.0


def operate(image: np.ndarray, name: str, value: float) -> np.ndarray:
    """One operation with its realised parameter."""
    return np.asarray(OPERATIONS[name](Image.fromarray(image), value))


def apr_s_levels(
    image: np.ndarray,
    first: tuple[str, float],
    second: tuple[str, float] | None,
    first_gives_phase: bool,
    dims: Sequence[int] = JOINT,
) -> np.ndarray:
    """APR-S of one image before its last step, as float64; `second` is None where the FFT branch was not drawn.

    Operations are (name, parameter). The FFT runs over `dims` of (1,C,H,W), as in reference/apr.py.
    """
    once = operate(image, *first)
    if second is None:
        return once.astype(np.float64)
    twice = operate(once, *second)
    phase_of, amplitude_of = (once, twice) if first_gives_phase else (twice, once)
    planes = recombine_reference(phase_of.transpose(2, 0, 1)[None], amplitude_of.transpose(2, 0, 1)[None], dims)
    return planes[0].transpose(1, 2, 0)


def to_bytes(levels: np.ndarray, compat: str) -> np.ndarray:
    """`clean`: clipped and rounded; `upstream`: truncated toward zero, then modulo 256 (what x86-64's cast does)."""
    if compat == "clean":
        return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    return to_grey_levels_reference(levels, "wrap").astype(np.uint8)
