"""ODIN: temperature, and a small step of the pixels towards the predicted class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from fourier_robust.score.base import Outputs
from fourier_robust.score.probability import probabilities, require_positive


@dataclass(frozen=True)
class ODIN:
    """1 - max_k softmax(logits' / T)_k, the logits' being those of images moved by ``-noise * sign(gradient)``.

    Who runs the model keeps it; per batch, in evaluation mode:

        images.requires_grad_(); gradient = autograd.grad(score.objective(model(images)), images)
        moved = score.perturb(images, gradient); score(Outputs(model(moved)))

    With `noise` 0 no gradient is asked for (`needs`), and the logits are those of the images as they are.

    Args:
        temperature: T > 0; 1000 as published.
        noise: step in [0,1] pixels, >= 0; 0.0014 as in the published code's example. To be chosen, if at all, on other
            images than those reported.

    Raises:
        ValueError: an argument out of range.

    Source:
        Liang, Li and Srikant, "Enhancing The Reliability of Out-of-distribution Image Detection in Neural Networks",
        ICLR 2018; facebookresearch/odin. There the step is taken in normalised pixels and divided by the channels'
        standard deviations, which is this step in [0,1]; a gradient of 0 counts as positive; nothing is clipped.

    Deviates:
        The score is 1 - p in float64 instead of -p in float32: at T = 1000 all p lie close to 1/K.
    """

    temperature: float = 1000.0
    noise: float = 0.0014

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        if not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise must be >= 0 and finite, got {self.noise}")

    @property
    def needs(self) -> frozenset[str]:
        """Logits, and with a step the gradient."""
        return frozenset({"logits", "gradient"} if self.noise else {"logits"})

    def objective(self, logits: torch.Tensor) -> torch.Tensor:
        """Of (B,K) logits: the sum over images of the predicted class's cross-entropy at T, to be differentiated."""
        return functional.cross_entropy(logits / self.temperature, logits.detach().argmax(1), reduction="sum")

    def perturb(self, images: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) in [0,1] and the gradient of `objective` with respect to them -> moved images, unclipped."""
        return images.detach() + self.noise * torch.where(gradient >= 0, -1.0, 1.0).to(images.dtype)

    def __call__(self, outputs: Outputs) -> torch.Tensor:
        """(N,) float64, of the logits of moved images."""
        return probabilities(outputs.logits, self.temperature)[1].amin(1)
