"""Does the model tell images of none of its classes from those of its own? Scores, and how well each separates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from fourier_robust.dataset.base import Dataset, ResidentSplit, Split
from fourier_robust.dataset.crops import CentreCrop, Crop
from fourier_robust.dataset.ood import ExactSize, ImageTree, Reader
from fourier_robust.engine.predict import Precision
from fourier_robust.errors import UserError
from fourier_robust.metric.detection import DEFINITIONS, LOWER_IS_BETTER, METRICS, detection_intervals
from fourier_robust.metric.outcome import Estimate
from fourier_robust.run.seed import derive
from fourier_robust.score.base import fit
from fourier_robust.suite.base import Condition, Measurement, Shared, Source
from fourier_robust.suite.clean import table_name
from fourier_robust.suite.ood_observed import Observed, observe, without_overlap

INTERVAL = "95 % bootstrap interval, images of both sets drawn anew"
OF_MEAN = "of a mean of sets: the mean of their bounds, at least as wide as its own"
CONVENTIONS = (
    "a larger score is more OOD; auroc: equal scores count half; aupr: average precision, not trapezoids; fpr95: share "
    "of ID flagged when 95 % of OOD is; fpr95_id: share of OOD accepted when 95 % of ID is"
)


class Scored(NamedTuple):
    """One score of the ID images (N,), and of those of each OOD set (M,); float64, larger = more OOD."""

    inside: torch.Tensor
    outside: Mapping[str, torch.Tensor]


class OutOfDistribution:
    """Detection metrics of each score on each OOD set, and their means over groups of sets.

    One pass over each set feeds all scores. Images of an OOD set that are pixel for pixel images of the test split, or
    of those the scores are fitted on, are refused or left out.

    Args:
        kinds: score name -> the score.
        readers: set name -> its reader.
        groups: in-distribution data set (or ``default``) -> group -> names of sets.
        scores: names among `kinds`; pictures of single scores show the first.
        sets: names among `readers`; None takes those of the data set's groups that are there.
        folders: further sets, or other places of known ones: name -> a folder of images, in any tree.
        images: of each set, drawn by `seed`; None all.
        fit_images: of the training split, drawn by `seed`, for scores that are fitted; None all.
        resize: pixels of the short side before the central crop of images of another size; None the data set's own
            crop where it has one (`test_crop`), else the size of the model's images; 0 refuses other sizes.
        overlap: largest share of a set's images that may also be in-distribution; they are left out.
        replicates: of the bootstrap.
        seed: of drawn images and replicates.

    Raises:
        ValueError: an unknown score, none, or a setting out of range.
    """

    name = "ood"
    observation = Observed
    definitions: Mapping[str, str] = {name: f"{text}; {INTERVAL}; {OF_MEAN}" for name, text in DEFINITIONS.items()}

    def __init__(
        self,
        kinds: Mapping[str, Any],
        readers: Mapping[str, Any],
        groups: Mapping[str, Any],
        scores: Sequence[str],
        sets: Sequence[str] | None = None,
        folders: Mapping[str, str] | None = None,
        images: int | None = None,
        fit_images: int | None = 50000,
        resize: int | None = None,
        overlap: float = 0.0,
        replicates: int = 200,
        seed: int = 0,
    ) -> None:
        if isinstance(scores, str) or not scores or len(set(scores)) < len(scores):
            raise ValueError(f"suite.scores={scores} must be a list of names, each once")
        for score in scores:
            if score not in kinds:
                raise ValueError(f"suite.scores: no score {score}; there are {', '.join(kinds)}")
        for key, value, least in (("images", images, 1), ("fit_images", fit_images, 1), ("replicates", replicates, 2)):
            if value is not None and value < least:
                raise ValueError(f"suite.{key}={value} must be at least {least}")
        if not isinstance(folders or {}, Mapping) or any(re.search(r"[^\w.+-]", str(name)) for name in folders or {}):
            raise ValueError(f"suite.folders={folders} must name each folder: suite.folders={{NAME: PATH}}")
        if not 0 <= overlap < 1:
            raise ValueError(f"suite.overlap={overlap} must lie in [0, 1)")
        self.scores = {name: kinds[name] for name in scores}
        trees = {name: ImageTree(str(folder)) for name, folder in (folders or {}).items()}
        self.readers: dict[str, Reader] = {**readers, **trees}
        self.groups, self.sets, self.folders = groups, sets, tuple(trees)
        self.images, self.fit_images, self.resize, self.overlap = images, fit_images, resize, overlap
        self.replicates, self.seed = replicates, seed
        needs = frozenset[str]().union(*(score.needs for score in self.scores.values()))
        self._train_needed = "train" in needs
        self._shared: Shared | None = None
        self._of_features = [name for name, score in self.scores.items() if {"features", "head"} & score.needs]
        self._movers = {name: score for name, score in self.scores.items() if "gradient" in score.needs}

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """The test split, the training split if a score is fitted, the OOD sets; see `Suite.conditions`."""
        self._inside, self._train = Condition(dataset.name), Condition(table_name(dataset, "train"))
        self._crop = self._crop_of(dataset)
        groups = self.groups.get(dataset.name.split("+")[0], self.groups.get("default", {}))
        listed = list(dict.fromkeys([*(name for group in groups.values() for name in group), *self.folders]))
        self._said: list[str] = []
        for name in self.sets if self.sets is not None else listed:
            if name not in self.readers:
                raise UserError(f"suite.sets: no set {name}; there are {', '.join(self.readers)}")
            if name in (self._inside.dataset, self._train.dataset):
                raise UserError(f"suite.sets: {name} is the in-distribution set")
        self._sets: dict[Condition, str] = {}
        absent = []
        for name in self.sets if self.sets is not None else listed:
            reason = self.readers[name].absent()
            if reason is None:
                self._sets[Condition(name)] = name
            elif self.sets is not None or name in self.folders:
                raise UserError(f"OOD set {name}: {reason}")
            else:
                absent.append(name)
        if absent:
            self._said.append(f"not on disk, left out: {', '.join(absent)}; suite.sets=[NAME] says what belongs where")
        if not self._sets:
            raise UserError(f"no OOD set for {dataset.name}: name some with suite.sets=[...] or suite.folders")
        self._groups = {group: list(names) for group, names in groups.items()}
        return [self._inside, *([self._train] if self._train_needed else []), *self._sets]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images of one set; see `Suite.source`."""
        most = self.images
        if condition in self._sets:
            name = self._sets[condition]
            try:
                split: Split = self.readers[name].split(dataset, self._crop, device)
            except (UserError, ValueError) as error:
                raise UserError(f"OOD set {name}: {error}") from error
        else:
            split = dataset.split("train" if condition == self._train else "test", device)
        if condition == self._train:
            most = self.fit_images
            if not isinstance(split, ResidentSplit):
                self._said.append("training images cropped as in training; dataset.train_crop=none: as in evaluation")
        order = torch.arange(len(split))
        if most is not None and most < len(split):
            generator = torch.Generator().manual_seed(derive(self.seed, "ood", condition.dataset))
            order = torch.randperm(len(split), generator=generator)[:most].sort().values
        identity = split.identity
        if condition in self._sets:
            identity += f"+{type(self._crop).__name__}{self._crop.size}-{getattr(self._crop, 'resize', '')}"
        if len(order) < len(split):
            identity += f"+{len(order)}-of-seed{self.seed}"
        kept = f"+features{bool(self._of_features)}-{','.join(map(repr, self._movers.values()))}"
        return Source(split.batches(batch_size, order), len(order), identity, kept)

    def share(self, known: Shared) -> None:
        """See `SharingSuite.share`."""
        self._shared = known

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> Observed:
        """All that the scores ask of the model, in one pass; see `ModelSuite.observe`."""
        movers = list(self._movers.values())
        try:
            seen = observe(model, source, bool(self._of_features), movers, precision, self._shared)
        except UserError as error:
            raise UserError(f"{condition.key}: {error}") from error
        if seen is None:
            fine = [name for name in self.scores if name not in self._of_features]
            raise UserError(
                f"scores {', '.join(self._of_features)} need the linear layer that the logits come from, and this "
                f"model has none or hides it: choose others with suite.scores=[{','.join(fine) or 'msp'}]"
            )
        return seen

    def measure(self, outcomes: Mapping[Condition, Observed]) -> list[Measurement]:
        """All metrics of each score on each set, then their means over groups; see `Suite.measure`."""
        inside, train = outcomes[self._inside], outcomes.get(self._train)
        known = inside.digest if train is None else torch.cat((inside.digest, train.digest))
        outside = {}
        for one, name in self._sets.items():
            outside[name], same = without_overlap(name, outcomes[one], known, self.overlap)
            if same:
                self._said.append(f"{name}: {same} images are in-distribution images, pixel for pixel; left out")
        fitted = f", scores fitted on {len(train.label)} training images" if train else ""
        self._summary = f"{len(inside.label)} test images of {self._inside.dataset} in-distribution{fitted}"
        self._scored: dict[str, Scored] = {}
        found = []
        for name in self.scores:
            scored = self._scored[name] = self._score(name, inside, train, outside)
            estimates = {of: self._estimates(name, of, scored) for of in scored.outside}
            for of, metrics in (*estimates.items(), *self._means(estimates, len(scored.inside))):
                condition = Condition(of, score=name)
                for metric in METRICS:
                    better = metric not in LOWER_IS_BETTER
                    found.append(Measurement(condition, metric, metrics[metric], higher_is_better=better))
        return found

    def remarks(self) -> list[str]:
        """Conventions, numbers of images, sets left out; after `measure`."""
        return [self._summary, CONVENTIONS, f"{INTERVAL}, {self.replicates} replicates; {OF_MEAN}", *self._said]

    def files(self, outcomes: Mapping[Condition, Observed], who: str) -> Mapping[str, bytes | Mapping[str, Any]]:
        """Histograms of every score, the ROC curves of the first, and both as arrays; see `FilesSuite.files`."""
        from fourier_robust.report.ood_arrays import score_arrays
        from fourier_robust.report.ood_figure import histograms_png, roc_png

        title, first = f"{who}\n{self._summary}", next(iter(self._scored))
        every = {
            name: (one.inside.numpy(), {key: values.numpy() for key, values in one.outside.items()})
            for name, one in self._scored.items()
        }
        return {
            "scores.png": histograms_png(title, every),
            "roc.png": roc_png(title, first, *every[first]),
            "scores.npz": score_arrays(self._inside.dataset, every),
        }

    def _crop_of(self, dataset: Dataset) -> Crop:
        if self.resize == 0:
            return ExactSize(dataset.size, "suite.resize=0")
        if self.resize is None:
            own: Crop | None = getattr(dataset, "test_crop", None)
            return own or CentreCrop(dataset.size, dataset.size)
        try:
            return CentreCrop(dataset.size, self.resize)
        except ValueError as error:
            raise UserError(f"suite.resize: {error}") from error

    def _score(self, name: str, inside: Observed, train: Observed | None, outside: Mapping[str, Observed]) -> Scored:
        mover = list(self._movers).index(name) if name in self._movers else None
        try:
            scorer = fit(self.scores[name], None if train is None else train.outputs(mover), inside.head())
            values = {of: scorer(seen.outputs(mover)) for of, seen in outside.items()}
            return Scored(scorer(inside.outputs(mover)), values)
        except (UserError, ValueError) as error:
            raise UserError(f"score {name}: {error}") from error

    def _estimates(self, score: str, name: str, scored: Scored) -> dict[str, Estimate]:
        generator = torch.Generator().manual_seed(derive(self.seed, "ood", score, name))
        try:
            return detection_intervals(scored.inside, scored.outside[name], generator, self.replicates)
        except ValueError as error:
            raise UserError(f"score {score} on OOD set {name}: {error}") from error

    def _means(
        self, estimates: Mapping[str, Mapping[str, Estimate]], inside: int
    ) -> Iterator[tuple[str, dict[str, Estimate]]]:
        """Name and metrics of each mean: ``mean_near``, or ``mean_near_1_of_2`` where not all of a group are there."""
        groups = {f"mean_{group}": names for group, names in self._groups.items()}
        for name, names in (*groups.items(), (f"mean_all_{len(estimates)}", list(estimates))):
            there = [estimates[one] for one in names if one in estimates]
            if there:
                part = "" if len(there) == len(names) else f"_{len(there)}_of_{len(names)}"
                yield name + part, {metric: _mean([one[metric] for one in there], inside) for metric in METRICS}


def _mean(estimates: Sequence[Estimate], inside: int) -> Estimate:
    value, low, high = (sum(one[column] for one in estimates) / len(estimates) for column in range(3))
    return Estimate(value, low, high, inside + sum(one.n - inside for one in estimates))
