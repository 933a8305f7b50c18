"""What a change adds to images, by frequency: its mean spectrum, and the share of its energy at high frequencies."""

from __future__ import annotations

import torch

from fourier_robust.fourier.rings import multiplicity
from fourier_robust.fourier.spectrum import half_power, whole_plane

SHARE = 27 / 32  # of a side: Yin et al.'s bandwidth 27 for images of 32 pixels
ROUNDING = 1e-4  # in [0,1] pixels, a fortieth of a grey level: a change that exceeds it nowhere is rounding


def highest_square(height: int, width: int, bandwidth: float | None = None) -> torch.Tensor:
    """Which coefficients lie in the square around the highest frequency, a cross of low ones left out.

    (u,v) lies in it where ``2 abs(u) > H - bandwidth`` and ``2 abs(v) > W - bandwidth``: at 32 pixels and bandwidth 27
    where both abs(u) and abs(v) are at least 3. So a frequency along one axis alone, a fine stripe, is not high.

    Args:
        height: H.
        width: W.
        bandwidth: coefficients per side of the square, above 0; where no square of so many is symmetric about the
            highest frequency (an even number for an even side), the next smaller one is taken. None takes 27/32 of each
            side: 27 at 32 pixels, 53 at 64, 189 at 224.

    Returns:
        (H,W//2+1) bool, for the coefficients of `torch.fft.rfft2`.

    Raises:
        ValueError: a bandwidth that keeps nothing, or exceeds a side.

    Source: Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision", NeurIPS 2019: the centred square
        of the spectrum that is shifted to have the highest frequency at its centre.
    """
    inside = []
    for length, frequencies in ((height, torch.fft.fftfreq), (width, torch.fft.rfftfreq)):
        kept = SHARE * length if bandwidth is None else bandwidth
        if not 0 < kept <= length:
            raise ValueError(f"bandwidth={bandwidth}: must be above 0 and at most the {length} pixels of a side")
        inside.append(2 * frequencies(length, 1 / length, dtype=torch.float64).round().abs() > length - kept)
    square = inside[0][:, None] & inside[1]
    if not square.any():
        raise ValueError(f"bandwidth={bandwidth} keeps nothing of {height}x{width} pixels")
    return square


def share_of_bins(height: int, width: int, bandwidth: float | None = None) -> float:
    """The share of the coefficients that lie in `highest_square`, and so that of white noise's energy."""
    square = highest_square(height, width, bandwidth)
    return float((square * multiplicity(width)).sum()) / (height * width)


class ChangeSpectrum:
    """Adds up the spectra of changes (corrupted, augmented or attacked images minus the images), batch by batch.

    Args:
        bandwidth: of the high frequencies, see `highest_square`.
    """

    def __init__(self, bandwidth: float | None = None) -> None:
        self._bandwidth = bandwidth
        self._square: torch.Tensor | None = None
        self._sum = torch.zeros(())
        self._fractions: list[torch.Tensor] = []
        self._width = 0

    def add(self, changes: torch.Tensor) -> None:
        """Take (B,C,H,W) float32 or float64 changes, on any device.

        Raises:
            TypeError, ValueError: as `half_power`, as `highest_square`.
        """
        height, self._width = changes.shape[-2:]
        if self._square is None:
            self._square = highest_square(height, self._width, self._bandwidth).to(changes.device)
            self._weights = multiplicity(self._width).to(changes.device)
        power = half_power(changes)
        self._sum = self._sum.to(changes.device) + power.sqrt().double().mean(1).sum(0)
        energy = (power * self._weights).double().sum(1)
        fraction = (energy * self._square).sum((1, 2)) / energy.sum((1, 2))
        changed = changes.abs().amax((1, 2, 3)) > ROUNDING
        self._fractions.append(torch.where(changed, fraction, torch.nan).cpu())

    def mean_amplitude(self) -> torch.Tensor:
        """(H,W) float64 on the CPU, centred: the modulus of the unitary transform, mean over images and channels."""
        return whole_plane((self._sum / len(self.fractions())).cpu(), self._width)

    def fractions(self) -> torch.Tensor:
        """(N,) float64 on the CPU: each change's share of energy in the square; NaN where there is no change."""
        return torch.cat(self._fractions)
