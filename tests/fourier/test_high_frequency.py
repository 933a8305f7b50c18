"""The square of high frequencies, and the mean spectrum of changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fourier_robust.fourier.high_frequency import ChangeSpectrum, highest_square, share_of_bins


@pytest.mark.parametrize(("size", "bandwidth"), [(32, 27), (32, 1), (8, 5), (9, 6), (64, 53)])
def test_the_centred_square_of_the_spectrum_that_has_the_highest_frequency_in_its_centre(
    size: int, bandwidth: int
) -> None:
    whole = np.zeros((size, size), dtype=bool)  # as torch.fft.fft2 lays it out, the highest frequency is in the middle
    first = (size - bandwidth + 1) // 2
    whole[first : first + bandwidth, first : first + bandwidth] = True
    square = highest_square(size, size, bandwidth)
    assert torch.equal(square, torch.from_numpy(whole[:, : size // 2 + 1]))
    assert share_of_bins(size, size, bandwidth) == bandwidth**2 / size**2


@pytest.mark.parametrize(("size", "bandwidth"), [(32, 27), (64, 53), (224, 189)])
def test_the_default_scales_with_the_side(size: int, bandwidth: int) -> None:
    assert torch.equal(highest_square(size, size), highest_square(size, size, bandwidth))
    assert torch.equal(highest_square(size, size, bandwidth + 1), highest_square(size, size, bandwidth))


@pytest.mark.parametrize(
    ("size", "bandwidth", "said"), [(32, 0, "above 0"), (32, 33, "at most the 32 pixels"), (9, 1, "keeps nothing")]
)
def test_refused(size: int, bandwidth: int, said: str) -> None:
    with pytest.raises(ValueError, match=rf"bandwidth={bandwidth}.*{said}"):
        highest_square(size, size, bandwidth)


@pytest.mark.parametrize("size", [8, 9])
def test_amplitudes_and_shares_are_those_of_the_whole_transform(size: int, generator: torch.Generator) -> None:
    changes = torch.randn(7, 3, size, size, generator=generator)
    changes[2] = 0
    changes[4] *= 1e-6  # rounding
    change = ChangeSpectrum()
    for part in changes.split(3):
        change.add(part)
    amplitudes = np.abs(np.fft.fft2(changes.double().numpy(), norm="ortho"))
    wanted = np.fft.fftshift(amplitudes.mean((0, 1)))
    np.testing.assert_allclose(change.mean_amplitude().numpy(), wanted, rtol=1e-5)
    u = np.abs(np.round(np.fft.fftfreq(size, 1 / size)))
    inside = (u[:, None] >= 1) & (u >= 1)  # 27/32 of 8 or 9 coefficients: without those of frequency 0
    energy = (amplitudes**2).sum((1, 2, 3))
    shares = (amplitudes**2 * inside).sum((1, 2, 3)) / np.where(energy > 0, energy, 1)
    shares[[2, 4]] = np.nan
    np.testing.assert_allclose(change.fractions().numpy(), shares, rtol=1e-5)


def test_white_noise_has_the_share_of_the_bins(generator: torch.Generator) -> None:
    change = ChangeSpectrum()
    change.add(torch.randn(400, 3, 32, 32, generator=generator))
    share = change.fractions()
    assert abs(share.mean() - (27 / 32) ** 2) < 4 * share.std() / 20
