"""The eleven CIFAR-C corruptions image by image, from their definitions, with NumPy, SciPy, scikit-image and Pillow.

Each maps a (32,32,3) uint8 image to the same. The random ones are handed their draws, (32,32,3) float64.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage, stats
from skimage import color, filters

Levels = np.ndarray


def _cut(greys: np.ndarray) -> Levels:
    return np.uint8(np.clip(greys, 0, 1) * 255)


def gaussian_noise(image: Levels, severity: int, normal: np.ndarray) -> Levels:
    scale = [0.04, 0.06, 0.08, 0.09, 0.10][severity - 1]
    return _cut(image / 255.0 + normal * scale)


def shot_noise(image: Levels, severity: int, normal: np.ndarray) -> Levels:
    """The draw's upper tail decides above the median, so that its probability keeps its digits."""
    photons = [500, 250, 100, 75, 50][severity - 1]
    rates = image / 255.0 * photons
    counts = np.where(
        normal < 0, stats.poisson.ppf(stats.norm.cdf(normal), rates), stats.poisson.isf(stats.norm.sf(normal), rates)
    )
    return _cut(np.where(rates > 0, counts, 0) / photons)


def impulse_noise(image: Levels, severity: int, uniform: np.ndarray) -> Levels:
    amount = [0.01, 0.02, 0.03, 0.05, 0.07][severity - 1]
    out = image / 255.0
    out[uniform < amount] = 1
    out[uniform < amount / 2] = 0
    return _cut(out)


def speckle_noise(image: Levels, severity: int, normal: np.ndarray) -> Levels:
    scale = [0.06, 0.1, 0.12, 0.16, 0.2][severity - 1]
    greys = image / 255.0
    return _cut(greys + greys * (normal * scale))


def defocus_blur(image: Levels, severity: int) -> Levels:
    radius, softening = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][severity - 1]
    y, x = np.mgrid[-3:4, -3:4]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    line = np.exp([-0.5 / softening**2, 0, -0.5 / softening**2])
    line = np.float32(line / line.sum())
    kernel = ndimage.correlate1d(ndimage.correlate1d(disk, line, 1), line, 0)
    greys = image / 255.0
    return _cut(np.stack([ndimage.correlate(greys[..., c], kernel, mode="mirror") for c in range(3)], -1))


def gaussian_blur(image: Levels, severity: int) -> Levels:
    sigma = [0.4, 0.6, 0.7, 0.8, 1][severity - 1]
    return _cut(filters.gaussian(image / 255.0, sigma=sigma, channel_axis=-1))


def brightness(image: Levels, severity: int) -> Levels:
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + [0.05, 0.1, 0.15, 0.2, 0.3][severity - 1], 0, 1)
    return _cut(color.hsv2rgb(hsv))


def saturate(image: Levels, severity: int) -> Levels:
    factor, shift = [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][severity - 1]
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + shift, 0, 1)
    return _cut(color.hsv2rgb(hsv))


def contrast(image: Levels, severity: int) -> Levels:
    greys = image / 255.0
    mean = greys.mean((0, 1), keepdims=True)
    return _cut((greys - mean) * [0.75, 0.5, 0.4, 0.3, 0.15][severity - 1] + mean)


def pixelate(image: Levels, severity: int) -> Levels:
    return box_pixels(image, [0.95, 0.9, 0.85, 0.75, 0.65][severity - 1])


def jpeg_compression(image: Levels, severity: int) -> Levels:
    return jpeg_file(image, [80, 65, 58, 50, 40][severity - 1])


def box_pixels(image: Levels, share: float) -> Levels:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX))


def jpeg_file(image: Levels, quality: int) -> Levels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


DETERMINISTIC: dict[str, Callable[[Levels, int], Levels]] = {
    "defocus_blur": defocus_blur,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "gaussian_blur": gaussian_blur,
    "saturate": saturate,
}
RANDOM: dict[str, Callable[[Levels, int, np.ndarray], Levels]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
}


def golden_card() -> Levels:
    """The 32x32 image of the golden values: three sinusoids and a red square."""
    y, x = np.mgrid[:32, :32].astype(float)
    waves = (127 + 100 * np.sin(x / 2.4), 127 + 100 * np.cos(y / 3.3), 127 + 60 * np.sin((x + y) / 4.4))
    card = np.stack(waves, -1)
    card[8:16, 8:16] = (230, 40, 60)
    return np.rint(card).astype(np.uint8)


def varied_images(seed: int = 0) -> Levels:
    """(168,32,32,3): colour fields, noise, and what truncation is sensitive to: flat and black-and-white images."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(80, 32, 32, 3)), (0, 3, 3, 0.5), mode="wrap")
    fields /= np.abs(fields).max((1, 2, 3), keepdims=True)
    smooth = np.rint(127.5 + 127.5 * np.clip(fields * 1.3, -1, 1)).astype(np.uint8)
    noise = rng.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    flat = np.broadcast_to(np.linspace(0, 255, 52).astype(np.uint8)[:, None, None, None], (52, 32, 32, 3))
    coloured = np.broadcast_to(rng.integers(0, 256, (12, 1, 1, 3)).astype(np.uint8), (12, 32, 32, 3))
    halves = np.zeros((4, 32, 32, 3), np.uint8)
    halves[0, 16:] = halves[1, :, 16:] = halves[2, ::2] = halves[3, :, :16, 0] = 255
    return np.concatenate([smooth, noise, flat, coloured, halves])
