"""Outputs as of a small network: classes around centres behind a ReLU, and images that belong to none."""

from __future__ import annotations

import torch

from fourier_robust.score.base import Head, Outputs

CLASSES, FEATURES = 6, 24


def centres() -> torch.Tensor:
    return 2 * torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def head() -> Head:
    return Head(0.3 * centres(), torch.linspace(-0.5, 0.5, CLASSES, dtype=torch.float64))


def images(number: int, seed: int, known: bool = True, dtype: torch.dtype = torch.float64) -> Outputs:
    """`known`: of the classes; else noise alone."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (number,), generator=generator)
    noise = torch.randn(number, FEATURES, generator=generator, dtype=torch.float64)
    features = (noise + (centres()[labels] if known else 0)).relu()
    weight, bias = head()
    return Outputs((features @ weight.T + bias).to(dtype), features.to(dtype), labels)
