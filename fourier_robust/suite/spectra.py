"""What do corruptions and augmentations add, by frequency, and does a model lose where that is high?"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fourier_robust.aug.chain import Chain
from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.errors import DAMAGED_ARRAYS, UserError
from fourier_robust.fourier.high_frequency import ChangeSpectrum, highest_square, share_of_bins
from fourier_robust.metric.line import Line, fit_line
from fourier_robust.metric.outcome import GAP, SHARE, Estimate, Outcome, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.bands import drawn
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.corrupted_images import Stored
from fourier_robust.suite.corruptions import Corruptions

AUG_BATCH = 128  # images; some augmentations mix the images of a batch, so its size is part of what is measured


class Spectra(Corruptions):
    """Errors as `Corruptions`, and beside them the spectrum of what each corruption and augmentation adds.

    The spectrum is the mean of ``|F(C(x) - x)|`` over images, channels and severities, F unitary. Corruptions are held
    against the share of energy that they add at high frequencies: the model's loss of accuracy, or with `against` its
    gain over another model, each with a fitted line. The changes are taken from the very batches that are predicted.

    Args:
        root: see `Corruptions`, as for all arguments not named here.
        generators: see there.
        source: see there.
        corruptions: see there; at least one.
        severities: out of 1 to 5, each once; the paper draws the spectra of severity 3 and averages shares over all.
        seed: of generated corruptions, of the draw of images and of augmentations.
        save: see there; the whole test split is written, whatever `images` is.
        workers: see there.
        jpeg: see there; the coding is then part of what a corruption changes.
        images: of the test split, drawn without replacement by `seed`; None takes all.
        augs: name -> an augmentation or a step of one, whose result lies on the pixels of the image (a crop or a flip
            changes everything). Views that equal the image are not counted, several others count as one change.
        bandwidth: of the square of high frequencies, see `fourier.high_frequency.highest_square`; None takes 27/32 of
            the side, the paper's 27 at 32 pixels.
        against: spectra.npz of another model, same settings: adds the gain over it.

    Raises:
        ValueError: as `Corruptions`; an empty list, a severity twice, images not above 0, or what is no augmentation.
        UserError: `against` is no spectra.npz.

    Source: Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision", NeurIPS 2019, figures 2 and 6.
    Deviates: spectra are averaged over all `severities`, give ``[3]`` for the paper's; without `against` the scatter
        shows the model's own loss.
    """

    name = "spectra"
    definitions: Mapping[str, str] = {
        **Corruptions.definitions,
        "hf_fraction": "energy of the change (changed minus unchanged image, all channels) in the square around the "
        "highest frequency, over that at all frequencies; mean over severities, then over images, with the interval "
        "over images; unchanged images (no value moved by more than 1e-4) are left out",
        "drop": "clean accuracy minus accuracy under the corruption, mean over the severities; interval over images",
        "gain": "accuracy minus the other model's on the same images, mean over the severities; interval over images",
        "drop_slope": "slope of the least-squares line of drop over hf_fraction, accuracy (fraction) per 1 of "
        "hf_fraction; n counts corruptions, 95 % interval by Student's t over them",
        "gain_slope": "the same of gain",
    }

    def __init__(
        self,
        root: str,
        generators: Mapping[str, Callable[..., Any]],
        source: Literal["auto", "release", "generated"] = "auto",
        corruptions: list[str] | None = None,
        severities: list[int] | None = None,
        seed: int = 0,
        save: str | None = None,
        workers: int | None = None,
        jpeg: bool = True,
        images: int | None = None,
        augs: Mapping[str, Any] | None = None,
        bandwidth: int | None = None,
        against: str | None = None,
    ) -> None:
        for key, chosen in (("corruptions", corruptions), ("severities", severities)):
            if chosen is not None and not chosen:
                raise ValueError(f"suite.{key} is empty; null takes all")
        if len(set(severities or ())) < len(severities or ()):
            raise ValueError(f"suite.severities={severities} names one twice")
        if images is not None and images < 1:
            raise ValueError(f"suite.images={images} must be above 0")
        super().__init__(root, generators, source, corruptions, severities, seed, save, workers, jpeg)
        self.images, self.bandwidth = images, bandwidth
        self._augs = {name: _whole(name, aug) for name, aug in (augs or {}).items()}
        self._other = None if against is None else _read(Path(against))

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """See `Corruptions.conditions`."""
        conditions = super().conditions(dataset)
        try:
            highest_square(dataset.size, dataset.size, self.bandwidth)
        except ValueError as error:
            raise UserError(f"suite.{error}") from error
        if not self._names:
            raise UserError(f"no corruption of {dataset.name} to measure")
        self._of, self._size, self._label = conditions[0], dataset.size, conditions[1].dataset
        if self._other is not None and str(self._other["settings"]) != self._settings():
            theirs = str(self._other["settings"])
            raise UserError(f"suite.against was measured with other settings: {theirs}, not {self._settings()}")
        self._order: torch.Tensor | None = None
        self._changes: dict[Condition, ChangeSpectrum] = {}
        self._pass: dict[Condition, Callable[[], Iterator[Batch]]] = {}
        self._found: list[str] = []
        self._effects: dict[str, Estimate] = {}
        self._line: Line | None = None
        return conditions

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The drawn images, clean or corrupted, whose changes are taken as they go by; see `Suite.source`."""
        clean, split = self._clean(device), self._split(condition, device)
        if self._order is None:
            if self._other is not None and str(self._other["data"]) != clean.identity:
                raise UserError(f"suite.against was measured on other images than those of {dataset.name}")
            self._order = drawn(len(clean), self.images, derive(self.seed, "images"))
            self._device = device
        if not torch.equal(split.labels.cpu(), clean.labels.cpu()):
            raise UserError(
                f"{condition.key}: its images do not lie in the order of {dataset.name}'s, no difference can be taken; "
                "give suite.source=generated"
            )
        self._pass[condition] = partial(self._watched, condition, clean, split, batch_size)
        identity = f"{split.identity}+{len(self._order)}-of-seed{self.seed}"
        return Source(self._pass[condition](), len(self._order), identity)

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Errors, shares, losses and gains, and the slopes; see `Suite.measure`."""
        for condition in outcomes:
            if condition not in self._changes:  # its outcomes are an earlier launch's, its batches have not gone by
                deque(self._pass[condition](), maxlen=0)
        self._clean_wrong = outcomes[self._of].wrong
        counts = [torch.stack([outcomes[one].wrong for one in self._levels(name)]).sum(0) for name in self._names]
        self._wrong = torch.stack(counts)  # (corruptions,N): at how many of the severities
        self._spectra = self._collect()
        found = super().measure(outcomes)
        for (kind, name), (_, share) in self._spectra.items():
            if share is not None:
                label = self._label if kind == "corruption" else f"{self._of.dataset}_aug"
                found.append(Measurement(Condition(label, name), "hf_fraction", share))
        for metric, per_image in self._per_image().items():  # the last one is drawn
            found += self._against_share(metric, per_image)
        if self._other is not None:
            theirs = torch.from_numpy(self._other["clean_wrong"]).double()
            found.append(Measurement(self._of, "gain", mean_of_images(theirs - self._clean_wrong).within(GAP), True))
        return found

    def remarks(self) -> list[str]:
        """The set, the square of high frequencies, unchanged images, and after `measure` the slopes."""
        share = share_of_bins(self._size, self._size, self.bandwidth)
        first = _first_high(self._size, self.bandwidth)
        high = f"high frequencies: |u| and |v| at least {first} cycles per image (white noise: {share:.3f})"
        return [*super().remarks(), high, *self._found]

    def files(self, outcomes: Mapping[Condition, Outcome], who: str) -> Mapping[str, bytes | Mapping[str, np.ndarray]]:
        """Spectra and scatter as pictures, and both as arrays; see `FilesSuite.files`."""
        from fourier_robust.report.spectra_figure import Panel, Point, scatter_png, spectra_png

        assert self._order is not None
        n, severities = len(self._order), ", ".join(map(str, self.severities))
        first = _first_high(self._size, self.bandwidth)
        panels = [
            Panel({"clean": "clean images", "augmentation": f"augmentation\n{name}"}.get(kind, name), plane, share)
            for ((kind, name), (plane, _)), share in zip(self._spectra.items(), self._values(), strict=True)
        ]
        title = (
            f"what corruptions and augmentations add to {self._of.dataset}: mean amplitude over {n} images and "
            f"severities {severities}\nzero frequency in the middle; high: share of energy off the cross drawn in the "
            f"first panel (|u| or |v| below {first} cycles per image)"
        )
        points = [
            Point(name, share, self._effects[name])
            for (kind, name), (_, share) in self._spectra.items()
            if kind == "corruption" and share is not None
        ]
        across = f"share of the change's energy at high frequencies (|u| and |v| at least {first} cycles per image)"
        up = (
            "clean accuracy minus that under it"
            if self._other is None
            else f"accuracy minus that of {self._other['who']}"
        )
        heading = f"{who} on {self._label}, severities {severities}, n = {n} (bars: 95 % over images)"
        white = share_of_bins(self._size, self._size, self.bandwidth)
        return {
            "spectra.npz": self._arrays(who),
            "spectra.png": spectra_png(title, panels, "mean amplitude, pixels in [0,1]", first),
            "scatter.png": scatter_png(heading, points, self._line, across, f"{up} (points)", white),
        }

    def _arrays(self, who: str) -> dict[str, np.ndarray]:
        """What spectra.npz holds; ``wrong`` and below is what a gain of another model over this one needs."""
        return {
            "kind": np.array([kind for kind, _ in self._spectra]),
            "name": np.array([name for _, name in self._spectra]),
            "amplitude": np.stack([plane for plane, _ in self._spectra.values()]).astype(np.float32),
            "hf_fraction": np.array(self._values()),
            "corruption": np.array(self._names),
            "wrong": self._wrong.numpy().astype(np.uint8),  # at how many of the severities
            "clean_wrong": self._clean_wrong.numpy().astype(np.uint8),
            "severities": np.array(self.severities),
            "who": np.array(who),
            "settings": np.array(self._settings()),
            "data": np.array(self._clean(self._device).identity),
        }

    def _values(self) -> list[float]:
        """Each panel's share of high frequencies, NaN where it has none."""
        return [math.nan if share is None else share.value for _, share in self._spectra.values()]

    def _split(self, condition: Condition, device: torch.device) -> Any:
        name, severity = condition.corruption, condition.severity
        if name is None or severity is None:
            return self._clean(device)
        images = self._images if self.save is None else Stored(self._clean, self.save, self._known())
        return images.split(name, severity, device)

    def _watched(self, condition: Condition, clean: Split, split: Split, batch_size: int) -> Iterator[Batch]:
        """The batches of `split`; once they have all gone by, their spectrum is known."""
        change = ChangeSpectrum(self.bandwidth)
        if split is clean:
            for batch in clean.batches(batch_size, self._order):
                change.add(batch.images)
                yield batch
        else:
            pairs = zip(clean.batches(batch_size, self._order), split.batches(batch_size, self._order), strict=True)
            for before, after in pairs:
                change.add(after.images - before.images)
                yield after
        self._changes[condition] = change

    def _levels(self, name: str) -> list[Condition]:
        return [Condition(self._label, name, severity) for severity in self.severities]

    def _collect(self) -> dict[tuple[str, str], tuple[np.ndarray, Estimate | None]]:
        """(kind, name) -> mean amplitude (H,W), centred, and the share at high frequencies, None where nothing changed.

        Clean images have no share.
        """
        found: dict[tuple[str, str], tuple[np.ndarray, Estimate | None]] = {
            ("clean", ""): (self._changes[self._of].mean_amplitude().numpy(), None)
        }
        changes = {("corruption", name): [self._changes[one] for one in self._levels(name)] for name in self._names} | {
            ("augmentation", name): [self._augmented(name, aug)] for name, aug in self._augs.items()
        }
        unchanged = []
        for key, levels in changes.items():
            plane = torch.stack([level.mean_amplitude() for level in levels]).mean(0)
            per_image = torch.stack([level.fractions() for level in levels]).nanmean(0)
            changed = per_image[~per_image.isnan()]
            found[key] = plane.numpy(), mean_of_images(changed).within(SHARE) if len(changed) else None
            if len(changed) < len(per_image):
                kind = "augmentation " if key[0] == "augmentation" else ""
                unchanged.append(f"{kind}{key[1]} {len(per_image) - len(changed)} of {len(per_image)}")
        if unchanged:
            self._found.append(f"unchanged, not in hf_fraction: {', '.join(unchanged)}")
        return found

    def _augmented(self, name: str, aug: Any) -> ChangeSpectrum:
        """The spectrum of what an augmentation adds to the drawn images, from draws of the seed, its name and place."""
        change, draw = ChangeSpectrum(self.bandwidth), torch.Generator()
        for number, batch in enumerate(self._clean(self._device).batches(AUG_BATCH, self._order)):
            draw.manual_seed(derive(self.seed, "spectra", name, number))
            images = batch.images
            views = aug.apply(images, batch.labels, aug.sample(tuple(images.shape), draw)).images
            others = [view for view in views if not torch.equal(view, images)] or [images]
            change.add(torch.cat([view - images for view in others], 1))
        return change

    def _per_image(self) -> dict[str, torch.Tensor]:
        """metric -> (corruptions,N): each image's effect, mean over the severities."""
        wrong = self._wrong / len(self.severities)
        found = {"drop": wrong - self._clean_wrong}
        if self._other is not None:
            found["gain"] = torch.from_numpy(self._other["wrong"]).double() / len(self.severities) - wrong
        return found

    def _against_share(self, metric: str, per_image: torch.Tensor) -> list[Measurement]:
        """An effect on accuracy under each corruption, and the slope of its line over the share of high frequencies."""
        higher = metric == "gain"
        self._effects = {
            name: mean_of_images(each).within(GAP) for name, each in zip(self._names, per_image, strict=True)
        }
        found = [Measurement(Condition(self._label, name), metric, one, higher) for name, one in self._effects.items()]
        corruptions = {name: share for (kind, name), (_, share) in self._spectra.items() if kind == "corruption"}
        shares = {name: share for name, share in corruptions.items() if share is not None}
        places, heights = ([of[name].value for name in shares] for of in (shares, self._effects))
        self._line = fit_line(*(torch.tensor(one, dtype=torch.float64) for one in (places, heights)))
        if self._line is not None:
            value, low, high, n = self._line.slope
            found.append(Measurement(Condition(self._label), f"{metric}_slope", self._line.slope, higher))
            said = f"{value:.3g} [{low:.3g}, {high:.3g}] of accuracy per 1 of hf_fraction, {n} corruptions"
            self._found.append(f"{metric}_slope {said}")
        return found

    def _settings(self) -> str:
        """What must agree for a gain over another model."""
        severities = "".join(map(str, self.severities))
        coded = "jpeg" if self.jpeg else "nojpeg"
        return f"{self._label} {'+'.join(self._names)} severity{severities} {self.images} {coded} {self.seed}"


def _whole(name: str, aug: Any) -> Any:
    """`aug` as what gives views of images and labels; a step of images alone becomes one.

    Raises:
        ValueError: it is neither.
    """
    if not (hasattr(aug, "sample") and hasattr(aug, "apply")):
        raise ValueError(f"suite.augs.{name} is no augmentation: it needs sample and apply")
    return aug if "labels" in inspect.signature(aug.apply).parameters else Chain(step=aug)


def _first_high(size: int, bandwidth: int | None) -> int:
    """The lowest frequency along an axis that counts as high."""
    return int(highest_square(size, size, bandwidth).any(1).nonzero()[0])


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a spectra.npz that a gain needs; no pickle is ever read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in ("wrong", "clean_wrong", "who", "settings", "data")}
    except DAMAGED_ARRAYS as error:
        why = "another run's eval/spectra/spectra.npz is wanted" if path.exists() else "there is no such file"
        raise UserError(f"suite.against: {path} is no spectra.npz: {why}") from error
