"""Eleven corruptions, batched against image by image: `PYTHONPATH=tests python scripts/bench/corruptions.py`.

The reference is tests/reference (NumPy, SciPy, scikit-image, Pillow: the published script's operations and draws), from
uint8 arrays to uint8 arrays; ours goes from float32 to float32 tensors and draws too. `seeded` is ours with one
generator per image, as the suite runs it. One thread, CPU seconds, medians of rounds in turn.
Exits with 1 if the sum over the eleven is less than --min-ratio times faster, or one of them is slower.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from corruption.kinds import KINDS, from_levels
from reference.corruptions import DETERMINISTIC, RANDOM, varied_images
from skimage.util import random_noise
from timing import compare

from fourier_robust.corruption.seeded import corrupt, image_seeds


def published(name: str, image: np.ndarray, severity: int, rng: np.random.RandomState) -> np.ndarray:
    """One image as the published script makes it, its draw included."""
    if name in DETERMINISTIC:
        return DETERMINISTIC[name](image, severity)
    if name == "shot_noise":
        photons = KINDS[name](severity).photons  # builds no table before its first use
        return np.uint8(np.clip(rng.poisson(image / 255.0 * photons) / photons, 0, 1) * 255)
    if name == "impulse_noise":
        return np.uint8(random_noise(image / 255.0, mode="s&p", amount=KINDS[name](severity).amount) * 255)
    return RANDOM[name](image, severity, rng.normal(size=image.shape))


def forms(name: str, severity: int, images: np.ndarray, few: int) -> dict[str, Callable[[], Any]]:
    """The three ways to compare; the reference over the first `few` images."""
    corruption, generator, rng = KINDS[name](severity), torch.Generator().manual_seed(0), np.random.RandomState(0)
    tensor, seeds = from_levels(images), image_seeds(0, torch.arange(len(images)))
    return {
        "reference": lambda: [published(name, image, severity, rng) for image in images[:few]],
        "batched": lambda: corruption.apply(tensor, corruption.sample(tuple(tensor.shape), generator)),
        "seeded": lambda: corrupt(corruption, tensor, seeds),
    }


def main() -> int:
    """Measure and print a line per corruption and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--min-ratio", type=float, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, few = np.resize(varied_images()[:100], (arguments.batch, 32, 32, 3)), min(32, arguments.batch)
    sums, slower = dict.fromkeys(("reference", "batched", "seeded"), 0.0), []
    print(f"{'images/s':18}{'reference':>11}{'batched':>11}{'seeded':>11}{'ratio':>8}{'seeded':>8}")
    for name in KINDS:
        seconds = compare(forms(name, arguments.severity, images, few), arguments.rounds)
        each = {form: value / (few if form == "reference" else len(images)) for form, value in seconds.items()}
        sums = {form: sums[form] + each[form] for form in sums}
        slower += [name] if each["batched"] > each["reference"] else []
        print_line(name, each)
    print_line("sum of all", sums)
    return int(bool(slower) or sums["reference"] / sums["batched"] < arguments.min_ratio)


def print_line(name: str, each: dict[str, float]) -> None:
    """Images per second and ratios to the reference, from seconds per image."""
    rates = "".join(f"{1 / value:11,.0f}" for value in each.values())
    ratios = "".join(f"{each['reference'] / each[form]:8.1f}" for form in ("batched", "seeded"))
    print(f"{name:18}{rates}{ratios}")


if __name__ == "__main__":
    sys.exit(main())
