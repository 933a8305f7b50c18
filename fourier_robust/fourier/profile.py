"""How the power of an image is shared out among its spatial frequencies, and the three bands they fall into.

Source:
    The profile and the bands are those of Krishnamachari, Ng and Foo, "Fourier Sensitivity and Regularization of
    Computer Vision Models", TMLR 2022, as its released code computes them. For even N this is that code; for odd N
    its two files disagree (one pads the image, one the spectrum), and whole cycles per image are taken here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch

from fourier_robust.fourier.rings import ring_counts, ring_sums
from fourier_robust.fourier.spectrum import check_real, half_power

Channels = Literal["mean", "sum_power"]

# An image counts as flat where its power beside DC is below this share of all its power: that is rounding. The
# squared rounding error of a float32 transform is about 1e-14 of the power; of a float64 one, far less.
_FLAT = 1e-12


class Shares(NamedTuple):
    """Shares of the power beside DC, per image.

    Attributes:
        ring: (B,K) of the dtype of the images, rings 1 to K; each row sums to 1, or is 0 for a flat image.
        half: (B,H,W//2+1), the same per coefficient of `torch.fft.rfft2`; DC is 0. `whole_plane` sums to 1.
        flat: (B,) bool: no power beside DC, so no shares.
    """

    ring: torch.Tensor
    half: torch.Tensor
    flat: torch.Tensor


def power_shares(images: torch.Tensor, channels: Channels = "mean") -> Shares:
    """The share of each ring and coefficient in the power of each image; its scale, sign and position don't matter.

    Args:
        images: (B,C,H,W) float32 or float64, finite; gradients, say.
        channels: ``mean`` takes the power of the mean over channels, where opposite signs cancel; ``sum_power`` the
            sum of the channels' powers.

    Raises:
        TypeError: as `check_real`.
        ValueError: not (B,C,H,W), an unknown `channels`, an image of one pixel.
    """
    check_real(images)
    if images.ndim != 4 or images.shape[-2] * images.shape[-1] < 2:
        raise ValueError(f"images must be (B,C,H,W) of two pixels or more, got shape {tuple(images.shape)}")
    if channels not in get_args(Channels):
        raise ValueError(f"channels must be one of {', '.join(get_args(Channels))}, got {channels!r}")
    peak = images.abs().amax((1, 2, 3), keepdim=True)
    images = images / torch.where(peak > 0, peak, 1)  # else squares of tiny gradients underflow
    half = half_power(images.mean(1)) if channels == "mean" else half_power(images).sum(1)
    half[:, 0, 0] = 0
    ring = ring_sums(half, images.shape[-1])[:, 1:]
    total = ring.sum(1)
    flat = total <= _FLAT * images.square().sum((1, 2, 3))
    scale = torch.where(flat, 0, 1 / torch.where(flat, 1, total))
    return Shares(ring * scale[:, None], half * scale[:, None, None], flat)


def white_shares(height: int, width: int) -> torch.Tensor:
    """(K,) float64: the share of each ring, 1 to K, in the power of white noise: its number of coefficients."""
    counts = ring_counts(height, width)[1:].double()
    return counts / counts.sum()


def band_edges(height: int, width: int) -> dict[str, tuple[int, int]]:
    """First and last ring of ``low``, ``mid`` and ``high``: 1 to int(N/6), to int(N/3), to K; N is the shorter side.

    Raises:
        ValueError: a band is empty, which is so below 6 pixels.
    """
    side = min(height, width)
    if side < 6:
        raise ValueError(f"images of {height}x{width} pixels have no low band: it is empty below 6 pixels")
    low, mid = side // 6, side // 3
    last = len(ring_counts(height, width)) - 1
    return {"low": (1, low), "mid": (low + 1, mid), "high": (mid + 1, last)}


def band_shares(ring: torch.Tensor, edges: tuple[int, int]) -> torch.Tensor:
    """(...,K) shares of rings 1 to K -> (...), the share of the rings from the first to the last of `edges`."""
    return ring[..., edges[0] - 1 : edges[1]].sum(-1)


def entropy(ring: torch.Tensor, last: int) -> torch.Tensor:
    """Entropy in bits of the shares of rings 1 to `last`, rescaled to sum to 1: (...,K) -> (...); log2(last) at most.

    NaN where those rings hold no power.
    """
    inner = ring[..., :last] / ring[..., :last].sum(-1, keepdim=True)
    return -torch.special.xlogy(inner, inner).sum(-1) / torch.log(torch.tensor(2.0, dtype=ring.dtype))
