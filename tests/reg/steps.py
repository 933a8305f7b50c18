"""Networks and training steps for the tests of regularizers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.aug.views import Views
from fourier_robust.reg.step import Step

MEAN, STD = (0.5, 0.4, 0.3), (0.1, 0.25, 0.4)  # unequal on purpose


def network(activation: nn.Module | None = None, norm: bool = True, size: int = 12) -> Normalized:
    """Two convolutions and a linear layer, the same weights every time."""
    torch.manual_seed(0)
    activation = activation or nn.ReLU()
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6) if norm else nn.Identity(), activation]
    layers += [nn.Conv2d(6, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6) if norm else nn.Identity(), activation]
    return Normalized(nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * (size // 2) ** 2, 5)), MEAN, STD).train()


def views(count: int = 1, batch: int = 8, size: int = 12, dtype: torch.dtype = torch.float32) -> Views:
    """Random images and labels, weights 1, 2, ..."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, batch, 3, size, size, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, 5, (batch,), generator=generator)
    return Views(images, labels.expand(count, batch), tuple(float(v + 1) for v in range(count)))


def criterion(logits: torch.Tensor, batch: Views) -> torch.Tensor:
    """The trainer's loss in the precision of the logits."""
    rows = zip(logits, batch.targets, batch.weights, strict=True)
    return torch.stack([weight * functional.cross_entropy(row, target) for row, target, weight in rows]).sum()


def step(model: nn.Module, batch: Views, joint: bool = True, number: int = 0, **changes: Any) -> Step:
    """As the trainer makes it; where not `joint`, the loss has been differentiated."""
    images = batch.images.flatten(0, 1).clone().requires_grad_(joint)
    logits = model(images).unflatten(0, batch.images.shape[:2])
    loss = criterion(logits, batch)
    if not joint:
        loss.backward()
    settings = {"generator": torch.Generator().manual_seed(2)} | changes
    return Step(number, model, batch, images, logits, loss, criterion, joint, **settings)


def gradients(model: nn.Module) -> torch.Tensor:
    """All weights' gradients in a row, 0 where there is none."""
    return torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in model.parameters()])


def loss_gradients(model: nn.Module, batch: Views) -> torch.Tensor:
    """Of the loss alone; the model's gradients are left empty."""
    step(model, batch, joint=False)
    found = gradients(model)
    model.zero_grad()
    return found


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative l2 error."""
    return float((found - expected).norm() / expected.norm())
