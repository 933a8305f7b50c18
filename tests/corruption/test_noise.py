"""The distributions of the four noises, from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from corruption.kinds import KINDS, from_levels, to_array
from scipy import stats

from fourier_robust.corruption.noise import ImpulseNoise, ShotNoise

N = 40  # images of one level: 122,880 values


def corrupted(name: str, severity: int, level: int) -> np.ndarray:
    corruption = KINDS[name](severity)
    images = from_levels(np.full((N, 32, 32, 3), level, np.uint8))
    return to_array(corruption.apply(images, corruption.sample(tuple(images.shape), torch.Generator().manual_seed(7))))


@pytest.mark.parametrize(("name", "scale"), [("gaussian_noise", 0.08), ("speckle_noise", 0.12 * 128 / 255)])
def test_normal_noise_has_its_moments(name: str, scale: float) -> None:
    """Truncation takes half a level off the mean and adds a level's uniform variance."""
    values = corrupted(name, 3, 128).astype(float)
    sigma = np.hypot(scale * 255, 12**-0.5)
    assert values.mean() == pytest.approx(128 - 0.5, abs=4 * sigma / values.size**0.5)
    assert values.std() == pytest.approx(sigma, rel=4 / (2 * values.size) ** 0.5)


@pytest.mark.parametrize("level", [0, 1, 40, 128, 255])
def test_shot_noise_is_poisson(level: int) -> None:
    """Chi-square of the levels against those that the Poisson counts of this rate would be cut to."""
    corruption = ShotNoise(5)
    rate = level / 255 * corruption.photons
    counts = np.arange(400)
    cut = np.uint8(np.clip(counts / corruption.photons, 0, 1) * 255)
    probability = np.bincount(cut, stats.poisson.pmf(counts, rate), minlength=256)
    found = np.bincount(corrupted("shot_noise", 5, level).ravel(), minlength=256)
    likely = probability * found.sum() > 10
    assert found[probability == 0].sum() == 0
    squares = (found - probability * found.sum())[likely] ** 2 / (probability * found.sum())[likely]
    assert squares.sum() <= stats.chi2.ppf(0.9999, max(likely.sum(), 1))


@pytest.mark.parametrize("severity", range(1, 6))
def test_no_bucket_of_the_poisson_table_holds_two_steps(severity: int) -> None:
    """The one-comparison lookup is exact only then; checked by the definition's quantile on a grid of 8 per bucket."""
    corruption = ShotNoise(severity)
    z = torch.arange(-6.5, 6.5, 1 / 256, dtype=torch.float64)
    levels = np.repeat(np.array([1, 20, 90, 170, 255], np.uint8), len(z))
    rates = levels / 255.0 * corruption.photons
    draw = np.tile(z.numpy(), 5)
    counts = np.where(
        draw < 0, stats.poisson.ppf(stats.norm.cdf(draw), rates), stats.poisson.isf(stats.norm.sf(draw), rates)
    )
    expected = np.uint8(np.clip(counts / corruption.photons, 0, 1) * 255)
    images = torch.from_numpy(levels).float().div(255).view(1, 1, 16, -1).expand(1, 3, 16, -1)
    out = corruption.apply(images, {"noise": torch.from_numpy(draw).view(1, 1, 16, -1).expand(1, 3, 16, -1)})
    assert np.array_equal(to_array(out)[..., 0].ravel(), expected)


@pytest.mark.parametrize("severity", range(1, 6))
def test_impulse_noise_flips_single_values(severity: int) -> None:
    values = corrupted("impulse_noise", severity, 100)
    amount = ImpulseNoise(severity).amount
    spread = 4 * (amount / 2 / values.size) ** 0.5
    assert (values == 0).mean() == pytest.approx(amount / 2, abs=spread)
    assert (values == 255).mean() == pytest.approx(amount / 2, abs=spread)
    assert set(np.unique(values)) == {0, 100, 255}
    flipped = values != 100  # channels are independent: pairs flip together with probability amount squared
    pairs = (flipped[..., 0] & flipped[..., 1]).mean()
    assert pairs == pytest.approx(amount**2, abs=5 * amount / (values.size / 3) ** 0.5)


def test_shot_noise_grows_with_its_draw() -> None:
    corruption = ShotNoise(3)
    noise = torch.linspace(-9, 9, 1024).view(1, 1, 32, 32).expand(1, 3, 32, 32)
    out = corruption.apply(torch.full((1, 3, 32, 32), 90 / 255), {"noise": noise})
    assert (out.flatten(2).diff() >= 0).all()
