"""APR-S, crop and flip: the batched transforms against a loader that works image by image with PIL and np.fft.

    python scripts/bench/apr_s.py --threads 1 --rounds 7

Both start from uint8 images in memory and end at a float32 batch in [0,1]. Prints images per CPU second and the ratio.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from timing import compare

from fourier_robust.aug.apr_s import APRS
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.standard import CropFlip

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from reference import pil_ops

PADDING = 4
NAMES = list(pil_ops.OPERATIONS)


def coloured_noise(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(count,size,size,3) uint8 images with the 1/f amplitudes of photographs."""
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    radius[0, 0] = math.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(count, 3, size, size))) / radius, s=(size, size))
    noise *= 50 / noise.std(axis=(2, 3), keepdims=True)
    return np.clip(noise + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def per_image(images: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """The usual data set's work: per image PIL operations, NumPy's complex FFTs, crop, flip and conversion."""
    return torch.stack([_one(image, rng) for image in images])


def _one(image: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    height, width, _ = image.shape
    once = _operate(Image.fromarray(image), rng)
    if rng.uniform() < 0.5:
        twice = _operate(once, rng)
        pair = (once, twice) if rng.uniform() < 0.5 else (twice, once)
        phase_of, amplitude_of = (np.fft.fftn(np.asarray(view)) for view in pair)
        levels = np.fft.ifftn(np.abs(amplitude_of) * np.exp(1j * np.angle(phase_of))).real
        once = Image.fromarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8))
    top, left = rng.integers(2 * PADDING + 1, size=2)
    padded = ImageOps.expand(once, PADDING, (128, 128, 128))
    cropped = padded.crop((left, top, left + width, top + height))
    if rng.uniform() < 0.5:
        cropped = ImageOps.mirror(cropped)
    return torch.from_numpy(np.asarray(cropped).transpose(2, 0, 1).copy()).float().div_(255)


def _operate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    name = NAMES[rng.integers(len(NAMES))]
    value = pil_ops.parameter(name, rng.uniform(0.1, 3), rng.uniform() < 0.5, image.height, image.width)
    return pil_ops.OPERATIONS[name](image, value)


def main() -> None:
    """Measure at 32 and 224 pixels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compat", choices=("clean", "upstream"), default="clean")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for size, count in ((32, 128), (32, 256), (224, 32)):
        images = coloured_noise(count, size, rng)
        store = torch.from_numpy(images)
        labels = torch.zeros(count, dtype=torch.int64)
        chain = Chain(single=APRS(compat=arguments.compat), crop=CropFlip(PADDING))

        def batched(chain: Chain = chain, store: torch.Tensor = store, labels: torch.Tensor = labels) -> torch.Tensor:
            batch = store.permute(0, 3, 1, 2).float().div_(255)
            return chain.apply(batch, labels, chain.sample(tuple(batch.shape), generator)).images

        seconds = compare(
            {"per image": lambda images=images: per_image(images, rng), "batched": batched}, rounds=arguments.rounds
        )
        print(
            f"{size} px, batch {count}: per image {count / seconds['per image']:.0f} images/s, "
            f"batched {count / seconds['batched']:.0f}, ratio {seconds['per image'] / seconds['batched']:.1f}"
        )


if __name__ == "__main__":
    main()
