"""Small models to attack."""

from __future__ import annotations

import functools

import torch
from torch import nn

SIZE = 12


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(count,3,12,12) in [0,1] and labels of 6 classes: a smooth pattern each, faint under noise."""
    coarse = torch.rand(6, 3, 3, 3, generator=generator())
    patterns = nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")
    labels = torch.arange(count) % 6
    noise = torch.rand(count, 3, SIZE, SIZE, generator=generator(seed))
    return (0.25 * patterns[labels] + 0.75 * noise).clamp(0, 1), labels


@functools.cache
def trained() -> nn.Module:
    """A net with ReLU and BatchNorm that knows `blobs`; in evaluation mode."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, stride=2), nn.ReLU()
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(12 * 16, 6))
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        images, labels = blobs(600, 1)
        for step in range(60):
            rows = slice(60 * (step % 10), 60 * (step % 10) + 60)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    model.zero_grad()
    return model.eval()


def known(count: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of `blobs` that `trained` gets right."""
    images, labels = blobs(2 * count, 2)
    with torch.no_grad():
        right = trained()(images).argmax(1) == labels
    assert right.float().mean() > 0.8
    return images[right][:count], labels[right][:count]


def linear(classes: int = 2, size: int = 6) -> nn.Module:
    """Logits are linear in the pixels; weights drawn by a seed."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator(3)))
    return model


def wrong(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(images).argmax(1) != labels


def losses(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return nn.functional.cross_entropy(model(images), labels, reduction="none")
