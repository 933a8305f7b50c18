"""The images an attack may reach: within eps of the given ones in its norm, and inside [0,1]."""

from __future__ import annotations

import torch

from fourier_robust.attack.base import Norm

# Below every gradient norm that float32 can tell from 0; keeps 0 / 0 at 0.
_TINY = 1e-30


class Ball:
    """Points are images.

    Args:
        images: (B,C,H,W) float32 in [0,1], the centres.
        eps: radius, pixels in [0,1].
        norm: of the radius.
    """

    def __init__(self, images: torch.Tensor, eps: float, norm: Norm) -> None:
        self.images, self.eps, self.norm = images, eps, norm
        if norm == "linf":
            self.lower, self.upper = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)

    def keep(self, rows: torch.Tensor) -> Ball:
        """The balls of some of the images."""
        return Ball(self.images[rows], self.eps, self.norm)

    def centre(self) -> torch.Tensor:
        """The images, as new points."""
        return self.images.clone()

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Points drawn uniformly from the ball, then cut to [0,1]."""
        noise = draw(self.images, generator, uniform=self.norm == "linf")
        if self.norm == "linf":
            noise.mul_(self.eps)
        else:  # the radius of a point in the ball of D dimensions is eps times the D-th root of a uniform number
            share = torch.rand(len(noise), generator=generator, device=generator.device).to(noise)
            radius = self.eps * share.pow(1 / noise[0].numel())
            noise.mul_((radius / lengths(noise).clamp(min=_TINY)).view(-1, 1, 1, 1))
        return self.centre().add_(noise).clamp_(0, 1)

    def step(self, points: torch.Tensor, gradient: torch.Tensor, size: float) -> torch.Tensor:
        """Steepest ascent by `size` in the norm, then `project`; overwrites both tensors."""
        if self.norm == "linf":
            return torch.clamp(points.add_(gradient.sign_(), alpha=size), self.lower, self.upper, out=points)
        return self.project(points.add_(gradient.mul_(size / lengths(gradient).clamp_(min=_TINY).view(-1, 1, 1, 1))))

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """The points, pulled back into the ball and then cut to [0,1], which keeps them in it."""
        if self.norm == "linf":
            return torch.clamp(points, self.lower, self.upper)
        change = points - self.images
        factor = (self.eps / lengths(change).clamp_(min=_TINY)).clamp_(max=1)
        return change.mul_(factor.view(-1, 1, 1, 1)).add_(self.images).clamp_(0, 1)

    def image(self, points: torch.Tensor) -> torch.Tensor:
        """Points are images."""
        return points


def lengths(change: torch.Tensor) -> torch.Tensor:
    """(B,C,H,W) -> (B,): L2 over all values of an image."""
    return torch.linalg.vector_norm(change, dim=(1, 2, 3))


def draw(images: torch.Tensor, generator: torch.Generator, uniform: bool) -> torch.Tensor:
    """(B,C,H,W) on the device of the images: uniform in [-1,1], or standard normal."""
    random = torch.rand if uniform else torch.randn
    noise = random(images.shape, generator=generator, device=generator.device).to(images.device)
    return noise.mul_(2).sub_(1) if uniform else noise
