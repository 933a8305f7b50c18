"""The C-bar corruptions image by image, from their definitions, with NumPy, SciPy and scikit-image.

Each maps an (H,W,3) uint8 image, the benchmark's own severity and one image's draws (NumPy arrays under the names of
`sample`) to the same. Where numpy 1.19 kept float32 in a product of an array and a number, the casts are written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import fft, ndimage
from skimage.draw import line_aa

Levels = np.ndarray
Draws = dict[str, Any]
F32 = np.float32

SEVERITIES: dict[str, dict[int, tuple[float, ...]]] = {
    "blue_noise_sample": {32: (0.7, 1.4, 2.1, 3.5, 4.2), 224: (0.8, 1.6, 2.4, 4.0, 5.6)},
    "brownish_noise": {32: (2.5, 4.0, 5.5, 6.5, 7.0), 224: (1.0, 2.0, 3.0, 4.0, 5.0)},
    "checkerboard_cutout": {32: (1.0, 2.0, 3.0, 4.0, 5.0), 224: (2.0, 3.0, 4.0, 5.0, 6.0)},
    "circular_motion_blur": {32: (2.8, 3.6, 4.4, 5.2, 6.0)},
    "inverse_sparkles": {32: (1.0, 1.5, 2.5, 4.5, 5.0), 224: (1.0, 2.0, 4.0, 9.0, 10.0)},
    "lines": {32: (0.5, 1.0, 1.5, 2.0, 2.5)},
    "pinch_and_twirl": {32: (5.5, 6.0, 6.5, 8.5, 10.0)},
    "ripple": {32: (5.5, 6.0, 6.5, 7.5, 8.0)},
    "sparkles": {32: (0.7, 3.5, 5.6, 6.3, 7.0), 224: (1.0, 2.0, 3.0, 5.0, 6.0)},
    "transverse_chromatic_abberation": {32: (1.0, 2.0, 5.0, 9.0, 10.0)},
    "caustic_refraction": {224: (2.35, 3.2, 4.9, 6.6, 9.15)},
    "cocentric_sine_waves": {224: (3.0, 5.0, 8.0, 9.0, 10.0)},
    "perlin_noise": {224: (4.6, 5.2, 5.8, 7.6, 8.8)},
    "plasma_noise": {224: (4.75, 7.0, 8.5, 9.25, 10.0)},
    "single_frequency_greyscale": {224: (1.0, 1.5, 2.0, 4.5, 5.0)},
}


def _cut(values: np.ndarray) -> Levels:
    return np.clip(values, 0, 255).astype(np.uint8)


def _pixels(function: Callable[[int, int], Any], image: Levels) -> np.ndarray:
    return np.array([[function(y, x) for x in range(image.shape[1])] for y in range(image.shape[0])])


def spectral_noise(phases: np.ndarray, shape: tuple[int, ...], amplitude: Callable[[float], float]) -> np.ndarray:
    height, width = shape[:2]
    half = phases[:, : width // 2]
    if width % 2:
        top = phases[: height // 2, width // 2].reshape(-1, 1)
        middle = np.concatenate([top, np.zeros((height % 2, 1)), top[::-1]])
        full = np.concatenate([half, middle, half[::-1, ::-1]], axis=1)
    else:
        full = np.concatenate([half, half[::-1, ::-1]], axis=1)
    spectrum = np.empty((height, width), complex)
    for y in range(height):
        for x in range(width):
            size = amplitude(np.hypot(y - height / 2, x - width / 2))
            spectrum[(y + height // 2) % height, (x + width // 2) % width] = size * np.exp(1j * full[y, x])
    noise = fft.ifft2(spectrum).real
    return noise / np.std(noise)


def blue_noise_sample(image: Levels, severity: float, draws: Draws) -> Levels:
    noise = spectral_noise(draws["phases"], image.shape, lambda k: k)
    return np.where((noise > severity * 0.3 - 2.5)[..., None], image, 0).astype(np.uint8)


def brownish_noise(image: Levels, severity: float, draws: Draws) -> Levels:
    noise = [spectral_noise(phases, image.shape, lambda k: 1 / (k**2 + 1)) for phases in draws["phases"]]
    return _cut(image + severity * 6.4 * np.stack(noise, -1))


def checkerboard_cutout(image: Levels, severity: float, draws: Draws) -> Levels:
    angle, square = float(draws["angle"]), float(draws["square"])
    cells = int(4 * min(image.shape[:2]) // square)
    covered = draws["grid"][:cells, :cells] < severity / 10

    def pixel(y: int, x: int) -> np.ndarray:
        down = (np.cos(angle) * y + np.sin(angle) * x) / square
        right = (-np.sin(angle) * y + np.cos(angle) * x) / square
        kept = int(down % 2) != int(right % 2) or not covered[int(down), int(right)]
        return image[y, x] if kept else np.array([128, 128, 128])

    return _pixels(pixel, image).astype(np.uint8)


def circular_motion_blur(image: Levels, severity: float, draws: Draws) -> Levels:
    greys = image.astype(F32) / F32(255)
    total, weights = np.zeros_like(greys), []
    for turn in range(21):
        share = 2 * turn / 20 - 1
        weights.append(np.exp(-2 * share**2))
        total += F32(weights[-1]) * ndimage.rotate(greys, share * severity * 1.5, reshape=False)
    return _cut(total / F32(sum(weights)) * F32(255))


def _star(image: Levels, center: np.ndarray, rays: np.ndarray, power: float) -> np.ndarray:
    def pixel(y: int, x: int) -> float:
        dy, dx = y - center[0], x - center[1]
        place = (np.arctan2(dx, dy) + np.pi) / (2 * np.pi) * len(rays)
        ray = int(place)
        share = place - ray
        length = rays[ray % len(rays)] + share * (rays[(ray + 1) % len(rays)] - rays[ray % len(rays)])
        bright = (length**2 / (dx**2 + dy**2 + 1e-4)) ** power
        return np.clip((1 - (share - 0.5) ** 2) * bright, 0, 1)

    return _pixels(pixel, image)[..., None]


def sparkles(image: Levels, severity: float, draws: Draws) -> Levels:
    radius = severity * 0.01 * min(image.shape[:2])
    values = image.astype(float)
    for center, number, normal in zip(draws["center"], draws["rays"], draws["lengths"], strict=True):
        rays = np.maximum(1, radius + 0.25 * radius * normal[:number])
        values = values.astype(F32).astype(float)
        values = values + _star(image, center, rays, 1.0) * (255 - values)
    return _cut(values)


def inverse_sparkles(image: Levels, severity: float, draws: Draws) -> Levels:
    radius = 0.25 * min(image.shape[:2])
    rays = radius + 0.25 * radius * draws["lengths"][0, : draws["rays"][0]]
    return _cut(255 + _star(image, draws["center"][0], rays, 0.13 * severity) * (image - 255.0))


def lines(image: Levels, severity: float, draws: Draws) -> Levels:
    reach = min(image.shape[:2])
    out = image.copy()
    assert len(draws["middle"]) == int(severity / 10 * reach)
    for (y, x), angle in zip(draws["middle"], draws["angle"], strict=True):
        down, right = np.cos(angle) * reach, np.sin(angle) * reach
        rows, columns, shades = line_aa(int(y - down), int(x - right), int(y + down), int(x + right))
        inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
        before = out.copy()
        for row, column, shade in zip(rows[inside], columns[inside], shades[inside], strict=True):
            out[row, column] = ((1 - shade) * before[row, column] + shade * 128).astype(np.uint8)
    return out


def _between(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """Bilinear, black outside; float32 pixels times a number stay float32 unless an outside (integer) one joins."""
    top, left = int(np.floor(y)), int(np.floor(x))

    def pixel(row: int, column: int) -> np.ndarray:
        inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
        return image[row, column] if inside else np.array([0, 0, 0])

    def times(pixel: np.ndarray, weight: float) -> np.ndarray:
        return pixel * F32(weight) if pixel.dtype == F32 else pixel * np.float64(weight)

    upper, lower = (
        times(pixel(row, left), 1.0 - x + left) + times(pixel(row, left + 1), 1.0 - (left + 1) + x)
        for row in (top, top + 1)
    )
    return times(upper, 1.0 - y + top) + times(lower, 1.0 - (top + 1) + y)


def pinch_and_twirl(image: Levels, severity: float, draws: Draws) -> Levels:
    """Cell by cell into the image that is read, as published."""
    turns, out = draws["turns"], image.astype(F32)
    cells = len(turns)
    high, wide = image.shape[0] // cells, image.shape[1] // cells
    radius = min(high, wide) / 2
    for i in range(cells):
        for j in range(cells):
            center = np.array([j * high + high / 2, i * wide + wide / 2])
            cell = np.empty((high, wide, 3), F32)
            for y in range(j * high, (j + 1) * high):
                for x in range(i * wide, (i + 1) * wide):
                    dy, dx = np.array([y, x]) - center
                    distance = np.hypot(dy, dx)
                    place = np.array([y, x], float)
                    if 0 < distance <= radius:
                        share = distance / radius
                        stretch = np.sin(np.pi * 0.5 * share) ** -(severity * 0.04 + 0.1)
                        turn = turns[i, j] * severity * np.pi / 20 * (1 - share) ** 2
                        dy, dx = dy * stretch, dx * stretch
                        sine, cosine = np.sin(turn), np.cos(turn)
                        place = center + np.array([dy * cosine - dx * sine, dy * sine + dx * cosine])
                    cell[y - j * high, x - i * wide] = _between(out, *place)
            out[j * high : (j + 1) * high, i * wide : (i + 1) * wide] = cell
    return _cut(out)


def ripple(image: Levels, severity: float, draws: Draws) -> Levels:
    amplitude = severity * 0.025 / 10 * min(image.shape[:2])

    def pixel(y: int, x: int) -> np.ndarray:
        place = np.array([y, x])
        place = place + amplitude * np.sin(2 * np.pi * place / draws["wavelength"] + draws["phase"])
        return _between(image, *place)

    return _cut(_pixels(pixel, image))


def transverse_chromatic_abberation(image: Levels, severity: float, draws: Draws) -> Levels:
    out = image.copy()
    height, width = image.shape[:2]
    for scale, channel in zip((1.0, 1 + severity * 0.05 / 2, 1 + severity * 0.05), draws["channels"], strict=True):
        large = ndimage.zoom(image[..., channel], scale, prefilter=False)
        top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
        out[..., channel] = large[top : top + height, left : left + width]
    return out


def caustics(y: float, x: float, time: float, period: float) -> float:
    p = np.array([y, x]) / period % 1 * 6.28318530718 - 250
    i, total = p, 1.0
    for turn in range(5):
        t = time * (1 - 3.5 / (turn + 1))
        i = p + np.array([np.cos(t - i[0]) + np.sin(t + i[1]), np.sin(t - i[1]) + np.cos(t + i[0])])
        total += 1 / np.hypot(p[0] / (np.sin(i[0] + t) / 0.005), p[1] / (np.cos(i[1] + t) / 0.005))
    return np.clip(np.abs(1.17 - (total / 5) ** 1.4) ** 8, 0, 1)


def refract(normal: np.ndarray, index: float) -> np.ndarray:
    """The ray (0,0,1) through a surface of this normal, by the published change of basis."""
    if abs(normal[2]) >= 1 - 1e-3:
        return np.array([0.0, 0.0, 1.0])
    angle = np.arcsin(np.sin(np.arccos(normal[2])) / index)
    aside = np.cross([0.0, 0.0, 1.0], normal)
    aside /= np.linalg.norm(aside)
    basis = np.stack([normal, np.cross(normal, aside), aside])
    return np.linalg.inv(basis) @ np.array([np.cos(angle), np.sin(angle), 0])


def caustic_refraction(image: Levels, severity: float, draws: Draws) -> Levels:
    height, width = image.shape[:2]
    time, period = float(draws["time"]), float(draws["period"])
    surface = ndimage.gaussian_filter(_pixels(lambda y, x: caustics(y, x, time, period), image), sigma=1)
    greys = image.astype(F32) / F32(255)

    def luma(y: int, x: int) -> float:
        return surface[y, x] if 0 <= y < height and 0 <= x < width else 0.0

    def pixel(y: int, x: int) -> np.ndarray:
        normal = np.array([luma(y + 1, x) - luma(y - 1, x), luma(y, x + 1) - luma(y, x - 1), 1.0])
        ray = refract(normal / np.linalg.norm(normal), 4.0) * (severity * 0.05 * min(height, width))
        seen = _between(greys, *(np.array([y, x]) + np.round(ray, 3)[:2]))
        seen += (luma(y, x - 1) - luma(y, x + 1)) * severity * 0.2
        seen += (luma(y + 1, x) - luma(y - 1, x)) * severity * 0.2
        return np.clip(seen, 0, 1)

    return (_pixels(pixel, image) * 255).astype(np.uint8)


def cocentric_sine_waves(image: Levels, severity: float, draws: Draws) -> Levels:
    frequency, amplitude, width = (float(draws[name]) for name in ("frequency", "amplitude", "width"))

    def pixel(y: int, x: int) -> float:
        dy, dx = y - draws["center"][0], x - draws["center"][1]
        radius = np.hypot(dx, dy) + np.sin(np.arctan2(dx, dy) * frequency) * amplitude
        return radius % width / width - 0.5

    return _cut(image + severity * 12.8 * _pixels(pixel, image)[..., None])


def perlin_noise(image: Levels, severity: float, draws: Draws) -> Levels:
    places = np.arange(514)
    gradients = np.zeros((514, 2))
    for k, gradient in enumerate(draws["gradients"]):
        gradients[k] = gradient / 256 / np.linalg.norm(gradient / 256)
    for i, j in zip(range(255, -1, -1), draws["swaps"], strict=True):
        places[i], places[j] = places[j], places[i]
    for i in range(258):
        places[256 + i], gradients[256 + i] = places[i], gradients[i]

    def noise(x: float, y: float) -> float:
        tx, ty = x + 4096, y + 4096
        x0, y0 = int(tx) % 256, int(ty) % 256
        fx, fy = tx % 1, ty % 1
        corner = {}
        for right in (0, 1):
            for up in (0, 1):
                gradient = gradients[places[places[(x0 + right) % 256] + (y0 + up) % 256]]
                corner[right, up] = (fx - right) * gradient[0] + (fy - up) * gradient[1]
        sx, sy = fx**2 * (3 - 2 * fx), fy**2 * (3 - 2 * fy)
        a = corner[0, 0] + sx * (corner[1, 0] - corner[0, 0])
        b = corner[0, 1] + sx * (corner[1, 1] - corner[0, 1])
        return 1.5 * (a + sy * (b - a))

    unit = 32 * min(image.shape[:2]) / 224

    def pixel(y: int, x: int) -> float:
        turbulence = sum(abs(noise(f * (y / unit), f * (x / unit))) / f for f in (1, 2, 4, 8, 16))
        return np.clip(0.5 * turbulence + 0.5, 0, 1)

    share = severity * 0.05
    return _cut(F32(1 - share) * image.astype(F32) + 255 * share * _pixels(pixel, image)[..., None])


def plasma_noise(image: Levels, severity: float, draws: Draws) -> Levels:
    time, sharpness, scale = (float(draws[name]) for name in ("time", "sharpness", "scale"))

    def pixel(row: int, column: int) -> list[float]:
        x, y = column / scale, row / scale
        i = np.array([1.0, 1.0, 1.0, 0.0])
        for _ in range(int(draws["rounds"])):
            r = np.array([np.cos(y * i[0] - i[3] + time / i[1]), np.sin(x * i[0] - i[3] + time / i[1])]) / i[2]
            x, y = x + r[0] - 0.3 * r[1], y + r[1] + 0.3 * r[0]
            i *= np.array([1.93, 1.15, 2.25 - sharpness, time * i[1]])
        return [np.sin(x - time), np.sin((x + y + np.sin(time)) * 0.5), np.sin(y + time)]

    return _cut((1 - severity * 6.4 / 255) * image + severity * 6.4 * _pixels(pixel, image))


def single_frequency_greyscale(image: Levels, severity: float, draws: Draws) -> Levels:
    across, down = draws["frequency"]
    phase = float(draws["phase"])
    wave = _pixels(lambda y, x: np.sin(x * across + y * down + phase), image)
    return _cut(image + severity * 19.6 * wave[..., None])


REFERENCE: dict[str, Callable[[Levels, float, Draws], Levels]] = {name: globals()[name] for name in SEVERITIES}
