"""A black-box attack: images made against a small network that imitates the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from fourier_robust.attack.ball import draw
from fourier_robust.attack.base import Norm, attacking, check_ball, check_batch, logits_of
from fourier_robust.attack.pgd import PGD


@dataclass(frozen=True)
class Transfer:
    """`PGD` on a substitute that learns the model's answers; the model's gradient is never asked for.

    A weak attack, meant as a check: where it beats a white-box attack, the model's gradient leads nowhere. The
    substitute, three convolutions of width 32, learns the model's probabilities on the images of the batch with
    uniform noise of size `eps`, anew for every batch. One forward pass of the model per step of `fit`.

    Args:
        eps: see `Attack`.
        norm: as for `PGD`.
        steps: of the attack on the substitute.
        fit: steps of Adam, at least 1.

    Raises:
        ValueError: an argument outside its range.

    Source: Papernot et al., "Practical Black-Box Attacks against Machine Learning", AsiaCCS 2017.
    Deviates: learns from noisy copies, not from images made along the substitute's Jacobian.
    """

    eps: float
    norm: Norm = "linf"
    steps: int = 20
    fit: int = 60

    def __post_init__(self) -> None:
        check_ball(self.eps, self.norm)
        for name, value in (("steps", self.steps), ("fit", self.fit)):
            if value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Attack`."""
        check_batch(images, labels)
        if not (len(images) and self.eps):
            return images.clone()
        substitute = self._learn(model, images, generator)
        return PGD(self.eps, self.norm, self.steps, early_exit=False)(substitute, images, labels, generator)

    def _learn(self, model: nn.Module, images: torch.Tensor, generator: torch.Generator) -> nn.Module:
        with attacking(model), torch.no_grad():
            classes = logits_of(model, images[:1]).shape[1]
        substitute = _substitute(images.shape[1], classes, generator).to(images.device)
        optimizer = torch.optim.Adam(substitute.parameters(), lr=3e-3)
        width = self.eps if self.norm == "linf" else self.eps / images[0].numel() ** 0.5
        for _ in range(self.fit):
            noisy = draw(images, generator, uniform=True).mul_(width).add_(images).clamp_(0, 1)
            with attacking(model), torch.no_grad():
                wanted = logits_of(model, noisy).softmax(1)
            optimizer.zero_grad()
            with torch.enable_grad():
                functional.cross_entropy(substitute(noisy), wanted).backward()
            optimizer.step()
        return substitute


def _substitute(channels: int, classes: int, generator: torch.Generator) -> nn.Module:
    """Weights drawn from `generator`; the global state is left alone."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng([]):  # layers draw weights of their own as they are made
        for wide in (channels, 32, 32):
            layers += [nn.Conv2d(wide, 32, 3, stride=2, padding=1), nn.ReLU()]
        substitute = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, classes))
    with torch.no_grad():
        for parameter in substitute.parameters():
            bound = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.0
            noise = torch.rand(parameter.shape, generator=generator, device=generator.device)
            parameter.copy_(noise.mul_(2 * bound).sub_(bound))
    return substitute
