"""APR from its definition, slowly: full complex FFTs in NumPy float64, no symmetry used, no shortcut taken.

For images x (owner of the phase) and y (owner of the amplitude), with F the discrete Fourier transform over `dims`:

    out = Re F^-1( |F y| * exp(i * angle(F x)) ),    angle := 0 where F x = 0

`dims` is (1, 2, 3) for the authors' joint transform of (B,C,H,W), (2, 3) for one 2-D transform per channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

JOINT = (1, 2, 3)
SEPARATE = (2, 3)


def recombine_reference(phase_of: np.ndarray, amplitude_of: np.ndarray, dims: Sequence[int] = JOINT) -> np.ndarray:
    """Phase of one (B,C,H,W) batch with the amplitude of another, image by image; float64, unclipped.

    A bin below 1e-12 of its image's largest amplitude is a zero with float64 rounding in it: it counts as zero.
    """
    phase_spectrum = np.fft.fftn(np.asarray(phase_of, np.float64), axes=dims)
    amplitude_spectrum = np.fft.fftn(np.asarray(amplitude_of, np.float64), axes=dims)
    largest = np.abs(phase_spectrum).max(axis=(1, 2, 3), keepdims=True)
    phase = np.where(np.abs(phase_spectrum) <= 1e-12 * largest, 0.0, np.angle(phase_spectrum))
    mixed = np.fft.ifftn(np.abs(amplitude_spectrum) * np.exp(1j * phase), axes=dims)
    assert np.abs(mixed.imag).max() <= 1e-9, "the recombined spectrum of real images must be Hermitian"
    return mixed.real


def apr_p_reference(images: np.ndarray, partner: Sequence[int], dims: Sequence[int] = JOINT) -> np.ndarray:
    """APR-P: image i keeps its phase and takes the amplitude of image partner[i]; float64, unclipped."""
    return np.stack([recombine_reference(images[i : i + 1], images[j : j + 1], dims)[0] for i, j in enumerate(partner)])


def to_grey_levels_reference(levels: np.ndarray, out_of_range: str) -> np.ndarray:
    """What becomes of recombined grey levels (255 = white) outside 0..255, the last step of APR-S; float64.

    `clip` limits to [0, 255] and keeps the fraction; `wrap` is the published code's cast to uint8 on x86-64:
    truncated toward zero, then modulo 256 (-1 -> 255, 256 -> 0, -0.5 -> 0, 300.2 -> 44).
    """
    levels = np.asarray(levels, np.float64)
    if out_of_range == "clip":
        return np.clip(levels, 0.0, 255.0)
    if out_of_range == "wrap":
        return np.mod(np.trunc(levels), 256.0)
    raise ValueError(f"out_of_range must be clip or wrap, got {out_of_range!r}")


def apr_s_reference(
    phase_of: np.ndarray, amplitude_of: np.ndarray, out_of_range: str, dims: Sequence[int] = JOINT
) -> np.ndarray:
    """APR-S's recombination of two uint8 views (B,C,H,W) of the same images -> grey levels as float64."""
    return to_grey_levels_reference(recombine_reference(phase_of, amplitude_of, dims), out_of_range)
