"""How often is the model wrong once the kernels of its first convolution are smoothed?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from fourier_robust.dataset.base import Dataset
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Estimate, Outcome
from fourier_robust.suite.bands import Bands
from fourier_robust.suite.base import Condition, Measurement, Source


class KernelSmoothing:
    """The errors of `Bands`, for one trained model under several strengths of smoothing; nothing is trained again.

    Args:
        bands: what is measured at each strength.
        rhos: strengths, at least 0; 0 is the model as it is.
        normalise: whether smoothed kernels are divided by 1 + 8 rho, so that a flat kernel stays as it is. Without it
            the first layer's outputs grow up to so many times: that moves no decision of a net without batch
            normalisation and biases, as the authors', but does not fit the running statistics of one that has it.

    Raises:
        ValueError: no strengths, one below 0 or not finite, or one twice.

    Source: Wang et al., "High-Frequency Component Helps Explain the Generalization of Convolutional Neural Networks",
        CVPR 2020, section 6, equation 3.
    Deviates: `normalise`, off in the paper. They measure clean images and FGSM and PGD examples; here it is clean
        images, their low- and high-pass parts and noise of one band.
    """

    name = "kernel_smoothing"
    definitions: Mapping[str, str] = {
        "error_rho<rho>": "1 - top-1 accuracy with smoothed kernels on unfiltered images, 95 % interval by Wilson; on "
        "their low- (_low) and high-pass (_high) parts and under band noise (_noise) the mean over radii or bands, "
        "interval over images, each image's errors averaged first",
        "error_rho<rho>(r)": "the same at one radius r, or of one band of rings a-b, as error(r) and error(a-b) of "
        "suite=bands; 95 % interval by Wilson",
    }

    def __init__(self, bands: Bands, rhos: list[float] | None = None, normalise: bool = True) -> None:
        rhos = [0.0, 0.1, 0.25, 0.5, 1.0] if rhos is None else [float(rho) for rho in rhos]
        if not rhos or not all(0 <= rho < float("inf") for rho in rhos) or len(set(rhos)) < len(rhos):
            raise ValueError(f"suite.rhos must be different numbers from 0 on, at least one, got {rhos}")
        self.bands, self.rhos, self.normalise = bands, rhos, normalise

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Those of `Bands` for each strength; see `Suite.conditions`."""
        inner = self.bands.conditions(dataset)
        self._chance = 1 - 1 / dataset.num_classes
        self._of: dict[Condition, tuple[float, Condition]] = {}
        for rho in self.rhos:
            for one in inner:
                label = "_".join([*([one.corruption] if one.corruption else []), f"rho{rho:g}"])
                self._of[replace(one, corruption=label)] = rho, one
        return list(self._of)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images that `Bands` makes; see `Suite.source`."""
        rho, inner = self._of[condition]
        found = self.bands.source(dataset, inner, device, batch_size)
        return found._replace(identity=f"{found.identity}+kernels{rho!r}{'-normalised' if self.normalise else ''}")

    @contextlib.contextmanager
    def changed(self, model: nn.Module, condition: Condition) -> Iterator[None]:
        """The first convolution smoothed, and what `Bands` changes; see `ChangingSuite.changed`.

        Raises:
            UserError: the model has no convolution, or the kernels of its first have one weight.
        """
        rho, inner = self._of[condition]
        weight = first_kernels(model)
        before = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(smoothed(before, rho, self.normalise))
        try:
            with self.bands.changed(model, inner):
                yield
        finally:
            with torch.no_grad():
                weight.copy_(before)

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """What `Bands` measures, the strength in the metric's name; see `Suite.measure`."""
        found: list[Measurement] = []
        for rho in self.rhos:
            own = {inner: outcomes[one] for one, (strength, inner) in self._of.items() if strength == rho}
            for item in self.bands.measure(own):
                point = item.metric[item.metric.index("(") :] if "(" in item.metric else ""
                found.append(replace(item, metric=f"error_rho{rho:g}{point}"))
        self._found = found
        return found

    def remarks(self) -> list[str]:
        """How kernels were smoothed, and the remarks of `Bands`; see `Suite.remarks`."""
        divided = ", divided by 1 + 8 rho" if self.normalise else ""
        said = "first convolution: each weight plus rho times its 8 neighbours (edges repeated)"
        return [f"{said}{divided}; error_rho<rho>: of _low, _high, _noise the mean_error", *self.bands.remarks()]

    def files(self, outcomes: Mapping[Condition, Outcome], who: str) -> Mapping[str, bytes]:
        """Error against strength; see `FilesSuite.files`."""
        from fourier_robust.report.band_figure import Panel, curves_png

        lines: dict[str, tuple[list[float], list[Estimate]]] = {}
        for item in self._found:
            if not item.metric.endswith(")"):
                places, estimates = lines.setdefault(item.condition.dataset, ([], []))
                places.append(100 * float(item.metric.removeprefix("error_rho")))
                estimates.append(item.estimate)
        title = "\n".join([f"{who}, n = {self._found[0].estimate.n}", *self.remarks()[:2]])
        panel = Panel("rho (%)", lines, {"chance": self._chance})
        return {"kernel_smoothing.png": curves_png(title, "error (%)", [panel])}


def smoothed(weight: torch.Tensor, rho: float, normalise: bool = False) -> torch.Tensor:
    """Each weight plus `rho` times its eight neighbours in the kernel's plane, all at once.

    Args:
        weight: (O,I,H,W), float; beyond an edge the edge's weight is repeated.
        rho: 0 gives `weight`.
        normalise: whether the result is divided by 1 + 8 rho, the gain of a constant kernel.

    Returns:
        (O,I,H,W) of the same dtype.

    Source: see `KernelSmoothing`.
    """
    planes = weight.flatten(0, 1)[:, None]
    mask = torch.full((1, 1, 3, 3), rho, dtype=weight.dtype, device=weight.device)
    mask[..., 1, 1] = 1
    found = functional.conv2d(functional.pad(planes, (1, 1, 1, 1), mode="replicate"), mask).reshape(weight.shape)
    return found / (1 + 8 * rho) if normalise else found


def first_kernels(model: nn.Module) -> torch.Tensor:
    """(O,I,H,W): the weight of the convolution that the model defines first.

    Raises:
        UserError: there is none, or its kernels have one weight.
    """
    layer = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if layer is None:
        raise UserError("suite=kernel_smoothing: the model has no convolution")
    if layer.kernel_size == (1, 1):
        raise UserError("suite=kernel_smoothing: the kernels of the first convolution are 1x1: nothing to smooth")
    return layer.weight
