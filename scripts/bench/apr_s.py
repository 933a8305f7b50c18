"""APR-S, crop and flip: the batched transforms against a loader that works image by image with PIL and np.fft.

    python scripts/bench/apr_s.py --threads 1 --rounds 7

Both start from uint8 images in memory and end at a float32 batch in [0,1]. Prints images per CPU second and the ratio.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from timing import compare

from fourier_robust.aug.apr_s import APRS
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.standard import CropFlip
from fourier_robust.engine.process import keep_big_blocks

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from reference import pil_ops

# Pixels, images, padding of the crop; the last is ImageNet's chain, whose crop happens while decoding.
SIZES = ((32, 128, 4), (32, 256, 4), (224, 32, 4), (224, 32, 0))
NAMES = list(pil_ops.OPERATIONS)


def coloured_noise(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(count,size,size,3) uint8 images with the 1/f amplitudes of photographs."""
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    radius[0, 0] = math.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(count, 3, size, size))) / radius, s=(size, size))
    noise *= 50 / noise.std(axis=(2, 3), keepdims=True)
    return np.clip(noise + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def per_image(images: np.ndarray, padding: int, rng: np.random.Generator) -> torch.Tensor:
    """What a data set of the usual kind does: operations, FFTs in complex128, crop, flip and conversion, one by one."""
    return torch.stack([load(image, padding, rng) for image in images])


def load(image: np.ndarray, padding: int, rng: np.random.Generator) -> torch.Tensor:
    """One uint8 (H,W,3) image -> float32 (3,H,W)."""
    once = operate(Image.fromarray(image), rng)
    if rng.uniform() < 0.5:
        twice = operate(once, rng)
        pair = (once, twice) if rng.uniform() < 0.5 else (twice, once)
        phase_of, amplitude_of = (np.fft.fftshift(np.fft.fftn(np.asarray(view))) for view in pair)
        mixed = np.abs(amplitude_of) * np.exp(1j * np.angle(phase_of))
        levels = np.fft.ifftn(np.fft.ifftshift(mixed)).real
        once = Image.fromarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8))
    if padding:
        top, left = rng.integers(2 * padding + 1, size=2)
        once = ImageOps.expand(once, padding, (128,) * 3).crop((left, top, left + once.width, top + once.height))
    if rng.uniform() < 0.5:
        once = ImageOps.mirror(once)
    return torch.from_numpy(np.asarray(once).transpose(2, 0, 1).copy()).float().div_(255)


def operate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One of the nine operations at magnitude 3."""
    name = NAMES[rng.integers(len(NAMES))]
    value = pil_ops.parameter(name, rng.uniform(0.1, 3), rng.uniform() < 0.5, image.height, image.width)
    return pil_ops.OPERATIONS[name](image, value)


def batched(images: np.ndarray, padding: int, generator: torch.Generator) -> Callable[[], torch.Tensor]:
    """The same by this package, from a resident uint8 store."""
    store = torch.from_numpy(images)
    count, size, _, _ = images.shape
    labels = torch.zeros(count, dtype=torch.int64)
    chain = Chain(single=APRS(), crop=CropFlip(padding))

    def run() -> torch.Tensor:
        batch = store.permute(0, 3, 1, 2).float().div_(255)
        return chain.apply(batch, labels, chain.sample((count, 3, size, size), generator)).images

    return run


def main() -> None:
    """Measure at 32 and 224 pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_big_blocks()  # as fr-train does on a CPU
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for size, count, padding in SIZES:
        images = coloured_noise(count, size, rng)
        functions: dict[str, Callable[[], torch.Tensor]] = {
            "one": partial(per_image, images, padding, rng),
            "batch": batched(images, padding, generator),
        }
        seconds = compare(functions, arguments.rounds, min_seconds=0.2)
        print(
            f"{size} px, batch {count}, padding {padding}: one by one {count / seconds['one']:.0f} images/s, "
            f"batched {count / seconds['batch']:.0f}, ratio {seconds['one'] / seconds['batch']:.1f}"
        )


if __name__ == "__main__":
    main()
