"""Fourier regularization: choose the spatial frequencies a network leans on (``reg=lsf|msf|hsf|asf``).

The profile p(k), k = 1..K, is the share of the input gradient's power in the ring of k cycles per image, normalised
per image, averaged over the batch; a = int(N/6) and b = int(N/3) divide it into low, mid and high, N = min(H,W).
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from typing import Literal, get_args

import torch
from torch import nn

from fourier_robust.aug.views import Views
from fourier_robust.errors import UserError
from fourier_robust.fourier.profile import band_edges
from fourier_robust.fourier.ring_power import RingPower
from fourier_robust.fourier.rings import ring_power
from fourier_robust.reg.compiled import CompiledPenalty
from fourier_robust.reg.finite_difference import finite_difference, refuse_kinks
from fourier_robust.reg.input_gradient import (
    BNMode,
    Figures,
    InputGradientPenalty,
    Pass,
    add_to_gradients,
    channel_std,
    input_gradient,
    view_weights,
)
from fourier_robust.reg.step import Step

Form = Literal["exact", "compiled", "finite_difference"]
FLAT = 1e-12  # share of the power beside DC below which a gradient is constant: that much is rounding
ZERO = 1e-18  # gradients are scaled to a largest entry of 1; below this, float32 would overflow on the way back


class FourierSensitivityPenalty(InputGradientPenalty):
    """``loss + lam * R(p)``; what R is, a subclass says.

    The gradient is that of the training loss (with its label smoothing) on the augmented images, with respect to the
    normalised input, averaged over the channels. Where an augmentation gives several views, p is their mean by weight.
    An image without gradient, or with a constant one, has no profile: it is left out of p and counted
    (`zero_gradient`, a share of the images); if all are, R is 0.

    Args:
        lam: weight of R. The authors' code has 0.5 for all four.
        fraction, every, bn_mode: see `InputGradientPenalty`.
        form: ``exact``; ``compiled``, the same derivatives taken inside one compiled function, always in a pass of its
            own; or ``finite_difference``: one more ordinary pass instead of double backpropagation, for networks of
            smooth operations only.
        width: root mean square of the finite difference's step, in [0,1] pixels. At the default, in float32, the
            weights' gradient is within 0.2 % of double backpropagation's in float64 (two convolutions with BatchNorm;
            GELU, SiLU or Softplus); at ten times that, within 2 %.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Krishnamachari, Ng and Foo, "Fourier Sensitivity and Regularization of Computer Vision Models", TMLR 2022; as
        in the authors' code (kiranchari/Fourier-Sensitivity-Regularization). The paper's own tables and its lambda per
        data set were not at hand.

    Deviates:
        There, one image without gradient turned the whole step's penalty off; here it is left out. Odd sizes are
        not padded: rings are whole cycles per image at any H and W.
    """

    def __init__(
        self,
        lam: float = 0.5,
        fraction: float = 1.0,
        every: int = 1,
        bn_mode: BNMode = "train",
        form: Form = "exact",
        width: float = 1e-3,
    ) -> None:
        super().__init__(lam, fraction, every, bn_mode)
        if form not in get_args(Form):
            raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {form!r}")
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"width must be finite and above 0, got {width}")
        self.form, self.width = form, width
        self._smooth = False
        self._compiled: CompiledPenalty | None = None

    @staticmethod
    @abstractmethod
    def functional(profile: torch.Tensor, size: int) -> torch.Tensor:
        """R of a (K,) profile, k = 1..K, for images of N = `size`; 0-d."""

    def penalty(self, passed: Pass, step: Step) -> tuple[torch.Tensor, Figures]:
        """R, the shares of the three bands, and the share of images without gradient."""
        return self._of_gradient(input_gradient(passed.loss, passed.images), passed.views, step.model)

    def shares_pass(self, number: int) -> bool:
        """As `InputGradientPenalty.shares_pass`; never for the compiled form."""
        return self.form != "compiled" and super().shares_pass(number)

    def _of_gradient(self, gradient: torch.Tensor, views: Views, model: nn.Module) -> tuple[torch.Tensor, Figures]:
        mean = (gradient * channel_std(model)).mean(1)
        p, zero = profile(mean, view_weights(views))
        size = min(gradient.shape[-2:])
        low, high = edges(size)
        shares = p.detach()
        figures = {"low": shares[:low].sum(), "mid": shares[low:high].sum(), "high": shares[high:].sum()}
        return self.functional(p, size), figures | {"zero_gradient": zero}

    def _apart(self, step: Step) -> Figures:
        if self.form != "compiled":
            return super()._apart(step)
        if self._compiled is None or self._compiled.model is not step.model:
            of_gradient = functools.partial(self._of_gradient, model=step.model)
            self._compiled = CompiledPenalty(step.model, step.criterion, of_gradient, self.bn_mode)
        edges(min(step.images.shape[-2:]))  # an error must not come from within the trace
        gradients, value, figures = self._compiled(*self.share(step))
        weight = self.lam * self.every
        add_to_gradients(step.model, [weight * gradient for gradient in gradients])
        return {"penalty": value} | figures

    def _backward(self, passed: Pass, step: Step) -> Figures:
        if self.form == "exact":
            return super()._backward(passed, step)
        if not self._smooth:
            refuse_kinks(passed.loss, step.model)
            self._smooth = True
        figures: Figures = {}

        def penalty(gradient: torch.Tensor) -> torch.Tensor:
            value, shares = self._of_gradient(gradient, passed.views, step.model)
            figures.update(shares)
            return value

        def again(images: torch.Tensor) -> Pass:
            return self.run(images, passed.views, step)

        weight = self.lam * self.every
        return {"penalty": finite_difference(passed, step, penalty, again, weight, self.width)} | figures


class LSF(FourierSensitivityPenalty):
    """Penalises mid and high, so that the network leans on low frequencies; R in [0,1]."""

    @staticmethod
    def functional(profile: torch.Tensor, size: int) -> torch.Tensor:
        """The sum of p(k) over k > a."""
        return profile[edges(size)[0] :].sum()


class MSF(FourierSensitivityPenalty):
    """Penalises low and high, so that the network leans on middle frequencies; R in [0,1]."""

    @staticmethod
    def functional(profile: torch.Tensor, size: int) -> torch.Tensor:
        """The sum of p(k) over k <= a and k > b."""
        low, high = edges(size)
        return profile[:low].sum() + profile[high:].sum()


class HSF(FourierSensitivityPenalty):
    """Penalises low and mid, so that the network leans on high frequencies; R in [0,1]."""

    @staticmethod
    def functional(profile: torch.Tensor, size: int) -> torch.Tensor:
        """The sum of p(k) over k <= b."""
        return profile[: edges(size)[1]].sum()


class ASF(FourierSensitivityPenalty):
    """Spreads the network's sensitivity evenly over 1..N/2 cycles per image; R in [-log2(N/2), 0]."""

    @staticmethod
    def functional(profile: torch.Tensor, size: int) -> torch.Tensor:
        """Minus the entropy in bits of q(k) = p(k) / sum_{j <= N/2} p(j), k = 1..N/2; of the mean profile."""
        limits = torch.finfo(profile.dtype)
        inner = profile[: size // 2]
        q = inner / inner.sum().clamp_min(limits.eps)
        return (q * q.clamp_min(limits.tiny).log2()).sum()


def edges(size: int) -> tuple[int, int]:
    """(a, b): low is 1..a cycles per image, mid a+1..b, high the rest.

    Raises:
        UserError: `size` is below 6, where low is empty.
    """
    try:
        bands = band_edges(size, size)
    except ValueError as error:
        raise UserError(f"reg: {error}") from error
    return bands["low"][1], bands["mid"][1]


def profile(gradients: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted mean of the gradients' radial power, normalised per image; differentiable.

    Args:
        gradients: (N,H,W) float32 or float64.
        weights: (N,), >= 0.

    Returns:
        (K,) that sums to 1 (to 0 if no image has a profile), and the share of the weight, 0-d, whose images have none.
    """
    with torch.no_grad():
        largest = gradients.abs().amax((1, 2))
        zero = largest <= ZERO
        scale = torch.where(zero, 0, 1 / largest)
    traced = torch.compiler.is_compiling()  # autograd's own derivative there, which can be traced
    power = (ring_power if traced else RingPower.apply)(gradients * scale[:, None, None])
    varying = power[:, 1:]
    total = varying.sum(1)
    zero = zero | (total <= FLAT * power.sum(1))
    left = torch.where(zero, 0, weights)
    rows = left / left.sum().clamp_min(torch.finfo(power.dtype).tiny) / torch.where(zero, 1, total)
    return rows @ varying, torch.where(zero, weights, 0).sum() / weights.sum()
