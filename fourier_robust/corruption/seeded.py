"""Corruptions with one random draw per image, which no batch size, order or neighbour can change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from fourier_robust.corruption.base import Corruption, check_images

_MASK = (1 << 64) - 1


def condition_seed(seed: int, corruption: str, severity: int) -> int:
    """A 63-bit seed for one condition of a suite: the start of the SHA-256 of ``seed/corruption/severity``."""
    digest = hashlib.sha256(f"{seed}/{corruption}/{severity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def image_seeds(base_seed: int, index: torch.Tensor) -> list[int]:
    """A 63-bit seed per image: the splitmix64 output number ``index`` of a stream that starts at `base_seed`.

    Args:
        base_seed: of the condition, see `condition_seed`.
        index: (B,) int64 CPU, the images' positions in their split.
    """
    return [_mix(base_seed + (i + 1) * 0x9E3779B97F4A7C15) >> 1 for i in index.tolist()]


def _mix(state: int) -> int:
    """The output function of splitmix64 (Steele, Lea and Flood 2014)."""
    state &= _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def corrupt(corruption: Corruption, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Draw image by image from generators of their own, then corrupt the whole batch at once.

    The draws are made on the CPU, so they are the same whatever the device of the images. A deterministic corruption is
    recognised by its empty first draw.

    Args:
        corruption: its parameters are tensors with one row per image.
        images: (B,3,H,W) float32 in [0,1].
        seeds: B numbers of 63 bits. (torch's CPU generator keeps their low 32 bits: among N images two share a draw
            with a probability of about N**2 / 2**33, 1 % for 10,000.)

    Returns:
        (B,3,H,W) float32 in [0,1].

    Raises:
        ValueError: another number of seeds than images; or see `check_images`.
    """
    check_images(images)
    if len(seeds) != len(images):
        raise ValueError(f"seeds holds {len(seeds)} numbers, one for each of the {len(images)} images is needed")
    generator = torch.Generator()
    shape = (1, *images.shape[1:])
    draws = []
    for seed in seeds:
        draws.append(corruption.sample(shape, generator.manual_seed(seed)))
        if not draws[0]:
            return corruption.apply(images, {})
    if not draws:
        return images.clone()
    return corruption.apply(images, {name: torch.cat([draw[name] for draw in draws]) for name in draws[0]})
