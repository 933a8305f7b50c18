"""How often is the model wrong when it sees only low or only high frequencies, or noise of one band of them?"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from fourier_robust.arch.batch_norm import batch_norm, batch_norms
from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.errors import UserError
from fourier_robust.fourier.filters import Shape, band_noise, high_pass, low_pass, radius_of
from fourier_robust.fourier.rings import num_rings
from fourier_robust.metric.outcome import SHARE, Outcome, error_rate, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.clean import table_name
from fourier_robust.suite.heatmap_plane import usual_norm

CHOICES = {
    "shape": ("disc", "square"),
    "recentre": ("none", "mean", "own", "grey"),
    "rescale": ("none", "max", "contrast"),
    "bn_mode": ("running", "batch"),
}

# An image counts as flat where its power beside DC is below this share of all its power: that is rounding, see
# fourier/profile.py.
_FLAT = 1e-12


class Bands:
    """Error on the low- and the high-pass part of the images, over the radius; and under noise of one band of rings.

    Filtered images are made in this order: filter, `rescale`, `recentre`, `clip`; the images with noise know `clip`
    alone. Filters and noise treat each colour channel by itself. All settings but the seed decide the curves, so they
    stand below the table.

    Args:
        images: of the split, drawn without replacement by `seed`; None takes all.
        split: ``test``, or another of the data set's; ``train`` with the labels that were trained on.
        radii: cycles per image; None takes multiples of an eighth of the size, as far as both parts hold frequencies.
        strict: the low-pass part holds the frequencies below the radius (released code), else also those at it (paper);
            the high-pass part holds the others.
        shape: ``disc`` or ``square``, see `fourier.filters.radius_of`.
        recentre: what is added to high-pass images, whose mean is 0: ``none``, ``mean`` (the data set's mean colour,
            which a model that normalises by it sees as 0), ``own`` (the mean colour of the image itself: no longer a
            pure high-pass), ``grey`` (0.5).
        rescale: ``none``, ``max`` (each image by its own maximum, as the released training script does), ``contrast``
            (deviations from the mean colour by one factor, to the root mean square of the unfiltered image).
        clip: whether images are cut to [0,1].
        noise_bands: first and last ring of each band; None takes bands of an eighth of the size, [] none.
        noise_norm: L2 norm of the noise in each colour channel, pixels in [0,1]; None takes that of the heat map, 4.0
            up to 128 pixels and 15.7 above. (At Yin et al.'s 8.0 for CIFAR-10, over wider bands, the standard and the
            apr_sp net of experiment=speedrun/cifar10_cpu err at 88 and 85 % of 1000 images, near chance both; at 4.0
            at 84 and 62 %.)
        bn_mode: statistics of batch normalisation: ``running`` are those of training, ``batch`` those of the batch
            that is passed (of one condition alone), as in the released code. High-pass images have a mean and a
            contrast that no training image had, and ``batch`` takes both away, so this decides their curve. The
            outputs then depend on the size and the make-up of the batch: images come in an order drawn by `seed`, and
            the number of batches is that of `batch_size`, their size evened out so that the last is not much smaller.
        seed: of the draw of images, of their order where that counts, and of the noise.

    Raises:
        ValueError: images or noise_norm not above 0, a radius or a band that is no number, an unknown choice.

    Source: Wang et al., "High-Frequency Component Helps Explain the Generalization of Convolutional Neural Networks",
        CVPR 2020; the noise after Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision",
        NeurIPS 2019.
    Deviates: the noise fills a band of rings, not a low- or high-pass square. The paper plots accuracy while it trains;
        this is the error of a finished model.
    """

    name = "bands"
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy on the unfiltered images of the draw; 95 % interval by Wilson",
        "error(r)": "the same on their parts below radius r (data set's name with _low) or beyond it (_high), made "
        "with the settings in the remarks; r in cycles per image; 95 % interval by Wilson",
        "error(a-b)": "the same (_noise) with white Gaussian noise of rings a to b added, ring = "
        "round(sqrt(u^2 + v^2)) in cycles per image, L2 norm per channel in the column eps; 95 % interval by Wilson",
        "mean_error": "mean of error(r) over the radii, of error(a-b) over the bands; interval over images, each "
        "image's errors averaged first",
    }

    def __init__(
        self,
        images: int | None = None,
        radii: list[float] | None = None,
        strict: bool = True,
        shape: Literal["disc", "square"] = "disc",
        recentre: Literal["none", "mean", "own", "grey"] = "none",
        rescale: Literal["none", "max", "contrast"] = "none",
        clip: bool = False,
        noise_bands: list[list[int]] | None = None,
        noise_norm: float | None = None,
        seed: int = 0,
        split: str = "test",
        bn_mode: Literal["running", "batch"] = "running",
    ) -> None:
        for key, value in (("images", images), ("noise_norm", noise_norm)):
            if value is not None and not value > 0:
                raise ValueError(f"suite.{key}={value} must be above 0")
        chosen = (("shape", shape), ("recentre", recentre), ("rescale", rescale), ("bn_mode", bn_mode))
        for key, choice in chosen:
            if choice not in CHOICES[key]:
                raise ValueError(f"suite.{key} must be one of {', '.join(CHOICES[key])}, got {choice!r}")
        check_numbers(radii)
        for band in noise_bands or ():
            if not (isinstance(band, list | tuple) and len(band) == 2 and all(isinstance(ring, int) for ring in band)):
                raise ValueError(f"suite.noise_bands must be pairs of a first and a last ring, got {band!r}")
        self.images, self.radii, self.strict, self.shape = images, radii, strict, shape
        self.recentre, self.rescale, self.clip = recentre, rescale, clip
        self.noise_bands, self.noise_norm, self.seed = noise_bands, noise_norm, seed
        self.split, self.bn_mode = split, bn_mode

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """The unfiltered images, then one per filter and per band of noise; see `Suite.conditions`."""
        known = ("train", *(("val",) if dataset.val_size else ()), *getattr(dataset, "test_splits", ("test",)))
        if self.split not in known:
            raise UserError(f"suite.split: {dataset.name} has no split {self.split}; it has {', '.join(known)}")
        size, name = dataset.size, table_name(dataset, self.split)
        self._of, self._chance, self._mean = name, 1 - 1 / dataset.num_classes, torch.tensor(dataset.mean)
        self._norm = self.noise_norm or usual_norm(size)
        radii = usable_radii(size, self.radii, self.strict, self.shape)
        bands = _usable_bands(size, self.noise_bands)
        self._filters = {
            Condition(f"{name}_{side}", f"{radius:g}"): (side, radius) for side in ("low", "high") for radius in radii
        }
        self._bands = {
            Condition(f"{name}_noise", f"{first}-{last}", eps=self._norm): (first, last) for first, last in bands
        }
        self._split: Split | None = None
        return [Condition(name), *self._filters, *self._bands]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The drawn images as they are, filtered, or with noise; see `Suite.source`."""
        if self._split is None:
            self._split = dataset.split(self.split, device)
            self._order = drawn(len(self._split), self.images, derive(self.seed, "images"), self.split)
            if self.bn_mode == "batch":
                generator = torch.Generator().manual_seed(derive(self.seed, "bands", "order"))
                self._order = self._order[torch.randperm(len(self._order), generator=generator)]
        identity = f"{self._split.identity}+{len(self._order)}-of-seed{self.seed}"
        if self.bn_mode == "batch":
            n = len(self._order)
            batch_size = self._batch = math.ceil(n / math.ceil(n / batch_size))
            identity += f"+batches-of-{batch_size}"
        batches, clip = self._split.batches(batch_size, self._order), "-clip" if self.clip else ""
        if condition in self._filters:
            side, radius = self._filters[condition]
            batches = (batch._replace(images=self._filtered(batch.images, side, radius)) for batch in batches)
            identity += f"+{side}{radius}-{self._border()}-{self.recentre}-{self.rescale}{clip}"
        elif condition in self._bands:
            first, last = self._bands[condition]
            batches = self._noisy(batches, first, last)
            identity += f"+noise{first}-{last}-{self._norm:g}{clip}"
        return Source(batches, len(self._order), identity)

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Error per radius and band, and their means; see `Suite.measure`."""
        clean = Condition(self._of)
        self._error = {condition: error_rate(outcome.wrong) for condition, outcome in outcomes.items()}
        found = [Measurement(clean, "error", self._error[clean])]
        for kind in ("low", "high", "noise"):
            measured = [one for one in (*self._filters, *self._bands) if one.dataset == f"{self._of}_{kind}"]
            if not measured:
                continue
            row = Condition(f"{self._of}_{kind}", eps=measured[0].eps)
            mean = torch.stack([outcomes[one].wrong for one in measured]).mean(0)
            found.append(Measurement(row, "mean_error", mean_of_images(mean).within(SHARE)))
            found += [Measurement(row, f"error({one.corruption})", self._error[one]) for one in measured]
        return found

    def remarks(self) -> list[str]:
        """Every setting that decides the curves; see `Suite.remarks`."""
        clip = "clipped to [0,1]" if self.clip else "not clipped"
        said = [
            f"low: {self._border()}; high: the rest, recentred: {self.recentre}; rescaled: {self.rescale}; {clip}; "
            f"{self._norms()}"
        ]
        radii = sorted({radius for _, radius in self._filters.values()})
        said.append(f"mean_error of low and high: over r = {', '.join(f'{radius:g}' for radius in radii)}")
        if self._bands:
            said.append(f"noise: L2 {self._norm:g} per channel, {clip}, rings {', '.join(map(_name, self._bands))}")
        return said

    def changed(self, model: nn.Module, condition: Condition) -> contextlib.AbstractContextManager[None]:
        """Batch normalisation as `bn_mode` says; see `ChangingSuite.changed`.

        Raises:
            UserError: ``batch`` for a model without batch normalisation.
        """
        if self.bn_mode == "running":
            return contextlib.nullcontext()
        if not batch_norms(model):
            raise UserError("suite.bn_mode=batch: the model has no BatchNorm layer, so nothing would change")
        return batch_norm(model, "train")

    def files(self, outcomes: Mapping[Condition, Outcome], who: str) -> Mapping[str, bytes]:
        """The curves; see `FilesSuite.files`."""
        from fourier_robust.report.band_figure import Panel, curves_png

        levels = {"unfiltered": self._error[Condition(self._of)].value, "chance": self._chance}
        names = {"low": f"only {self._border()}", "high": "only the rest"}
        lines = {}
        for side, name in names.items():
            measured = {radius: self._error[one] for one, (kind, radius) in self._filters.items() if kind == side}
            lines[name] = (list(measured), list(measured.values()))
        panels = [Panel("radius r (cycles per image)", lines, levels)]
        if self._bands:
            places = [(first + last) / 2 for first, last in self._bands.values()]
            noise = {"noise of one band": (places, [self._error[one] for one in self._bands])}
            panels.append(Panel("middle of the band of noise (cycles per image)", noise, levels))
        title = "\n".join([f"{who}, n = {len(self._order)}", *self.remarks()[:1], *self.remarks()[2:]])
        return {"bands.png": curves_png(title, "error (%)", panels)}

    def _border(self) -> str:
        return f"{self.shape} {'<' if self.strict else '<='} r"

    def _norms(self) -> str:
        if self.bn_mode == "running":
            return "batch norm: statistics of training"
        last = (len(self._order) - 1) % self._batch + 1
        short = f", the last of {last}" if last < self._batch else ""
        return f"batch norm: statistics of each batch of {self._batch} images{short}"

    def _filtered(self, images: torch.Tensor, side: str, radius: float) -> torch.Tensor:
        """(B,C,H,W) in [0,1] -> one part of them; on that range only with `clip`."""
        keep: Callable[[torch.Tensor, float, bool, Shape], torch.Tensor] = low_pass if side == "low" else high_pass
        part = _rescaled(keep(images, radius, self.strict, self.shape), images, self.rescale)
        if side == "high" and self.recentre == "mean":
            part = part + self._mean.to(images)[:, None, None]
        elif side == "high" and self.recentre == "own":
            part = part + images.mean((2, 3), keepdim=True)
        elif side == "high" and self.recentre == "grey":
            part = part + 0.5
        return part.clamp(0, 1) if self.clip else part

    def _noisy(self, batches: Iterator[Batch], first: int, last: int) -> Iterator[Batch]:
        """Batches with noise added; drawn image by image on the CPU, so that the batch size decides nothing."""
        draw = torch.Generator().manual_seed(derive(self.seed, "bands", "noise", first, last))
        for batch in batches:
            shape = tuple(batch.images.shape[1:])
            noise = torch.stack([band_noise(shape, first, last, self._norm, draw) for _ in batch.images])
            added = batch.images + noise.to(batch.images.device)
            yield batch._replace(images=added.clamp_(0, 1) if self.clip else added)


def check_numbers(radii: list[float] | None) -> None:
    """Refuse radii that are not at least one number.

    Raises:
        ValueError: they are not.
    """
    numbers = [isinstance(radius, int | float) and not isinstance(radius, bool) for radius in radii or ()]
    if radii is not None and (not radii or not all(numbers)):
        raise ValueError(f"suite.radii must be numbers, at least one, got {radii}")


def usable_radii(
    size: int, radii: list[float] | None, strict: bool = True, shape: Shape = "disc", steps: int | None = None
) -> list[float]:
    """`radii` in order, or multiples of an eighth of the size, both sides of each with frequencies.

    Args:
        size: pixels per side.
        radii: cycles per image, or None.
        strict: whether a frequency at the radius lies outside.
        shape: as in `fourier.filters.radius_of`.
        steps: at most how many eighths, where `radii` is None; None takes as many as there are.

    Raises:
        UserError: a radius with no frequency inside or none outside; a size without any radius.
    """
    distance = radius_of(size, size, shape)

    def splits(radius: float) -> bool:
        inside = distance < radius if strict else distance <= radius
        return bool(inside.any()) and not bool(inside.all())

    if radii is None:
        eighths = dict.fromkeys(float(round(step * size / 8)) for step in range(1, 9))
        found = [radius for radius in eighths if splits(radius)][:steps]
        if not found:
            raise UserError(f"suite.radii: images of {size}x{size} pixels are too small for low- and high-pass")
        return found
    for radius in radii:
        if not splits(radius):
            raise UserError(
                f"suite.radii: {radius:g} leaves one side without frequencies: those of {size}x{size} pixels "
                f"({shape}) run from 0 to {float(distance.max()):.4g} cycles per image"
            )
    return sorted({float(radius) for radius in radii})


def drawn(count: int, images: int | None, seed: int, split: str = "test") -> torch.Tensor:
    """(M,) int64, ascending: `images` of `count` indices drawn without replacement; all for None.

    Raises:
        UserError: more wanted than there are.
    """
    if images is None:
        return torch.arange(count)
    if images > count:
        raise UserError(f"suite.images={images}: the {split} split has {count}")
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:images].sort().values


def _usable_bands(size: int, bands: list[list[int]] | None) -> list[tuple[int, int]]:
    reach = num_rings(size, size)
    if bands is None:
        width = max(1, round(size / 8))
        return [(first, min(first + width - 1, reach)) for first in range(1, reach + 1, width)]
    for first, last in bands:
        if not 0 <= first <= last <= reach:
            raise UserError(
                f"suite.noise_bands: [{first},{last}] is no band of the rings 0 to {reach} at {size} pixels"
            )
    return [(first, last) for first, last in bands]


def _rescaled(part: torch.Tensor, images: torch.Tensor, rescale: str) -> torch.Tensor:
    """`part` of `images`, both (B,C,H,W), as `Bands` says; where there is nothing to scale, as it is."""
    if rescale == "none":
        return part
    if rescale == "max":
        peak = part.amax((1, 2, 3), keepdim=True)
        return part / torch.where(peak > 0, peak, 1)
    mean = part.mean((2, 3), keepdim=True)
    wanted, there = (
        (one - one.mean((2, 3), keepdim=True)).square().sum((1, 2, 3), keepdim=True) for one in (images, part)
    )
    flat = there <= _FLAT * images.square().sum((1, 2, 3), keepdim=True)
    return mean + (part - mean) * torch.where(flat, 1, wanted / torch.where(flat, 1, there)).sqrt()


def _name(condition: Condition) -> str:
    return str(condition.corruption)
