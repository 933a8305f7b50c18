"""Whose label does the model see in an image with the phase of one image and the amplitude of another?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch

from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.errors import UserError
from fourier_robust.fourier.filters import high_pass, low_pass, radius_of
from fourier_robust.fourier.recombine import recombine
from fourier_robust.metric.outcome import Estimate, Outcome, error_rate
from fourier_robust.run.seed import derive
from fourier_robust.suite.bands import check_numbers, drawn, usable_radii
from fourier_robust.suite.base import Condition, Measurement, Source

FOLLOWS = ("phase", "amplitude", "neither")
COLOURS = {"phase": "tab:blue", "amplitude": "tab:orange", "neither": "tab:green"}


class Swap:
    """Each test image keeps its phase and takes the amplitude of an image of another class; which label is predicted?

    The amplitude donor of each image is drawn uniformly, with replacement, from all test images of other classes; it
    depends on the seed and the split alone, so all models see the same images. With a radius, the amplitudes below it
    alone are taken (``<r``), or all but those (``>=r``); the phase is always the image's own.

    Args:
        images: phase donors, drawn from the test split without replacement by `seed`; None takes all.
        radii: cycles per image; None takes one to four eighths of the size; [] none.
        channels: what is transformed: ``joint``, (C,H,W) as the authors do, or ``separate``, each channel over (H,W).
        clip: whether the images are cut to [0,1]: true as ``compat: clean`` of aug/apr_p, false as its ``upstream``.
        pairs: how many pairs the picture shows, drawn by `seed`; or a list of them, as places in the test split.
        seed: of images, amplitude donors and pairs.

    Raises:
        ValueError: images not above 0, pairs below 0 or not pairs of places, radii that are no numbers, other channels.

    Source: Chen et al., "Amplitude-Phase Recombination: Rethinking Robustness of Convolutional Neural Networks in
        Frequency Domain", ICCV 2021.
    Deviates: they show single pairs; the shares over the whole test set, and by radius, are this suite's.
    """

    name = "swap"
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy on the phase donors themselves; 95 % interval by Wilson",
        "follows_phase": "share of recombined images predicted as the phase donor's label; 95 % interval by Wilson",
        "follows_amplitude": "share predicted as the amplitude donor's label, never the phase donor's; by Wilson",
        "follows_neither": "share predicted as any other class; by Wilson",
        "follows_phase(<r)": "the same, also for amplitude and neither, where only the amplitudes of frequencies "
        "sqrt(u^2 + v^2) < r, in cycles per image, are the donor's",
        "follows_phase(>=r)": "the same, where only the amplitudes of frequencies from r on are the donor's",
    }

    def __init__(
        self,
        images: int | None = None,
        radii: list[float] | None = None,
        channels: Literal["joint", "separate"] = "joint",
        clip: bool = True,
        pairs: int | list[list[int]] = 6,
        seed: int = 0,
    ) -> None:
        if images is not None and images < 1:
            raise ValueError(f"suite.images={images} must be above 0")
        if channels not in ("joint", "separate"):
            raise ValueError(f"suite.channels must be one of joint, separate, got {channels!r}")
        if isinstance(pairs, int) and pairs < 0:
            raise ValueError(f"suite.pairs={pairs} must be at least 0")
        for pair in () if isinstance(pairs, int) else pairs:
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(one, int) for one in pair)):
                raise ValueError(f"suite.pairs must be a number or pairs of places in the test split, got {pair!r}")
        if radii != []:
            check_numbers(radii)
        self.images, self.radii, self.channels, self.clip = images, radii, channels, clip
        self.pairs, self.seed = pairs, seed

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """The phase donors, the recombined images, those of each radius, and the pairs; see `Suite.conditions`."""
        self._of, self._classes = dataset.name, dataset.class_names
        radii = [] if self.radii == [] else usable_radii(dataset.size, self.radii, steps=4)
        self._reach = float(int(radius_of(dataset.size, dataset.size).max()) + 1)  # below it lies every frequency
        swapped = f"{dataset.name}_swap"
        self._band_of: dict[Condition, tuple[str, float] | None] = {Condition(swapped): None}
        for side, name in (("<", "below"), (">=", "from")):
            self._band_of |= {Condition(swapped, f"{name}_{radius:g}"): (side, radius) for radius in radii}
        self._pairs_at = Condition(swapped, "pairs")
        self._split: Split | None = None
        return [Condition(dataset.name), *self._band_of, *([self._pairs_at] if self.pairs else [])]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The drawn images, or with other amplitudes; see `Suite.source`."""
        if self._split is None:
            self._draw(dataset.split("test", device))
        assert self._split is not None
        identity = f"{self._split.identity}+{len(self._order)}-of-seed{self.seed}"
        how = self.channels + ("-clip" if self.clip else "")
        if condition == self._pairs_at:
            batch = self._pictures(self._split)
            parts = (Batch(*part) for part in zip(*(one.split(batch_size) for one in batch), strict=True))
            return Source(parts, len(batch.labels), f"{self._split.identity}+pairs{self._pairs.tolist()}-{how}")
        if condition not in self._band_of:
            return Source(self._split.batches(batch_size, self._order), len(self._order), identity)
        band = self._band_of[condition]
        identity += "+swap-" + ("all" if band is None else f"{band[0]}{band[1]}")
        return Source(self._swapped(self._split, batch_size, band), len(self._order), f"{identity}-{how}")

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Whom the predictions follow, overall and by radius; see `Suite.measure`."""
        clean = Condition(self._of)
        found = [Measurement(clean, "error", error_rate(outcomes[clean].wrong))]
        row = Condition(f"{self._of}_swap")
        self._shares: dict[Condition, dict[str, Estimate]] = {}
        for condition, band in self._band_of.items():
            outcome = outcomes[condition]
            whom = followed(outcome.prediction, outcome.label, self._donor_labels)
            shares = {name: error_rate((whom == place).double()) for place, name in enumerate(FOLLOWS)}
            self._shares[condition] = shares
            where = "" if band is None else f"({band[0]}{band[1]:g})"
            found += [
                Measurement(row, f"follows_{name}{where}", share, higher_is_better=name == "phase")
                for name, share in shares.items()
            ]
        return found

    def remarks(self) -> list[str]:
        """Transform, range and donors; see `Suite.remarks`."""
        clip = "clipped to [0,1]" if self.clip else "not clipped"
        return [f"channels {self.channels}, {clip}; amplitude donors of another class, drawn by seed {self.seed}"]

    def files(self, outcomes: Mapping[Condition, Outcome], who: str) -> Mapping[str, bytes]:
        """The pairs, and the shares over the radius up to all amplitudes; see `FilesSuite.files`."""
        from fourier_robust.report.band_figure import Panel, curves_png

        found = {}
        if self.pairs:
            found["pairs.png"] = self._pairs_png(outcomes[self._pairs_at], who)
        panels = []
        everything = self._shares[Condition(f"{self._of}_swap")]
        for side, place, end in (("<", "below", self._reach), (">=", "from", 0.0)):
            bands = {band[1]: self._shares[one] for one, band in self._band_of.items() if band and band[0] == side}
            bands = dict(sorted({**bands, end: everything}.items()))
            lines = {name: (list(bands), [shares[name] for shares in bands.values()]) for name in FOLLOWS}
            panels.append(Panel(f"amplitudes exchanged {place} r (cycles per image)", lines, {}))
        if len(self._band_of) > 1:
            title = f"{who}, n = {len(self._order)}\n{self.remarks()[0]}"
            found["radii.png"] = curves_png(title, "predictions that follow phase, amplitude, neither (%)", panels)
        return found

    def _draw(self, split: Split) -> None:
        self._order = drawn(len(split), self.images, derive(self.seed, "images"))
        self._partner = partners(split.labels, derive(self.seed, "swap", "partners"))
        self._donor_labels = split.labels[self._partner[self._order]]
        if isinstance(self.pairs, int):
            chosen = drawn(len(split), min(self.pairs, len(split)), derive(self.seed, "swap", "pairs"))
            self._pairs = torch.stack([chosen, self._partner[chosen]], 1)
        else:
            self._pairs = torch.tensor(self.pairs, dtype=torch.int64).view(-1, 2)
            if self.pairs and not 0 <= int(self._pairs.min()) <= int(self._pairs.max()) < len(split):
                raise UserError(f"suite.pairs: places in the test split run from 0 to {len(split) - 1}")
        self._split = split

    def _recombined(self, images: torch.Tensor, donors: torch.Tensor, band: tuple[str, float] | None) -> torch.Tensor:
        """(B,C,H,W) with the amplitudes of `donors`; of a band alone, since where the phases agree images add up."""
        mixed = recombine(images, donors, self.channels)
        if band is not None:
            keep = low_pass if band[0] == "<" else high_pass
            mixed = images + keep(mixed - images, band[1])
        return mixed.clamp(0, 1) if self.clip else mixed

    def _swapped(self, split: Split, batch_size: int, band: tuple[str, float] | None) -> Iterator[Batch]:
        owners = split.batches(batch_size, self._order)
        donors = split.batches(batch_size, self._partner[self._order])
        for owner, donor in zip(owners, donors, strict=True):
            yield owner._replace(images=self._recombined(owner.images, donor.images, band))

    def _pictures(self, split: Split) -> Batch:
        """First donors, second donors, first phases, second phases, each once per pair; kept for the picture."""
        first, second = (next(split.batches(len(self._pairs), self._pairs[:, side])) for side in (0, 1))
        ways = [self._recombined(*two, None) for two in ((first.images, second.images), (second.images, first.images))]
        self._shown = torch.cat([first.images, second.images, *ways]).permute(0, 2, 3, 1).cpu()
        labels, indices = (
            torch.cat(two * 2) for two in ((first.labels, second.labels), (first.indices, second.indices))
        )
        return Batch(self._shown.permute(0, 3, 1, 2).to(first.images.device), labels, indices)

    def _pairs_png(self, outcome: Outcome, who: str) -> bytes:
        from fourier_robust.report.band_figure import Picture, pictures_png

        count = len(self._pairs)
        labels = outcome.label.view(4, count)
        others = labels[[1, 0, 3, 2]].flatten()
        whom = followed(outcome.prediction, outcome.label, others)
        pictures = []
        for place, image in enumerate(self._shown.numpy()):
            said = f"{self._classes[outcome.prediction[place]]} {outcome.confidence[place]:.2f}"
            if place < 2 * count:
                pictures.append(Picture(image, f"is {self._classes[outcome.label[place]]}\npredicted {said}"))
            else:
                name = FOLLOWS[int(whom[place])]
                pictures.append(Picture(image, f"predicted {said}\nfollows {name}", COLOURS[name]))
        columns = ("A", "B", "phase A, amplitude B", "phase B, amplitude A")
        title = f"{who}\n{self.remarks()[0].split(';')[0]}"
        return pictures_png(title, columns, [pictures[pair::count] for pair in range(count)])


def followed(prediction: torch.Tensor, phase_label: torch.Tensor, amplitude_label: torch.Tensor) -> torch.Tensor:
    """(N,) int64 each -> (N,) int64, places in `FOLLOWS`: whose label the prediction is."""
    by_amplitude = torch.where(prediction == amplitude_label, 1, 2)
    return torch.where(prediction == phase_label, 0, by_amplitude)


def partners(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """(N,) int64 labels -> (N,) int64: for each image one of another class, all of those equally likely.

    Raises:
        UserError: all labels are one.
    """
    order = labels.argsort(stable=True)
    _, own, counts = labels.unique(return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise UserError("suite=swap needs test images of two classes or more")
    first, size = (counts.cumsum(0) - counts)[own], counts[own]
    uniform = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    place = (uniform * (len(labels) - size)).long()  # among the others; those behind the own class lie `size` further
    return order[torch.where(place < first, place, place + size)]
