"""PGD in a band: both bounds hold before the clip, and the band's optimum on a linear model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attack.nets import generator, known, linear, trained

from fourier_robust.attack.band_pgd import BandBall, BandPGD, band_mask, outside_band
from fourier_robust.errors import UserError


def rings(height: int, width: int) -> np.ndarray:
    """(H,W): the ring of each coefficient of `np.fft.fft2`."""
    down, across = (np.rint(np.fft.fftfreq(size) * size) for size in (height, width))
    return np.rint(np.hypot(down[:, None], across[None]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("band", "first", "last"), [("low", 0, 2), ("mid", 3, 4), ("high", 5, 8), ([1, 1], 1, 1)])
def test_both_bounds_hold_before_the_clip(norm: str, band: str | list[int], first: int, last: int) -> None:
    images, labels = known(24)
    eps = 0.05 if norm == "linf" else 0.7
    ball = BandBall(images, eps, norm, band_mask(12, 12, band))
    ring = rings(12, 12)
    outside = (ring < first) | (ring > last)
    points = ball.start(generator())
    for step in range(4):
        power = np.abs(np.fft.fft2(points.double().numpy())) ** 2
        assert power[..., outside].sum() < 1e-10 * power.sum()
        change = points.flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        assert (size <= eps + 1e-6).all()
        gradient = torch.randn(images.shape, generator=generator(step))
        points = ball.step(points, gradient, eps)
    inner = 0.4 + 0.2 * images  # nothing is cut, so the result itself is in the band
    found = BandPGD(eps, band, norm, 5)(trained(), inner, labels, generator())
    if norm == "linf":
        assert outside_band(found - inner, band_mask(12, 12, band)).max() < 1e-9


def test_what_the_clip_puts_outside_is_measured() -> None:
    images, labels = known(24)
    found = BandPGD(0.2, "high", steps=3)(trained(), images, labels, generator())
    change = (found - images).double().numpy()
    power = np.abs(np.fft.fft2(change)) ** 2
    wanted = power[..., rings(12, 12) < 5].sum((1, 2)) / power.sum((1, 2, 3))
    share = outside_band(found - images, band_mask(12, 12, "high"))
    assert np.allclose(share, wanted, atol=1e-5)
    assert share.min() > 1e-4
    assert outside_band(torch.zeros(2, 3, 12, 12), band_mask(12, 12, "high")).tolist() == [0, 0]


def test_the_optimum_of_a_linear_model_with_l2_is_its_direction_in_the_band() -> None:
    model, images = linear(), torch.full((4, 3, 6, 6), 0.5)
    labels = torch.tensor([0, 1, 0, 1])
    weight = model[1].weight.detach().view(2, 3, 6, 6)
    direction = (weight[1 - labels] - weight[labels]).double().numpy()
    inside = rings(6, 6) <= 1
    part = np.fft.ifft2(np.fft.fft2(direction) * inside).real
    part *= 0.3 / np.sqrt((part**2).sum((1, 2, 3), keepdims=True))
    found = BandPGD(0.3, "low", "l2", 30, random_start=False, early_exit=False)(model, images, labels, generator())
    assert np.allclose(found - images, part, atol=1e-5)


def test_bands_fill_the_plane_and_empty_ones_are_refused() -> None:
    for height, width in ((32, 32), (12, 15), (7, 7)):
        parts = [band_mask(height, width, band) for band in ("low", "mid", "high")]
        assert (torch.stack(parts).sum(0) == 1).all()
        assert parts[0][0, 0]
    images, labels = known(24)
    for band in ([9, 9], [4, 3], [-1, 2]):
        with pytest.raises(UserError, match="is empty: rings of 12x12 pixels run from 0 to 8"):
            BandPGD(0.1, band)(trained(), images, labels, generator())
