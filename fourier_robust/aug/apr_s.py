"""APR-S: an image, or the phase of one and the amplitude of another of its own augmented versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from fourier_robust.aug.image_ops import Draw, apply_operations, cache_slices, sample_operations
from fourier_robust.aug.views import Params
from fourier_robust.fourier.recombine import recombine


class APRS:
    """Every image a becomes op1(a); with probability p that and op2(op1(a)) are recombined, either giving the phase.

    Args:
        p: probability in [0,1] that an image is recombined.
        apply_p: probability in [0,1] that an image is touched at all (upstream: 1, in its FGSM training 0.9).
        magnitude: of the nine operations, in [0.1,10] (`sample_operations`).
        channels: "joint" transforms over (C,H,W), "separate" each channel over (H,W).
        compat: what happens to recombined levels off 0..255. "clean" limits them and rounds; "upstream" truncates
            toward zero and keeps the value modulo 256, as the authors' cast to uint8 does on x86-64.
        space: "pixels" recombines grey levels, as upstream; "normalised" recombines (pixel - mean) / std.
        mean: per channel, pixels in [0,1]; needed for `space` "normalised".
        std: the same.

    Raises:
        ValueError: a number outside its range, an unknown choice, mean or std missing or not one per channel.

    Source:
        Chen et al., "Amplitude-Phase Recombination", ICCV 2021; the released code's order of operations, op2 acting on
        op1's result and no branch left clean.

    Deviates:
        "clean" has no wrap-around, which upstream puts into most recombined images (about 4 % of their values jump by
        100 levels and more, a colour impulse noise). The FFT runs in float32: levels before the last step differ from
        float64 by 1e-4 (99 % of images; 1e-3 the largest of 5,999 in 6,000, 0.8 in the one with a bin that is almost
        zero, whose phase is rounding noise). So a level that close to where the last step jumps may come out one
        apart; under "upstream" so does every level of an image that op2 left unchanged, in float64 as well.
    """

    def __init__(
        self,
        p: float = 0.5,
        apply_p: float = 1.0,
        magnitude: float = 3.0,
        channels: Literal["joint", "separate"] = "joint",
        compat: Literal["clean", "upstream"] = "clean",
        space: Literal["pixels", "normalised"] = "pixels",
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        for name, value, low, high in (("p", p, 0, 1), ("apply_p", apply_p, 0, 1), ("magnitude", magnitude, 0.1, 10)):
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")
        for name, choice, choices in (
            ("channels", channels, ("joint", "separate")),
            ("compat", compat, ("clean", "upstream")),
            ("space", space, ("pixels", "normalised")),
        ):
            if choice not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")
        self.p, self.apply_p, self.magnitude = p, apply_p, magnitude
        self.channels, self.compat, self.space = channels, compat, space
        if space == "normalised":
            self._mean, self._std = _levels("mean", mean), _levels("std", std)
            if len(self._mean) != len(self._std) or bool((self._std <= 0).any()):
                raise ValueError(f"std must hold one positive number per entry of mean, got {std}")

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """Draw for every image: `applied`, `mixed`, `first_gives_phase` ((B,) bool), operations `first` and `second`.

        All of it is always drawn, so that what follows on the generator does not depend on a coin.
        """
        applied, mixed, phase = torch.rand(3, shape[0], dtype=torch.float64, generator=generator)
        return {
            "applied": applied < self.apply_p,
            "mixed": mixed < self.p,
            "first_gives_phase": phase < 0.5,
            "first": sample_operations(shape, self.magnitude, generator),
            "second": sample_operations(shape, self.magnitude, generator),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) float32 in [0,1] -> the same, contiguous; a touched image comes out on the grid k/255.

        A touched image is first rounded to that grid, which 8-bit images are on already.
        """
        rows = params["applied"].nonzero()[:, 0]
        if len(rows) == len(images):
            return self._augment(images, params)
        here = rows.to(images.device, non_blocking=True)
        result = images.clone(memory_format=torch.contiguous_format)
        return result.index_copy_(0, here, self._augment(images.index_select(0, here), _select(params, rows)))

    def _augment(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        result = torch.empty_like(images, memory_format=torch.contiguous_format)
        for part in cache_slices(images):
            out = result[part]
            grey = torch.mul(images[part], 255, out=out).round_().to(torch.uint8)
            out.copy_(self._operate(grey, _select(params, part))).div_(255)
        return result

    def _operate(self, grey: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) uint8 -> the same."""
        result = apply_operations(grey, params["first"])
        own_phase = (params["mixed"] & params["first_gives_phase"]).nonzero()[:, 0]
        own_amplitude = (params["mixed"] & ~params["first_gives_phase"]).nonzero()[:, 0]
        rows, n = torch.cat((own_phase, own_amplitude)), len(own_phase)
        if len(rows) == 0:
            return result
        here = rows.to(grey.device, non_blocking=True)
        once = result.index_select(0, here)
        twice = apply_operations(once, params["second"].at(rows))
        levels = self._recombine(torch.cat((once[:n], twice[n:])), torch.cat((twice[:n], once[n:])))
        return result.index_copy_(0, here, self._to_grey(levels))

    def _recombine(self, phase_of: torch.Tensor, amplitude_of: torch.Tensor) -> torch.Tensor:
        if self.space == "pixels":
            return recombine(phase_of, amplitude_of, self.channels)
        mean, std = (levels.to(phase_of.device, non_blocking=True) for levels in (self._mean, self._std))
        mixed = recombine((phase_of - mean) / std, (amplitude_of - mean) / std, self.channels)
        return mixed.mul_(std).add_(mean)

    def _to_grey(self, levels: torch.Tensor) -> torch.Tensor:
        if self.compat == "upstream":
            return levels.to(torch.int32).to(torch.uint8)  # the second cast keeps the last eight bits
        return levels.clamp_(0, 255).round_().to(torch.uint8)


def _select(params: Params, rows: torch.Tensor | slice) -> Params:
    """The parameters of some of the images."""
    return {name: value.at(rows) if isinstance(value, Draw) else value[rows] for name, value in params.items()}


def _levels(name: str, values: Sequence[float] | None) -> torch.Tensor:
    """Per-channel pixel values in [0,1] (a tuple or a config's list) -> (C,1,1) grey levels."""
    if values is None:
        raise ValueError(f"{name} is needed for space=normalised: one number per channel, got None")
    return 255 * torch.tensor([float(value) for value in values])[:, None, None]
