"""The nineteen corruptions, batched against image by image: `PYTHONPATH=tests python scripts/bench/corruptions.py`.

- reference: one image after the other as the published scripts do (NumPy, SciPy, scikit-image, OpenCV, Pillow; draws,
  loops and the photographs' decoding included; motion blur in NumPy, where the scripts call ImageMagick, 1.5 to
  5 times slower), from uint8 arrays to uint8 arrays. Ours goes from float32 to float32 tensors and draws too.
- seeded: ours with one generator per image, as the suite runs it.
- floor: what any corruption of this contract pays: its draw, reading float pixels as grey levels and writing them back
  (24.6 kB in all at 32 pixels, 1.2 MB at 224; at a copy's 28 GB/s, 0.9 and 43 microseconds).
- package: imagecorruptions-imaug (224-pixel parameters at any size), with --package, at 224 pixels.

One thread, CPU seconds, medians of rounds in turn; ratios of the reference to ours, and of ours to the floor.
Exits with 1 if the sum over all is less than --min-ratio times faster, or one of them is slower.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from corruption.kinds import KINDS, from_levels
from reference.corruptions import DETERMINISTIC, PARAMETERS, corrupted, published_draw, varied_at
from skimage.filters import gaussian
from skimage.util import random_noise
from timing import compare

from fourier_robust.corruption.base import map_values
from fourier_robust.corruption.seeded import corrupt, image_seeds


def published(name: str, image: np.ndarray, severity: int, size: int, rng: np.random.RandomState) -> np.ndarray:
    """One image as the published script makes it, its draw included."""
    entry = PARAMETERS[size][name][severity - 1]
    if name == "shot_noise":
        return np.uint8(np.clip(rng.poisson(image / 255.0 * entry) / entry, 0, 1) * 255)
    if name == "impulse_noise":
        return np.uint8(random_noise(image / 255.0, mode="s&p", amount=entry) * 255)
    if name == "glass_blur":
        return glass_blur(image, *entry, rng)
    if name == "fog":
        greys = image / 255.0
        cloud = plasma(entry[1], 1 << (size - 1).bit_length(), rng)[:size, :size, None]
        return np.uint8(np.clip((greys + entry[0] * cloud) * greys.max() / (greys.max() + entry[0]), 0, 1) * 255)
    draw = {} if name in DETERMINISTIC else published_draw(name, severity, size, rng, image)
    return corrupted(name, image, severity, size, **draw)


def glass_blur(image: np.ndarray, sigma: float, reach: int, passes: int, rng: np.random.RandomState) -> np.ndarray:
    """A draw and a copy per pixel."""
    height, width = image.shape[:2]
    out = np.uint8(gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255)
    for _ in range(passes):
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dx, dy = rng.randint(-reach, reach, size=(2,))
                out[h, w] = out[h + dy, w + dx]
    return np.uint8(np.clip(gaussian(out / 255.0, sigma=sigma, channel_axis=-1), 0, 1) * 255)


def plasma(decay: float, side: int, rng: np.random.RandomState) -> np.ndarray:
    """The diamond-square cloud, scale by scale."""
    cloud, step, wibble = np.zeros((side, side)), side, 100.0
    while step >= 2:
        half = step // 2
        corners, centres = cloud[::step, ::step], cloud[half::step, half::step]
        pairs = corners + np.roll(corners, -1, 0)
        pairs += np.roll(pairs, -1, 1)
        centres[:] = pairs / 4 + wibble * rng.uniform(-wibble, wibble, pairs.shape)
        upper = centres + np.roll(centres, 1, 0) + corners + np.roll(corners, -1, 1)
        cloud[::step, half::step] = upper / 4 + wibble * rng.uniform(-wibble, wibble, upper.shape)
        left = centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 0)
        cloud[half::step, ::step] = left / 4 + wibble * rng.uniform(-wibble, wibble, left.shape)
        step, wibble = half, wibble / decay
    cloud -= cloud.min()
    return cloud / cloud.max()


def forms(name: str, severity: int, images: np.ndarray, few: int, package: bool) -> dict[str, Callable[[], Any]]:
    """The ways to compare; the image-by-image ones over the first `few` images."""
    size = images.shape[1]
    corruption, generator, rng = KINDS[name](severity, size), torch.Generator().manual_seed(0), np.random.RandomState(0)
    tensor, seeds = from_levels(images), image_seeds(0, torch.arange(len(images)))
    ways = {
        "reference": lambda: [published(name, image, severity, size, rng) for image in images[:few]],
        "batched": lambda: corruption.apply(tensor, corruption.sample(tuple(tensor.shape), generator)),
        "seeded": lambda: corrupt(corruption, tensor, seeds),
        "floor": lambda: (corruption.sample(tuple(tensor.shape), generator), map_values(lambda levels: levels, tensor)),
    }
    if package:
        import imagecorruptions

        ways["package"] = lambda: [
            imagecorruptions.corrupt(image, severity, corruption_name=name) for image in images[:few]
        ]
    return ways


def main() -> int:
    """Measure and print a line per corruption and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224], choices=sorted(PARAMETERS))
    parser.add_argument("--severities", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--batch", type=int, default=None, help="128, or 8 from 224 pixels on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(KINDS))
    parser.add_argument("--package", action="store_true")
    parser.add_argument("--min-ratio", type=float, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    return max(measure(size, arguments) for size in arguments.sizes)


def measure(size: int, arguments: argparse.Namespace) -> int:
    """One table; 1 if it misses what was asked for."""
    batch = arguments.batch or (8 if size >= 224 else 128)
    images = np.resize(varied_at(size)[:8], (batch, size, size, 3))
    few = max(1, min(16, batch) // (8 if size >= 224 else 1))
    package = arguments.package and size >= 224
    columns = ["reference", "batched", "seeded", "floor", *(["package"] if package else [])]
    sums, slower = dict.fromkeys(columns, 0.0), []
    print(f"{size} px, batch {batch}, mean of severities {arguments.severities}: ms per image, and ratios")
    print(f"{'':18}" + "".join(f"{column:>11}" for column in columns) + f"{'batched':>9}{'seeded':>9}{'/ floor':>9}")
    for name in arguments.only:
        each = dict.fromkeys(columns, 0.0)
        for severity in arguments.severities:
            seconds = compare(forms(name, severity, images, few, package), arguments.rounds)
            for column, value in seconds.items():
                one_by_one = column in ("reference", "package")
                each[column] += 1000 * value / (few if one_by_one else batch) / len(arguments.severities)
        sums = {column: sums[column] + each[column] for column in columns}
        slower += [name] if each["batched"] > each["reference"] else []
        print_line(name, each)
    print_line("sum", sums)
    return int(bool(slower) or sums["reference"] / sums["batched"] < arguments.min_ratio)


def print_line(name: str, each: dict[str, float]) -> None:
    """Milliseconds per image, then the reference's in units of ours, then ours in units of the floor."""
    ratios = "".join(f"{each['reference'] / each[form]:9.1f}" for form in ("batched", "seeded"))
    nearness = f"{each['batched'] / each['floor']:9.1f}"
    print(f"{name:18}" + "".join(f"{value:11.3f}" for value in each.values()) + ratios + nearness, flush=True)


if __name__ == "__main__":
    sys.exit(main())
