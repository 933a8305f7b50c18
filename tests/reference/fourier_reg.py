"""Penalties on the input gradient from their published arithmetic, slowly: one image at a time, the whole centred
spectrum, one boolean mask per ring, products as products. Torch, because what is compared is the gradient too.
"""

from __future__ import annotations

import torch


def profile_reference(gradients: torch.Tensor) -> torch.Tensor:
    """(N,C,H,H) with H even -> (K,): ring sums of the power of the channel mean, each image's divided by its total."""
    size = gradients.shape[-1]
    frequency = torch.arange(-(size // 2), size // 2)
    radius = torch.sqrt((frequency[:, None] ** 2 + frequency[None] ** 2).double()).round()
    shares = []
    for gradient in gradients:
        spectrum = torch.fft.fftshift(torch.fft.fft2(gradient.mean(0), norm="ortho"))
        power = spectrum.abs() ** 2
        rings = torch.stack([power[radius == k].sum() for k in range(1, int(radius.max()) + 1)])
        shares.append(rings / rings.sum())
    return torch.stack(shares).mean(0)


def penalty_reference(name: str, profile: torch.Tensor, size: int) -> torch.Tensor:
    """R of a (K,) profile, entry i being radius i + 1; `name` is lsf, msf, hsf or asf."""
    low, high = int(size / 6), int(size / 3)
    if name == "asf":
        q = profile[: size // 2] / profile[: size // 2].sum()
        return (q * torch.log2(q)).sum()
    radii = range(1, len(profile) + 1)
    punished = {
        "lsf": [k > low for k in radii],
        "msf": [k <= low or k > high for k in radii],
        "hsf": [k <= high for k in radii],
    }[name]
    return profile[torch.tensor(punished)].sum()


def jafr_reference(gradients: torch.Tensor) -> torch.Tensor:
    """(N,C,H,H) -> B of JaFR, by loops over the quadrant of frequencies >= 0."""
    size = gradients.shape[-1] // 2 + 1
    mean = torch.fft.fft2(gradients).abs().mean((0, 1)) + 1e-5
    exponents = [1 - 2 * i / (size - 1) + 1e-5 for i in range(size)]
    total = torch.zeros((), dtype=gradients.dtype)
    for i in range(size):
        row, column = torch.ones_like(total), torch.ones_like(total)
        for j in range(size):
            row = row * mean[i, j] ** exponents[j]
            column = column * mean[j, i] ** exponents[j]
        total = total + row + column
    return total.log()
