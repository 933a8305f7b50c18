"""To which spatial frequencies of its input does the model's loss respond?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from fourier_robust.arch.normalize import Normalized
from fourier_robust.dataset.base import Dataset
from fourier_robust.engine.gradient import GradientOf, InputGradient, input_gradients
from fourier_robust.engine.predict import Precision
from fourier_robust.errors import UserError
from fourier_robust.fourier.profile import band_edges, band_shares, entropy, power_shares, white_shares
from fourier_robust.fourier.spectrum import whole_plane
from fourier_robust.metric.outcome import SHARE, Estimate, error_rate, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.clean import table_name

SCALARS = {
    "loss": "the cross-entropy of the label",
    "predicted_loss": "the cross-entropy of the predicted class",
    "logit": "the label's logit",
    "margin": "the label's logit minus the largest other",
}
CHANNELS = {"mean": "of the mean over channels", "sum_power": "summed over channels"}
INPUTS = {"normalised": "normalised input", "pixel": "pixels in [0,1]"}


class GradientPower(NamedTuple):
    """Power of the input gradients of one condition.

    Attributes:
        label: (N,) int64.
        ring: (N,K) float32, shares of rings 1 to K per image; 0 where there is no gradient.
        flat: (N,) bool, images without a gradient (beside DC).
        plane: (H,W) float64, centred, mean share per coefficient over the images that have a gradient; DC is 0.
    """

    label: torch.Tensor
    ring: torch.Tensor
    flat: torch.Tensor
    plane: torch.Tensor


class Sensitivity:
    """Radial power of the input gradient, normalised per image, averaged: Fourier sensitivity.

    The defaults measure as the authors' released code does; every other choice shows in the suite's name, and so in
    the column and the folder (``sensitivity-sum_power-logit``).

    Args:
        split: of the data set.
        images: how many, drawn without replacement by `seed`; None takes all.
        seed: of the draw.
        scalar: what is differentiated: ``loss`` (of the label), ``predicted_loss`` (of the predicted class), ``logit``
            (of the label), ``margin`` (the label's logit minus the largest other).
        input: with respect to what: ``normalised`` or ``pixel``.
        channels: ``mean``, the power of the mean over channels (opposite signs cancel), or ``sum_power``, the sum of
            their powers (the first-order prediction of the Fourier heat map).
        density: also rows and a picture of p(k) over that of white noise.

    Source:
        Krishnamachari, Ng and Foo, "Fourier Sensitivity and Regularization of Computer Vision Models", TMLR 2022:
        true-label cross-entropy, channel mean, unitary transform, ring sums, DC dropped, every image normalised.

    Deviates:
        Intervals, bands, mean and entropy are not in the released measurement; for odd sizes see `fourier.profile`.
    """

    observation = GradientPower

    def __init__(
        self,
        split: str = "test",
        images: int | None = None,
        seed: int = 0,
        scalar: Literal["loss", "predicted_loss", "logit", "margin"] = "loss",
        input: Literal["normalised", "pixel"] = "normalised",
        channels: Literal["mean", "sum_power"] = "mean",
        density: bool = False,
    ) -> None:
        if images is not None and images < 1:
            raise ValueError(f"images={images}: must be at least 1")
        if channels not in CHANNELS:
            raise ValueError(f"channels must be one of {', '.join(CHANNELS)}, got {channels!r}")
        self.gradient = GradientOf(scalar, input)
        self.split, self.images, self.seed = split, images, seed
        self.channels, self.density = channels, density
        usual = (("channels", "mean", channels), ("scalar", "loss", scalar), ("input", "normalised", input))
        self.name = "-".join(["sensitivity", *(value for _, default, value in usual if value != default)])
        self.definitions = self._define()
        self._said: list[str] = []

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """The one split; see `Suite.conditions`."""
        known = ("train", *(("val",) if dataset.val_size else ()), *getattr(dataset, "test_splits", ("test",)))
        if self.split not in known:
            raise UserError(f"suite.split: {dataset.name} has no split {self.split}; it has {', '.join(known)}")
        try:
            band_edges(dataset.size, dataset.size)
        except ValueError as error:
            raise UserError(f"{dataset.name}: {error}") from error
        return [Condition(table_name(dataset, self.split))]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images, and in the identity what is measured of them; see `Suite.source`."""
        split = dataset.split(self.split, device)
        order, n = None, len(split)
        if self.images is not None:
            if self.images > n:
                raise UserError(f"suite.images={self.images}: {condition.dataset} has {n}")
            generator = torch.Generator().manual_seed(derive(self.seed, "sensitivity"))
            order, n = torch.randperm(n, generator=generator)[: self.images].sort().values, self.images
        drawn = "all" if self.images is None else f"{n} drawn by {self.seed}"
        what = f"{self.gradient.scalar}/{self.gradient.input}/{self.channels}"
        return Source(split.batches(batch_size, order), n, f"{split.identity}/{drawn}/{what}")

    def observe(self, model: Normalized, source: Source, condition: Condition, precision: Precision) -> GradientPower:
        """Input gradients, and their shares of power; see `ModelSuite.observe`."""
        return self.power(input_gradients(model, source.batches, self.gradient, precision))

    def power(self, gradients: Iterable[InputGradient]) -> GradientPower:
        """Shares of power of each image; gradients come once, batch by batch."""
        labels, rings, flats, total, width = [], [], [], None, 0
        for batch in gradients:
            shares = power_shares(batch.gradients, self.channels)
            width = batch.gradients.shape[-1]
            half = shares.half.sum(0, dtype=torch.float64)
            total = half if total is None else total + half
            labels.append(batch.labels)
            rings.append(shares.ring)
            flats.append(shares.flat)
        if total is None:
            raise ValueError("nothing to measure: no batches")
        flat = torch.cat(flats).cpu()
        plane = whole_plane(total, width).cpu() / max(1, int((~flat).sum()))
        return GradientPower(torch.cat(labels), torch.cat(rings).cpu(), flat, plane)

    def measure(self, outcomes: Mapping[Condition, GradientPower]) -> list[Measurement]:
        """p(k) for every ring, bands, mean and entropy, and the share of images without a gradient."""
        self._said, found = [], []
        for condition, power in outcomes.items():
            height, width = power.plane.shape
            ring, white = _of_images(power, condition), white_shares(height, width)
            p = [mean_of_images(column).within(SHARE) for column in ring.unbind(1)]
            found += [Measurement(condition, f"p({k})", estimate) for k, estimate in enumerate(p, 1)]
            if self.density:
                scaled = [_times(one, 1 / float(share)) for one, share in zip(p, white, strict=True)]
                found += [Measurement(condition, f"density({k})", estimate) for k, estimate in enumerate(scaled, 1)]
            edges, last = band_edges(height, width), min(height, width) // 2
            for band in edges:
                found.append(Measurement(condition, band, mean_of_images(band_shares(ring, edges[band])).within(SHARE)))
            k = torch.arange(1, ring.shape[1] + 1, dtype=torch.float64)
            found.append(Measurement(condition, "mean_k", mean_of_images(ring @ k)))
            found.append(Measurement(condition, "entropy", _entropy(ring, last)))
            found.append(Measurement(condition, "zero_gradient", error_rate(power.flat.double())))
            flat, n = int(power.flat.sum()), len(power.flat)
            self._said.append(f"{flat} of {n} images have no gradient beside DC" + ("; left out" if flat else ""))
            shares = ", ".join(f"{band} {float(band_shares(white, edges[band])):.4f}" for band in edges)
            mean, bits = float(white @ k), float(entropy(white, last))
            self._said.append(f"white noise: {shares}, mean_k {mean:.4f}, entropy {bits:.4f}")
        return found

    def remarks(self) -> list[str]:
        """What was differentiated, images without a gradient, and what white noise would give; after `measure`."""
        return [self._what(), *self._said]

    def files(self, outcomes: Mapping[Condition, GradientPower], who: str) -> Mapping[str, Any]:
        """The profile and the centred map as pictures and as arrays; see `Suite`."""
        from fourier_robust.report.sensitivity import plane_png, profile_png

        ((condition, power),) = outcomes.items()
        height, width = power.plane.shape
        ring, white = _of_images(power, condition), white_shares(height, width)
        arrays: dict[str, np.ndarray] = {
            "k": np.arange(1, ring.shape[1] + 1),
            "p": ring.mean(0).numpy(),
            "sd": ring.std(0, unbiased=len(ring) > 1).numpy(),
            "white": white.numpy(),
            "plane": power.plane.numpy(),
            "n": np.array(len(ring)),
            "zero_gradient": np.array(int(power.flat.sum())),
        }
        title = f"{who} on {condition.dataset}, n = {len(ring)}\n{self._what()}"
        edges = band_edges(height, width)
        return {
            "profile.png": profile_png(title, arrays, edges, self.density),
            "plane.png": plane_png(title, arrays["plane"]),
            "sensitivity.npz": arrays,
        }

    def _what(self) -> str:
        of = f"power {CHANNELS[self.channels]} of the gradient of {SCALARS[self.gradient.scalar]}"
        return f"{of} w.r.t. {INPUTS[self.gradient.input]}"

    def _define(self) -> dict[str, str]:
        share = "mean over images with a gradient; 95 % normal interval over images; neither high nor low is better"
        found = {
            "p(k)": f"share of ring k (round(sqrt(u^2+v^2)) cycles per image, 1 to K, DC dropped) in the "
            f"{self._what()}, unitary transform, evaluation mode, normalised per image; {share}",
            "low": f"sum of p(k), k from 1 to int(N/6), N pixels the shorter side; {share}",
            "mid": f"sum of p(k), k from int(N/6)+1 to int(N/3); {share}",
            "high": f"sum of p(k), k from int(N/3)+1 to K; {share}",
            "mean_k": f"sum of k p(k), cycles per image; {share}",
            "entropy": "of the mean p(k), k from 1 to N/2, rescaled to sum to 1; bits; 95 % interval over images, to "
            "first order",
            "zero_gradient": "share of images whose gradient has no power beside DC (under 1e-12 of its sum of squares "
            "over all channels); left out of the other metrics; 95 % interval by Wilson",
        }
        if self.density:
            found["density(k)"] = f"p(k) over that of white noise, the ring's share of coefficients but DC; {share}"
        return found


def _of_images(power: GradientPower, condition: Condition) -> torch.Tensor:
    """(n,K) float64: the shares of the images that have a gradient.

    Raises:
        UserError: none has.
    """
    ring = power.ring[~power.flat].double()
    if not len(ring):
        raise UserError(f"{condition.key}: none of {len(power.flat)} images has a gradient beside DC; no sensitivity")
    return ring


def _times(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor, estimate.n)


def _entropy(ring: torch.Tensor, last: int) -> Estimate:
    """Entropy of the mean profile, with the interval of its linearisation in the images' profiles.

    With q = p / sum p, dH/dp(k) = -(log2 q(k) + H) / sum p; summed against p itself that is 0, so each image's value
    H + dH.p_x averages to H exactly.
    """
    p = ring.mean(0)[:last]
    if not float(p.sum()) > 0:  # all power lies in the corners
        return Estimate(0.0, 0.0, 0.0, len(ring))
    bits = entropy(p, last)
    q = p / p.sum()
    slope = -(torch.where(q > 0, q, 1).log2() + bits) / p.sum()
    return mean_of_images(bits + ring[:, :last] @ slope)
