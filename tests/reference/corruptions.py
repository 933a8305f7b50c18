"""The nineteen corruptions image by image, from their definitions, with NumPy, SciPy, scikit-image, OpenCV and Pillow.

Each maps a (H,W,3) uint8 image and its table entry to the same. The random ones are handed their draws, in the layout
of the package's parameters without the batch axis, as arrays.
"""

from __future__ import annotations

import functools
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage, stats
from skimage import color, filters

Levels = np.ndarray

PARAMETERS: dict[int, dict[str, list[Any]]] = {
    32: {
        "gaussian_noise": [0.04, 0.06, 0.08, 0.09, 0.10],
        "shot_noise": [500, 250, 100, 75, 50],
        "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.07],
        "speckle_noise": [0.06, 0.1, 0.12, 0.16, 0.2],
        "gaussian_blur": [0.4, 0.6, 0.7, 0.8, 1],
        "glass_blur": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
        "defocus_blur": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
        "motion_blur": [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
        "zoom_blur": [np.arange(1, 1 + 0.05 * severity + 0.01, 0.01) for severity in range(1, 6)],
        "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
        "frost": [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
        "snow": [
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ],
        "spatter": [
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ],
        "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
        "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
        "saturate": [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
        "jpeg_compression": [80, 65, 58, 50, 40],
        "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
        "elastic_transform": [
            (32 * amplitude, 32 * sigma, 32 * corners)
            for amplitude, sigma, corners in (
                (0, 0, 0.08),
                (0.05, 0.2, 0.07),
                (0.08, 0.06, 0.06),
                (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03),
            )
        ],
    },
    64: {
        "gaussian_noise": [0.04, 0.08, 0.12, 0.15, 0.18],
        "shot_noise": [250, 100, 50, 30, 15],
        "impulse_noise": [0.01, 0.02, 0.05, 0.08, 0.14],
        "speckle_noise": [0.15, 0.2, 0.25, 0.3, 0.35],
        "gaussian_blur": [0.5, 0.75, 1, 1.25, 1.5],
        "glass_blur": [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
        "defocus_blur": [(0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)],
        "motion_blur": [(10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)],
        "zoom_blur": [np.arange(1, 1 + 0.05 * severity + 0.01, 0.01) for severity in range(1, 6)],
        "fog": [(0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)],
        "frost": [(1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)],
        "snow": [
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ],
        "spatter": [
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ],
        "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
        "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
        "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)],
        "jpeg_compression": [65, 58, 50, 40, 25],
        "pixelate": [0.9, 0.8, 0.7, 0.6, 0.5],
        "elastic_transform": [
            (64 * amplitude, 64 * sigma, 64 * corners)
            for amplitude, sigma, corners in (
                (0, 0, 0.08),
                (0.05, 0.3, 0.06),
                (0.1, 0.08, 0.06),
                (0.1, 0.03, 0.03),
                (0.16, 0.03, 0.02),
            )
        ],
    },
    224: {
        "gaussian_noise": [0.08, 0.12, 0.18, 0.26, 0.38],
        "shot_noise": [60, 25, 12, 5, 3],
        "impulse_noise": [0.03, 0.06, 0.09, 0.17, 0.27],
        "speckle_noise": [0.15, 0.2, 0.35, 0.45, 0.6],
        "gaussian_blur": [1, 2, 3, 4, 6],
        "glass_blur": [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
        "defocus_blur": [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
        "motion_blur": [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
        "zoom_blur": [
            np.arange(1, stop, step)
            for stop, step in ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
        ],
        "fog": [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
        "frost": [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
        "snow": [
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ],
        "spatter": [
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ],
        "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
        "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
        "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
        "jpeg_compression": [25, 18, 15, 10, 7],
        "pixelate": [0.6, 0.5, 0.4, 0.3, 0.25],
        "elastic_transform": [
            (244 * amplitude, 244 * sigma, 244 * corners)
            for amplitude, sigma, corners in (
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ],
    },
}


def _cut(greys: np.ndarray) -> Levels:
    return np.uint8(np.clip(greys, 0, 1) * 255)


def gaussian_noise(image: Levels, scale: float, noise: np.ndarray) -> Levels:
    return _cut(image / 255.0 + noise.transpose(1, 2, 0) * scale)


def shot_noise(image: Levels, photons: float, noise: np.ndarray) -> Levels:
    """The draw's upper tail decides above the median, so that its probability keeps its digits."""
    normal = noise.transpose(1, 2, 0)
    rates = image / 255.0 * photons
    counts = np.where(
        normal < 0, stats.poisson.ppf(stats.norm.cdf(normal), rates), stats.poisson.isf(stats.norm.sf(normal), rates)
    )
    return _cut(np.where(rates > 0, counts, 0) / photons)


def impulse_noise(image: Levels, amount: float, uniform: np.ndarray) -> Levels:
    out, uniform = image / 255.0, uniform.transpose(1, 2, 0)
    out[uniform < amount] = 1
    out[uniform < amount / 2] = 0
    return _cut(out)


def speckle_noise(image: Levels, scale: float, noise: np.ndarray) -> Levels:
    greys = image / 255.0
    return _cut(greys + greys * (noise.transpose(1, 2, 0) * scale))


def defocus_blur(image: Levels, entry: tuple[float, float]) -> Levels:
    import cv2

    radius, softening = entry
    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    kernel = cv2.GaussianBlur(disk, (taps, taps), softening)
    return _cut(np.stack([cv2.filter2D(image[..., c] / 255.0, -1, kernel) for c in range(3)], -1))


def gaussian_blur(image: Levels, sigma: float) -> Levels:
    return _cut(filters.gaussian(image / 255.0, sigma=sigma, channel_axis=-1))


def glass_blur(image: Levels, entry: tuple[float, int, int], offsets: np.ndarray) -> Levels:
    """The copies one by one; `offsets` are (passes, 2, H-2d, W-2d), rows then columns."""
    sigma, reach, passes = entry
    height, width = image.shape[:2]
    out = np.uint8(filters.gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255)
    offsets = offsets.astype(int)
    for turn in range(passes):
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dy, dx = offsets[turn, :, h - reach - 1, w - reach - 1]
                out[h, w] = out[h + dy, w + dx]
    return _cut(filters.gaussian(out / 255.0, sigma=sigma, channel_axis=-1))


def motion_blur(image: Levels, entry: tuple[int, float], angle: float) -> Levels:
    return magick_motion_blur(image, *entry, float(angle))


def magick_motion_blur(levels: Levels, radius: int, sigma: float, angle: float) -> Levels:
    """ImageMagick 6 (Q16): edge pixels repeated, sums rounded to 16 bits, the low 8 cut off. (H,W) or (H,W,3)."""
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    total = np.zeros(levels.shape)
    for i, weight in enumerate(weights):
        dy, dx = (int(np.ceil(i * turn(np.radians(angle)) - 0.5)) for turn in (np.sin, np.cos))
        rows = np.clip(np.arange(levels.shape[0]) + dy, 0, levels.shape[0] - 1)
        columns = np.clip(np.arange(levels.shape[1]) + dx, 0, levels.shape[1] - 1)
        total += weight * (levels[rows][:, columns] * 257.0)
    return (np.floor(total + 0.5) / 257).astype(np.uint8)


def clipped_zoom(image: np.ndarray, factor: float) -> np.ndarray:
    """(H,H,C) enlarged, its centre kept."""
    side = image.shape[0]
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    enlarged = ndimage.zoom(image[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    trim = (enlarged.shape[0] - side) // 2
    return enlarged[trim : trim + side, trim : trim + side]


def zoom_blur(image: Levels, factors: np.ndarray) -> Levels:
    greys = (image / 255.0).astype(np.float32)
    total = np.zeros_like(greys)
    for factor in factors:
        total += clipped_zoom(greys, factor)
    return _cut((greys + total) / (len(factors) + 1))


def fog(image: Levels, entry: tuple[float, float], uniform: np.ndarray) -> Levels:
    strength, decay = entry
    greys = image / 255.0
    highest = greys.max()
    greys = greys + strength * diamond_square(uniform, decay)[: image.shape[0], : image.shape[1], None]
    return _cut(greys * highest / (highest + strength))


def diamond_square(uniform: np.ndarray, decay: float) -> np.ndarray:
    """Place by place; the draw of a place lies at that place."""
    side = len(uniform)
    cloud, step, wibble = np.zeros((side, side)), side, 100.0
    while step >= 2:
        half = step // 2
        for y in range(half, side, step):
            for x in range(half, side, step):
                corners = [cloud[(y + dy) % side, (x + dx) % side] for dy in (-half, half) for dx in (-half, half)]
                cloud[y, x] = sum(corners) / 4 + wibble * wibble * uniform[y, x]
        for first_y, first_x in ((0, half), (half, 0)):
            for y in range(first_y, side, step):
                for x in range(first_x, side, step):
                    around = ((-half, 0), (half, 0), (0, -half), (0, half))
                    total = sum(cloud[(y + dy) % side, (x + dx) % side] for dy, dx in around)
                    cloud[y, x] = total / 4 + wibble * wibble * uniform[y, x]
        step, wibble = half, wibble / decay
    cloud -= cloud.min()
    return cloud / cloud.max()


def photograph(which: int, size: int) -> Levels:
    """A frost texture as OpenCV reads and shrinks it for a table's image size: (h,w,3) RGB."""
    import cv2

    folder = Path(importlib.util.find_spec("imagecorruptions").origin).parent / "frost"
    name = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")[which]
    levels = cv2.imread(str(folder / name))
    scale = {32: 0.2, 64: 0.3, 224: 1}[size]
    return (levels if scale == 1 else cv2.resize(levels, (0, 0), fx=scale, fy=scale))[..., ::-1]


def frost(image: Levels, entry: tuple[float, float], crop: np.ndarray) -> Levels:
    which, top, left = (int(value) for value in crop)
    ice = photograph(which, len(image))[top : top + len(image), left : left + len(image)]
    return np.uint8(np.clip(entry[0] * image + entry[1] * ice, 0, 255))


def snow(image: Levels, entry: tuple[float, ...], noise: np.ndarray, angle: float) -> Levels:
    import cv2

    mean, deviation, zoom, threshold, radius, sigma, keep = entry
    greys = np.array(image, dtype=np.float32) / 255.0
    layer = clipped_zoom((mean + deviation * noise)[..., None], zoom).squeeze()
    layer[layer < threshold] = 0
    layer = magick_motion_blur(_cut(layer), int(radius), sigma, float(angle))[..., None] / 255.0
    luma = cv2.cvtColor(greys, cv2.COLOR_RGB2GRAY)[..., None]
    greys = keep * greys + (1 - keep) * np.maximum(greys, luma * 1.5 + 0.5)
    return _cut(greys + layer + np.rot90(layer, k=2))


def spatter(image: Levels, entry: tuple[float, ...], noise: np.ndarray) -> Levels:
    mean, deviation, sigma, threshold, amount, mud = entry
    greys = np.array(image, dtype=np.float32) / 255.0
    liquid = filters.gaussian(mean + deviation * noise, sigma=sigma)
    liquid[liquid < threshold] = 0
    if mud:
        mask = filters.gaussian((liquid > threshold).astype(np.float32), sigma=amount)
        mask[mask < 0.8] = 0
        brown = np.float32([63, 42, 20]) / np.float32(255) * mask[..., None]
        return _cut(greys * (1 - mask[..., None]) + brown)
    drops = water_relief((liquid * 255).astype(np.uint8))
    drops = drops / drops.max() * np.float32(amount) if drops.any() else drops
    return _cut(greys + drops[..., None] * (np.float32([175, 238, 238]) / np.float32(255)))


def water_relief(liquid: Levels) -> np.ndarray:
    """(H,W) uint8 -> float32, the drops shaded from the distance to their edges."""
    import cv2

    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)[1]
    shade = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    shade = cv2.filter2D(shade, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    return liquid * cv2.blur(shade, (3, 3)).astype(np.float32)


def elastic_transform(image: Levels, entry: tuple[float, ...], corners: np.ndarray, field: np.ndarray) -> Levels:
    import cv2

    amplitude, sigma, reach = entry
    greys = np.array(image, dtype=np.float32) / 255.0
    centre, side = np.float32(image.shape[:2]) // 2, min(image.shape[:2]) // 3
    fixed = np.float32([centre + side, [centre[0] + side, centre[1] - side], centre - side])
    moved = fixed + (corners * reach).astype(np.float32)
    affine = cv2.getAffineTransform(fixed, moved)
    greys = cv2.warpAffine(greys, affine, greys.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
    blurred = [filters.gaussian(one, sigma, mode="reflect", truncate=3) for one in field]
    dx, dy = (np.float32(one * amplitude)[..., None] for one in blurred)
    x, y, z = np.meshgrid(np.arange(image.shape[1]), np.arange(image.shape[0]), np.arange(3))
    return _cut(ndimage.map_coordinates(greys, (y + dy, x + dx, z), order=1, mode="reflect"))


def brightness(image: Levels, shift: float) -> Levels:
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + shift, 0, 1)
    return _cut(color.hsv2rgb(hsv))


def saturate(image: Levels, entry: tuple[float, float]) -> Levels:
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * entry[0] + entry[1], 0, 1)
    return _cut(color.hsv2rgb(hsv))


def contrast(image: Levels, factor: float) -> Levels:
    greys = image / 255.0
    mean = greys.mean((0, 1), keepdims=True)
    return _cut((greys - mean) * factor + mean)


def pixelate(image: Levels, share: float) -> Levels:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: Levels, quality: int) -> Levels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


DETERMINISTIC: dict[str, Callable[[Levels, Any], Levels]] = {
    "defocus_blur": defocus_blur,
    "zoom_blur": zoom_blur,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "gaussian_blur": gaussian_blur,
    "saturate": saturate,
}
RANDOM: dict[str, Callable[..., Levels]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "elastic_transform": elastic_transform,
    "spatter": spatter,
}
OPENCV = {
    "defocus_blur",
    "snow",
    "frost",
    "elastic_transform",
    "spatter",
}  # whose references need OpenCV (and frost its photographs)


def corrupted(name: str, image: Levels, severity: int, size: int, **draw: np.ndarray) -> Levels:
    """One image by the reference, with the parameters of one table."""
    function = DETERMINISTIC.get(name) or RANDOM[name]
    return function(image, PARAMETERS[size][name][severity - 1], **draw)


def published_draw(name: str, severity: int, size: int, rng: np.random.RandomState, image: Levels) -> dict[str, Any]:
    """The numbers that the published script draws for one image, in its order, as the package's parameters."""
    entry = PARAMETERS[size][name][severity - 1]
    if name in ("gaussian_noise", "speckle_noise"):
        return {"noise": rng.normal(size=image.shape).transpose(2, 0, 1)}
    if name == "shot_noise":  # a normal draw with the same count
        rates = image / 255.0 * entry
        counts = rng.poisson(rates)
        middle = (stats.poisson.cdf(counts - 1, rates) + stats.poisson.cdf(counts, rates)) / 2
        return {"noise": stats.norm.ppf(middle).transpose(2, 0, 1)}
    if name == "glass_blur":
        _, reach, passes = entry
        height, width = image.shape[0] - 2 * reach, image.shape[1] - 2 * reach
        columns_rows = rng.randint(-reach, reach, size=(passes, height, width, 2))
        return {"offsets": columns_rows[:, ::-1, ::-1, ::-1].transpose(0, 3, 1, 2).astype(np.int8)}
    if name == "motion_blur":
        return {"angle": np.float64(rng.uniform(-45, 45))}
    if name == "snow":
        noise = (rng.normal(size=image.shape[:2], loc=entry[0], scale=entry[1]) - entry[0]) / entry[1]
        return {"noise": noise, "angle": np.float64(rng.uniform(-135, -45))}
    if name == "spatter":
        return {"noise": (rng.normal(size=image.shape[:2], loc=entry[0], scale=entry[1]) - entry[0]) / entry[1]}
    if name == "frost":
        which = rng.randint(5)
        room = np.subtract(photograph(which, size).shape[:2], image.shape[:2])
        return {"crop": np.array([which, rng.randint(0, room[0]), rng.randint(0, room[1])])}
    if name == "fog":
        return {"uniform": _cloud_draw(entry[1], image.shape[0], rng)}
    if name == "elastic_transform":
        corners = rng.uniform(-entry[2], entry[2], size=(3, 2)) / entry[2]
        return {"corners": corners, "field": np.stack([rng.uniform(-1, 1, size=image.shape[:2]) for _ in range(2)])}
    return {}


def _cloud_draw(decay: float, size: int, rng: np.random.RandomState) -> np.ndarray:
    side = 1 << (size - 1).bit_length()
    uniform, step, wibble = np.zeros((side, side)), side, 100.0
    while step >= 2:
        half = step // 2
        for y, x in ((half, half), (0, half), (half, 0)):
            place = uniform[y::step, x::step]
            place[:] = rng.uniform(-wibble, wibble, place.shape) / wibble
        step, wibble = half, wibble / decay
    return uniform


def golden_card() -> Levels:
    """The 32x32 image of the golden values: three sinusoids and a red square."""
    y, x = np.mgrid[:32, :32].astype(float)
    waves = (127 + 100 * np.sin(x / 2.4), 127 + 100 * np.cos(y / 3.3), 127 + 60 * np.sin((x + y) / 4.4))
    card = np.stack(waves, -1)
    card[8:16, 8:16] = (230, 40, 60)
    return np.rint(card).astype(np.uint8)


@functools.cache
def varied_images(seed: int = 0) -> Levels:
    """(168,32,32,3): colour fields, noise, and what truncation is sensitive to: flat and black-and-white images."""
    return _varied(seed, 32, 80, 20, 52, 12)


@functools.cache
def varied_at(size: int, seed: int = 1) -> Levels:
    """(18,size,size,3): fewer of the same kinds at another size."""
    return _varied(seed, size, 6, 2, 4, 2)


def _varied(seed: int, size: int, fields: int, noises: int, flats: int, tints: int) -> Levels:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(fields, size, size, 3)), (0, 3, 3, 0.5), mode="wrap")
    smooth /= np.abs(smooth).max((1, 2, 3), keepdims=True)
    smooth = np.rint(127.5 + 127.5 * np.clip(smooth * 1.3, -1, 1)).astype(np.uint8)
    noise = rng.integers(0, 256, (noises, size, size, 3)).astype(np.uint8)
    grey = np.linspace(0, 255, flats).astype(np.uint8)[:, None, None, None]
    flat = np.broadcast_to(grey, (flats, size, size, 3))
    coloured = np.broadcast_to(rng.integers(0, 256, (tints, 1, 1, 3)).astype(np.uint8), (tints, size, size, 3))
    halves = np.zeros((4, size, size, 3), np.uint8)
    halves[0, size // 2 :] = halves[1, :, size // 2 :] = halves[2, ::2] = halves[3, :, : size // 2, 0] = 255
    return np.concatenate([smooth, noise, flat, coloured, halves])
