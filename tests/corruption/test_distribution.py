"""The random corruptions against the published draws, as distributions: 500 images, drawn by both ways once each.

For every image the difference of a statistic (ours minus published) has mean 0 if the distributions agree; its mean
over the images must lie within 4.5 standard errors of 0. Statistics of the change (corrupted minus clean): mean, mean
square, gradient energy, and power in eight rings of spatial frequency.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from corruption.kinds import KINDS, from_levels, needs_opencv, to_array
from reference import corruptions
from reference.corruptions import RANDOM, corrupted, published_draw
from scipy import ndimage
from skimage.util import random_noise

N, RINGS, LIMIT = 500, 8, 4.5


@functools.cache
def images() -> np.ndarray:
    """(N,32,32,3): smooth colour fields of various contrast."""
    rng = np.random.default_rng(5)
    fields = ndimage.gaussian_filter(rng.normal(size=(N, 32, 32, 3)), (0, 2, 2, 0.5), mode="wrap")
    fields *= rng.uniform(30, 90, (N, 1, 1, 1)) / fields.std((1, 2, 3), keepdims=True)
    return np.clip(np.rint(127.5 + fields), 0, 255).astype(np.uint8)


def statistics(out: np.ndarray) -> np.ndarray:
    """(N, 3 + RINGS)"""
    change = out.astype(float) - images()
    luma = out.astype(float).mean(-1)
    gradient = (np.diff(luma, axis=1) ** 2).mean((1, 2)) + (np.diff(luma, axis=2) ** 2).mean((1, 2))
    power = (np.abs(np.fft.fft2(change, axes=(1, 2))) ** 2).mean(-1)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    ring = np.minimum((frequency / frequency.max() * RINGS).astype(int), RINGS - 1)
    rings = np.stack([power[:, ring == k].mean(1) for k in range(RINGS)], 1)
    return np.column_stack([change.mean((1, 2, 3)), (change**2).mean((1, 2, 3)), gradient, np.sqrt(rings)])


def published(name: str, severity: int) -> np.ndarray:
    rng = np.random.RandomState(11)
    entry = corruptions.PARAMETERS[32][name][severity - 1]
    if name == "shot_noise":
        return np.uint8(np.clip(rng.poisson(images() / 255.0 * entry) / entry, 0, 1) * 255)
    if name == "impulse_noise":
        return np.uint8(random_noise(images() / 255.0, mode="s&p", amount=entry, rng=1) * 255)
    return np.stack(
        [corrupted(name, image, severity, 32, **published_draw(name, severity, 32, rng, image)) for image in images()]
    )


def ours(name: str, severity: int) -> np.ndarray:
    corruption = KINDS[name](severity)
    return to_array(
        corruption.apply(from_levels(images()), corruption.sample((N, 3, 32, 32), torch.Generator().manual_seed(2)))
    )


def standard_errors_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    apart = statistics(first) - statistics(second)
    return apart.mean(0) / (apart.std(0, ddof=1) / N**0.5)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", RANDOM)
def test_same_distribution(name: str, severity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_opencv(name)
    monkeypatch.setattr(corruptions, "photograph", functools.cache(corruptions.photograph))
    apart = standard_errors_apart(ours(name, severity), published(name, severity))
    assert np.abs(apart).max() < LIMIT, apart.round(1)


def blurred(levels: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(levels.astype(float), (0, 0.4, 0.4, 0), mode="nearest")


def test_a_true_swap_would_be_seen() -> None:
    """The test has the power to tell glass blur from what its authors meant to write."""
    corruption = KINDS["glass_blur"](5)
    offsets = corruption.sample((N, 3, 32, 32), torch.Generator().manual_seed(2))["offsets"].numpy().astype(int)
    swapped = np.uint8(blurred(images()))
    for turn in range(corruption.passes):
        for h in range(31, 1, -1):
            for w in range(31, 1, -1):
                rows, columns = h + offsets[:, turn, 0, h - 2, w - 2], w + offsets[:, turn, 1, h - 2, w - 2]
                every = np.arange(N)
                other = swapped[every, rows, columns]
                swapped[every, rows, columns], swapped[every, h, w] = swapped[every, h, w].copy(), other
    assert np.abs(standard_errors_apart(np.uint8(blurred(swapped)), published("glass_blur", 5))).max() > 3 * LIMIT
