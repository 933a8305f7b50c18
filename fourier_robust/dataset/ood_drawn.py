"""Out-of-distribution images that need no download: noise and blobs, and test images with half their spectrum gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

import torch

from fourier_robust.dataset.arguments import at_least
from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.ood import NO_CLASS
from fourier_robust.dataset.shapes import donors_of_another_class
from fourier_robust.fourier.recombine import recombine
from fourier_robust.run.seed import derive

Draw = Literal["gaussian", "uniform", "blobs"]
_SIGMA, _FILLED, _LEVEL = 1.5, 0.7, 0.75  # of the blobs


class Drawn:
    """Images drawn at the size of the in-distribution ones, each from a generator of its own.

    Args:
        kind: gaussian: every value of its own, mean 0.5 and standard deviation `std`, cut to [0,1]; uniform: every
            value of its own in [0,1); blobs: 7 of 10 values 1, the others 0, blurred over the pixels (Gaussian, 1.5
            pixels at size 32 and in proportion), what stays below 0.75 set to 0.
        images: how many.
        std: of gaussian.
        seed: of the draws.

    Raises:
        ValueError: an unknown kind, images below 1, std not above 0.

    Source: the noises and blobs of Hendrycks, Mazeika and Dietterich, "Deep Anomaly Detection with Outlier Exposure",
        ICLR 2019.
    Deviates: noise in [0,1] pixels, not in normalised ones; the blur leaves the colours apart.
    """

    def __init__(self, kind: Draw, images: int = 10000, std: float = 0.25, seed: int = 0) -> None:
        if kind not in get_args(Draw):
            raise ValueError(f"kind={kind!r} must be one of {', '.join(get_args(Draw))}")
        if std <= 0:
            raise ValueError(f"std={std} must be above 0")
        self.kind, self.images, self.std, self.seed = kind, at_least("images", images, 1), std, seed

    def absent(self) -> None:
        """Never; see `Reader`."""
        return None

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> DrawnSplit:
        """See `Reader`."""
        seed = derive(self.seed, "ood", self.kind)
        identity = f"{self.kind}-{self.std:g}-seed{self.seed}-{self.images}x{inside.size}"

        def batches(batch_size: int, order: torch.Tensor) -> Iterator[Batch]:
            for index in order.split(batch_size):
                images = self._draw(_seeds(seed, index), inside.size).to(device)
                yield Batch(images, torch.full((len(index),), NO_CLASS, device=images.device), index)

        return DrawnSplit(self.images, identity, batches)

    def _draw(self, seeds: list[int], size: int) -> torch.Tensor:
        """(B,3,size,size) in [0,1] on the CPU."""
        if self.kind == "gaussian":
            return _each(torch.randn, seeds, size).mul_(self.std).add_(0.5).clamp_(0, 1)
        noise = _each(torch.rand, seeds, size)
        if self.kind == "uniform":
            return noise
        blurred = _blur((noise < _FILLED).float(), _SIGMA * size / 32)
        return torch.where(blurred < _LEVEL, 0.0, blurred).clamp_(0, 1)


class Recombined:
    """The in-distribution test images without the half of their spectrum that tells what they show, or with another.

    Args:
        kind: phase_scrambled: the phase of each frequency turned by a random angle, the same in all channels, DC
            apart: amplitudes stay, what is seen goes. amplitude_swapped: the amplitude of a test image of another
            class (over C, H and W jointly, as APR does): to people it still shows its class, so this is a near set.
        seed: of angles and donors.

    Raises:
        ValueError: an unknown kind.

    Both are cut to [0,1].
    """

    def __init__(self, kind: Literal["phase_scrambled", "amplitude_swapped"], seed: int = 0) -> None:
        if kind not in ("phase_scrambled", "amplitude_swapped"):
            raise ValueError(f"kind={kind!r} must be phase_scrambled or amplitude_swapped")
        self.kind, self.seed = kind, seed

    def absent(self) -> None:
        """Never; see `Reader`."""
        return None

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> DrawnSplit:
        """See `Reader`."""
        test, seed = inside.split("test", device), derive(self.seed, "ood", self.kind)
        make = self._scrambled if self.kind == "phase_scrambled" else self._swapped
        identity = f"{test.identity}+{self.kind}-seed{self.seed}"
        return DrawnSplit(len(test), identity, lambda batch_size, order: make(test, seed, batch_size, order))

    @staticmethod
    def _scrambled(test: Split, seed: int, batch_size: int, order: torch.Tensor) -> Iterator[Batch]:
        for batch in test.batches(batch_size, order):
            plane = _each(torch.randn, _seeds(seed, batch.indices), batch.images.shape[-1], channels=1)
            yield batch._replace(images=turn_phase(batch.images, plane.to(batch.images.device)).clamp_(0, 1))

    @staticmethod
    def _swapped(test: Split, seed: int, batch_size: int, order: torch.Tensor) -> Iterator[Batch]:
        donors = donors_of_another_class(test.labels, torch.Generator().manual_seed(seed))
        pairs = zip(test.batches(batch_size, order), test.batches(batch_size, donors[order]), strict=True)
        for own, other in pairs:
            yield own._replace(images=recombine(own.images, other.images).clamp_(0, 1))


class DrawnSplit:
    """A split whose images are made as they are read; see `Split`.

    Args:
        count: images.
        identity: what they are made of, and how.
        make: (batch size, (M,) int64 positions) -> batches.
    """

    def __init__(self, count: int, identity: str, make: Callable[[int, torch.Tensor], Iterator[Batch]]) -> None:
        self.labels, self.identity = torch.full((count,), NO_CLASS), identity
        self._make = make

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`; an image is the same whatever the order and the batch, so `seed` changes nothing."""
        order = torch.arange(len(self)) if order is None else order
        if drop_last:
            order = order[: len(order) // batch_size * batch_size]
        yield from self._make(batch_size, order)


def turn_phase(images: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """(B,C,H,W) -> the same with each phase turned by that of `plane` (B,1,H,W) at this frequency; DC stays."""
    turn = torch.fft.rfft2(plane.float())
    turn = turn / turn.abs().clamp_min(torch.finfo(torch.float32).tiny)
    turn[..., 0, 0] = 1
    return torch.fft.irfft2(torch.fft.rfft2(images.float()) * turn, s=images.shape[-2:])


def _seeds(seed: int, index: torch.Tensor) -> list[int]:
    return [derive(seed, position) for position in index.tolist()]


def _each(draw: Callable[..., torch.Tensor], seeds: list[int], size: int, channels: int = 3) -> torch.Tensor:
    """(B,channels,size,size) of `draw`, one generator per image."""
    generator = torch.Generator()
    return torch.stack([draw(channels, size, size, generator=generator.manual_seed(one)) for one in seeds])


def _blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (B,C,H,W) over the pixels, each channel by itself; edges repeated."""
    reach = max(1, min(round(4 * sigma), images.shape[-1] - 1))
    weights = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    flat = images.flatten(0, 1)[:, None]
    flat = torch.nn.functional.pad(flat, (reach,) * 4, mode="replicate")
    flat = torch.nn.functional.conv2d(flat, weights.view(1, 1, 1, -1))
    return torch.nn.functional.conv2d(flat, weights.view(1, 1, -1, 1)).view_as(images)
