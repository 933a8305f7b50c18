"""APR-P: beside the clean batch, the same batch with the amplitudes of other images of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import distributed

from fourier_robust.aug.views import Params, Views
from fourier_robust.fourier.recombine import recombine, recombine_partner


class APRP:
    """Two views (clean, recombined), each of weight 1 with the labels of the phase owner; or the clean one twice.

    One coin per batch decides. Where it says no the published code forwards the clean batch twice; here it is one view
    of weight 2: the same loss and gradient at half the cost. (Only batch norm's running variance differs, by the factor
    n/(n-1) of an estimate from n or 2n values.)

    Args:
        p: probability in [0,1] that a batch is recombined.
        channels: "joint" transforms over (C,H,W), "separate" each channel over (H,W).
        space: what is transformed: "pixels" in [0,1] (the authors' CIFAR code), or "normalised" pixels
            (x - mean) / std (their ImageNet code), where the sign of the mean brightness stays with the phase.
        mean: per channel, pixels in [0,1]; needed for `space` "normalised".
        std: the same.
        compat: "clean" limits the recombined view to [0,1]; "upstream" leaves it unlimited, as the authors do.

    Attributes:
        global_pairs: in a run of several processes an image's partner may be another process's: all send each other
            their images. Else it is of the process's own part of the batch, and smaller parts have fewer partners.

    Raises:
        ValueError: p outside [0,1], an unknown choice, or mean and std missing, of unequal length or not positive.

    Source:
        Chen et al., "Amplitude-Phase Recombination: Rethinking Robustness of Convolutional Neural Networks in Frequency
        Domain", ICCV 2021; parameters and order of operations of the released code (p 0.6 on CIFAR, 0.5 on ImageNet).

    Deviates:
        "clean" limits the recombined view, so that images lie in [0,1] as everywhere else. Measured on the CIFAR-10
        test set in batches of 128: 4.8 % of the values lie outside (4.7 % in "normalised"), some in 90 % of the images,
        over a range of -1.7 to 2.9; limiting changes a value by 0.005 on average, one outside by 0.11. The effect on
        accuracy is not measured. "upstream" deviates only in the unmixed batch, as said above.
    """

    def __init__(
        self,
        p: float = 0.6,
        channels: Literal["joint", "separate"] = "joint",
        space: Literal["pixels", "normalised"] = "pixels",
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        compat: Literal["clean", "upstream"] = "clean",
    ) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p must lie in [0, 1], got {p}")
        for name, value, choices in (
            ("channels", channels, ("joint", "separate")),
            ("space", space, ("pixels", "normalised")),
            ("compat", compat, ("clean", "upstream")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        self.global_pairs = False
        self.p = p
        self.channels = channels
        self.space = space
        self.compat = compat
        if space == "normalised":
            self._mean, self._std = _per_channel("mean", mean), _per_channel("std", std)
            if len(self._mean) != len(self._std) or not bool((self._std > 0).all()):
                raise ValueError(f"std must hold one positive number per entry of mean, got {std}")

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """`mix` (bool, the batch's coin) and `partner`, (B,) int64: a uniform permutation, fixed points allowed.

        With `global_pairs` also `anyone`, the same, which stays as it is in a part of the batch (`aug.part`).

        Coin and permutation are always drawn, so that what follows on the generator does not depend on the coin.
        """
        coin = torch.rand((), generator=generator, dtype=torch.float64).item()
        partner = torch.randperm(shape[0], generator=generator)
        return {"mix": coin < self.p, "partner": partner} | ({"anyone": partner} if self.global_pairs else {})

    def apply(self, images: torch.Tensor, labels: torch.Tensor, params: Params) -> Views:
        """(B,C,H,W) in [0,1] and labels (B,) or (B,K) -> both views, or the clean one of weight 2."""
        if not params["mix"]:
            return Views(images[None], labels[None], (2.0,))
        if "anyone" in params and distributed.is_initialized():
            mixed = self._recombine(_of_all(images), params["anyone"], images)
        else:
            mixed = self._recombine(images, params["partner"])
        if self.compat == "clean":
            mixed = mixed.clamp_(0, 1)
        return Views(torch.stack((images, mixed)), torch.stack((labels, labels)), (1.0, 1.0))

    def _recombine(
        self, donors: torch.Tensor, partner: torch.Tensor, images: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`donors` with the amplitudes of their partners among them; or `images`, which may be others."""

        def recombined(donors: torch.Tensor, images: torch.Tensor | None) -> torch.Tensor:
            if images is None:
                return recombine_partner(donors, partner, self.channels)
            return recombine(images, donors[partner.to(donors.device, non_blocking=True)], self.channels)

        if self.space == "pixels":
            return recombined(donors, images)
        mean = self._mean.to(donors.device, non_blocking=True)
        std = self._std.to(donors.device, non_blocking=True)
        donors = (donors - mean) / std
        return recombined(donors, None if images is None else (images - mean) / std).mul_(std).add_(mean)


def _of_all(images: torch.Tensor) -> torch.Tensor:
    """(N*B,C,H,W): the (B,C,H,W) images of all N processes, by rank."""
    parts = [
        torch.empty_like(images, memory_format=torch.contiguous_format) for _ in range(distributed.get_world_size())
    ]
    distributed.all_gather(parts, images.contiguous())
    return torch.cat(parts)


def _per_channel(name: str, values: Sequence[float] | None) -> torch.Tensor:
    """(C,1,1) float32 of a tuple, a list or a config's list."""
    if values is None:
        raise ValueError(f"{name} is needed for space=normalised: one number per channel, got None")
    return torch.tensor([float(value) for value in values])[:, None, None]
