"""Shares of power: what is 1, what adds up, what does not matter, what white noise gives."""

from __future__ import annotations

import math

import pytest
import torch

from fourier_robust.fourier.basis import fourier_basis
from fourier_robust.fourier.profile import band_edges, band_shares, entropy, power_shares, white_shares
from fourier_robust.fourier.rings import ring_counts
from fourier_robust.fourier.spectrum import whole_plane

SIZES = [(32, 32), (15, 15), (12, 18), (9, 14)]


def noise(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def wave(down: int, across: int, height: int, width: int) -> torch.Tensor:
    freqs = torch.tensor([[down, across]])
    return fourier_basis(freqs, height, width, dtype=torch.float64).expand(1, 3, height, width)


def delta(ring: int, number: int) -> torch.Tensor:
    return torch.eye(number, dtype=torch.float64)[ring - 1]


@pytest.mark.parametrize("channels", ["mean", "sum_power"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_shares_sum_to_one(height: int, width: int, channels: str, generator: torch.Generator) -> None:
    shares = power_shares(noise(generator, 4, 3, height, width), channels)
    assert torch.allclose(shares.ring.sum(1), torch.ones(4, dtype=torch.float64), rtol=1e-12)
    plane = whole_plane(shares.half, width)
    assert torch.allclose(plane.sum((1, 2)), torch.ones(4, dtype=torch.float64), rtol=1e-12)
    assert (plane[:, height // 2, width // 2] == 0).all()
    assert not shares.flat.any()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("down", "across"), [(0, 1), (3, 0), (-2, 3), (4, 4)])
def test_one_cosine_has_all_its_power_in_its_ring(height: int, width: int, down: int, across: int) -> None:
    ring = power_shares(wave(down, across, height, width)).ring[0]
    assert torch.allclose(ring, delta(round(math.hypot(down, across)), len(ring)), atol=1e-12)


def test_two_cosines_share_by_power() -> None:
    images = 3 * wave(0, 2, 32, 32) + wave(5, -5, 32, 32)
    ring = power_shares(images).ring[0]
    assert torch.allclose(ring, 0.9 * delta(2, 23) + 0.1 * delta(7, 23), atol=1e-12)


@pytest.mark.parametrize("channels", ["mean", "sum_power"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_scale_sign_shift_and_mean_do_not_matter(
    height: int, width: int, channels: str, generator: torch.Generator
) -> None:
    images = noise(generator, 2, 3, height, width)
    expected = power_shares(images, channels).ring
    for same in (1e-30 * images, 1e30 * images, -images, images.roll((3, 5), (2, 3)), images + 7):
        assert torch.allclose(power_shares(same, channels).ring, expected, atol=1e-12)


def test_opposite_channels_cancel_in_their_mean_alone() -> None:
    image = wave(0, 4, 32, 32)[:, :1]
    opposite = torch.cat([image, -image, 0 * image], 1)
    cancelled = power_shares(opposite, "mean")
    assert cancelled.flat.all()
    assert not cancelled.ring.any()
    kept = power_shares(opposite, "sum_power")
    assert not kept.flat.any()
    assert torch.allclose(kept.ring[0], delta(4, 23), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_without_power_beside_dc_are_flat_not_nan(dtype: torch.dtype, generator: torch.Generator) -> None:
    images = noise(generator, 4, 3, 31, 29).to(dtype)
    images[1] = 0
    images[2] = 0.1  # its transform beside DC is rounding
    shares = power_shares(images)
    assert shares.flat.tolist() == [False, True, True, False]
    assert shares.ring.dtype == dtype
    assert not shares.ring[1:3].any()
    assert not shares.half[1:3].any()
    assert shares.ring.isfinite().all()
    assert torch.allclose(shares.ring[[0, 3]], power_shares(images[[0, 3]]).ring, rtol=1e-5)


def test_gradients_whose_squares_underflow_have_a_profile(generator: torch.Generator) -> None:
    images = noise(generator, 1, 3, 32, 32).float()
    assert torch.allclose(power_shares(images * 1e-30).ring, power_shares(images).ring, atol=1e-6)


def test_white_noise_averages_to_its_counts(generator: torch.Generator) -> None:
    expected = white_shares(32, 32)
    assert torch.allclose(expected, ring_counts(32, 32)[1:].double() / 1023)
    found = power_shares(noise(generator, 500, 3, 32, 32)).ring.mean(0)
    assert (found - expected).abs().max() < 3e-3


def test_white_noise_in_the_bands() -> None:
    for size, published in ((32, (0.094, 0.246, 0.660)), (64, (0.085, 0.271, 0.644)), (224, (0.088, 0.260, 0.652))):
        white, edges = white_shares(size, size), band_edges(size, size)
        found = [float(band_shares(white, edges[name])) for name in ("low", "mid", "high")]
        assert found == pytest.approx(published, abs=5e-4)
        assert sum(found) == pytest.approx(1, abs=1e-12)
    assert float(entropy(white_shares(32, 32), 16)) == pytest.approx(3.77, abs=5e-3)


def test_edges_of_the_bands() -> None:
    assert band_edges(32, 32) == {"low": (1, 5), "mid": (6, 10), "high": (11, 23)}
    assert band_edges(64, 64) == {"low": (1, 10), "mid": (11, 21), "high": (22, 45)}
    assert band_edges(96, 96) == {"low": (1, 16), "mid": (17, 32), "high": (33, 68)}
    assert band_edges(224, 224) == {"low": (1, 37), "mid": (38, 74), "high": (75, 158)}
    assert band_edges(6, 40)["low"] == (1, 1)
    with pytest.raises(ValueError, match="images of 5x40 pixels have no low band"):
        band_edges(5, 40)


def test_entropy() -> None:
    uniform = torch.full((23,), 1 / 23, dtype=torch.float64)
    assert float(entropy(uniform, 16)) == pytest.approx(4)
    assert float(entropy(delta(3, 23), 16)) == 0
    assert float(entropy(0.25 * delta(3, 23) + 0.25 * delta(9, 23) + 0.5 * delta(20, 23), 16)) == pytest.approx(1)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"must be \(B,C,H,W\)"):
        power_shares(torch.ones(3, 8, 8))
    with pytest.raises(ValueError, match="channels must be one of mean, sum_power"):
        power_shares(torch.ones(1, 3, 8, 8), "max")
    with pytest.raises(TypeError, match="float32 or float64"):
        power_shares(torch.ones(1, 3, 8, 8, dtype=torch.bfloat16))
