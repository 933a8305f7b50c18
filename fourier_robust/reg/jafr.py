"""JaFR: raises the low frequencies of the mean amplitude spectrum of the input gradient over the high ones."""

from __future__ import annotations

import torch

from fourier_robust.reg.input_gradient import BNMode, Figures, InputGradientPenalty, Pass, input_gradient
from fourier_robust.reg.step import Step

EPS = 1e-5  # of the authors' code, added to amplitudes and to exponents


class JaFR(InputGradientPenalty):
    """``loss - lam * B``, B the low-frequency bias of the loss's gradient with respect to the [0,1] pixels.

    A(i,j) is the mean over images and channels of the gradient's amplitude (unnormalised transform) at i and j >= 0
    cycles per image. B = log( sum_i prod_j A(i,j)^e_j + sum_j prod_i A(i,j)^e_i ), exponents falling evenly from 1 to
    -1 along each axis. The logged `penalty` is -B.

    Args:
        lam: weight of B; 0.001 in the authors' CIFAR-10 scripts.
        fraction, every, bn_mode: see `InputGradientPenalty`.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Chan, Ong and Tan, IJCAI 2022, arXiv 2205.04533; from the authors' code (alvinchangw/JaFR_IJCAI2022), whose
        network takes pixels in [0,1] as they are. The paper itself was not at hand.

    Deviates:
        There the gradient comes from a pass of its own; here it is that of the training loss's own pass, and BatchNorm
        sees the batch once, not twice. The products are sums of logarithms, which do not overflow.
    """

    def __init__(self, lam: float = 0.001, fraction: float = 1.0, every: int = 1, bn_mode: BNMode = "train") -> None:
        super().__init__(lam, fraction, every, bn_mode)

    def penalty(self, passed: Pass, step: Step) -> tuple[torch.Tensor, Figures]:
        """-B, and nothing else to log."""
        gradient = input_gradient(passed.loss, passed.images)
        return -low_frequency_bias(gradient), {}


def low_frequency_bias(gradients: torch.Tensor) -> torch.Tensor:
    """B of (N,C,H,W) gradients, 0-d, differentiable."""
    amplitude = torch.fft.rfft2(gradients).abs().mean((0, 1))[: gradients.shape[2] // 2 + 1]
    logs = (amplitude + EPS).log()
    down, across = (torch.linspace(1, -1, n, dtype=logs.dtype, device=logs.device) + EPS for n in logs.shape)
    return torch.cat((logs @ across, down @ logs)).logsumexp(0)
