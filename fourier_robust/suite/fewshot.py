"""How much does a linear probe on frozen features learn of another set from a few images of each class?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from fourier_robust.dataset.base import Batch, Dataset, Split, content_identity
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.readable import UNREADABLE, FileSplit, Readable, named
from fourier_robust.dataset.transfer import Transfer, TransferSet
from fourier_robust.dataset.transfer_folders import FolderSet
from fourier_robust.engine.predict import Precision
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import SHARE, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.fewshot_probe import (
    Draws,
    Observed,
    Probe,
    Probed,
    best_by_rank,
    draw,
    mean_of_sets,
    observe,
    spread_of_draws,
)

Select = Literal["loo", "fixed", "test_rank"]
RULES = {
    "loo": "penalty: the one that errs least on left-out training images; 1 shot: the fixed one",
    "fixed": "penalty: the fixed one",
    "test_rank": "penalty: per number of shots the one of best mean rank over sets, CHOSEN ON TEST IMAGES",
}


class FewShot:
    """Error of a ridge probe on each transfer set, per number of shots.

    The features of test images and of all drawn training images are taken once per set; every probe is closed form.
    Images of any size: short side to `resize` pixels (antialiased), then the central square that the model takes. The
    training files that are drawn must all be readable: without one, others would be drawn.

    Args:
        readers: set name -> its reader.
        sets: names among `readers`; None takes those that are there.
        folders: further sets: name -> a folder with a folder of images per class, or with train/ and test/ of those.
        shots: training images per class.
        seeds: draws of training images.
        select: "loo", on the training images of the probe; "fixed"; or "test_rank", as published once: on test images.
        penalty: of "fixed", and of 1 shot under "loo": left out, its class would have no image.
        log2_penalties: first and last exponent of 2 of the penalties that are tried, both included.
        standardise: features by mean and standard deviation of the probe's training images.
        layer: a module whose output is probed; None: the input of the last linear layer.
        images: test images of each set, drawn by `seed`; None all.
        resize: None: the data set's own (`test_crop`) where it has one, else the size of the model's images.
        seed: of all draws.
        unreadable: the largest share, below 1, of a set's test files that may be unreadable: left out and named.

    Raises:
        ValueError: an unknown set or rule, or a setting out of range.

    Source: `fewshot_lsr` of google-research/big_vision: probe, shots, three draws, the penalty 1024 ("fixed"); that of
        an older public form, read in a copy: penalties 2^-10 to 2^20, chosen by rank on test images ("test_rank").
    Deviates: "loo", the default, is neither's; draws are from our own generators.
    """

    name = "fewshot"
    observation = Observed
    definitions: Mapping[str, str] = {
        "error_<k>shot": "1 - top-1 accuracy on test images of a ridge probe that learnt from k images per class, mean "
        "over draws of those; 95 % interval over test images, the draws given",
        "error_<k>shot_sd": "standard deviation of that error over draws of training images (n of them, divided by "
        "n - 1), which share images where a class has few; 95 % interval for normally distributed errors",
    }

    def __init__(
        self,
        readers: Mapping[str, TransferSet],
        sets: Sequence[str] | None = None,
        folders: Mapping[str, str] | None = None,
        shots: Sequence[int] = (1, 5, 10, 25),
        seeds: int = 3,
        select: Select = "loo",
        penalty: float = 1024.0,
        log2_penalties: Sequence[int] = (-10, 20),
        standardise: bool = True,
        layer: str | None = None,
        images: int | None = None,
        resize: int | None = None,
        seed: int = 0,
        unreadable: float = 0.001,
    ) -> None:
        if not isinstance(folders or {}, Mapping) or any(re.search(r"[^\w.+-]", str(name)) for name in folders or {}):
            raise ValueError(f"suite.folders={folders} must name each folder: suite.folders={{NAME: PATH}}")
        self.readers = {**readers, **{name: FolderSet(str(folder)) for name, folder in (folders or {}).items()}}
        if sets is not None and (isinstance(sets, str) or not sets or len(set(sets)) < len(sets)):
            raise ValueError(f"suite.sets={sets} must be a list of names, each once")
        for name in sets or ():
            if name not in self.readers:
                raise ValueError(f"suite.sets: no set {name}; there are {', '.join(self.readers)}")
        if isinstance(shots, int | str) or not shots or sorted(set(shots)) != list(shots) or min(shots) < 1:
            raise ValueError(f"suite.shots={shots} must be ascending numbers of at least 1")
        if select not in RULES:
            raise ValueError(f"suite.select={select}: must be one of {', '.join(RULES)}")
        if len(log2_penalties) != 2 or log2_penalties[0] > log2_penalties[1] or penalty <= 0:
            raise ValueError("suite.log2_penalties must be first and last exponent, suite.penalty above 0")
        for key, value in (("seeds", seeds), ("images", images)):
            if value is not None and value < 1:
                raise ValueError(f"suite.{key}={value} must be at least 1")
        if not 0 <= unreadable < 1:
            raise ValueError(f"suite.unreadable={unreadable} must be at least 0 and below 1")
        self.unreadable = unreadable
        self.sets, self.folders, self.shots, self.seeds = sets, tuple(folders or {}), list(shots), seeds
        self.select, self.penalty, self.standardise = select, float(penalty), standardise
        self.penalties = [2.0**power for power in range(log2_penalties[0], log2_penalties[1] + 1)]
        self.layer, self.images, self.resize, self.seed = layer, images, resize, seed

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Of each set the test images, then the training images that are drawn; see `Suite.conditions`."""
        self._crop, self._said = self._crop_of(dataset), list[str]()
        self._own = dataset.name.split("+")[0]
        self._read: dict[str, Transfer] = {}
        self._draws: dict[str, Draws] = {}
        self._shots: dict[str, list[int]] = {}
        self._part: dict[Condition, tuple[str, Split, torch.Tensor]] = {}
        self._files: dict[str, Readable] = {}
        self._lost: list[str] = []
        for name in self._there():
            try:
                found = self._read[name] = self.readers[name].read(self._crop)
                self._shots[name] = self._shots_of(name, found)
                generators = (self._generator(name, number) for number in range(self.seeds))
                drawn = self._draws[name] = draw(found.train.labels, found.classes, self._shots[name][-1], generators)
            except UserError as error:
                raise UserError(f"transfer set {name}: {error}") from error
            self._part[Condition(name)] = name, found.test, self._test_order(name, len(found.test))
            self._part[Condition(f"{name}_train")] = name, found.train, drawn.order
            remark = f"{name}: {found.remark}" if found.remark else ""
            self._said += [remark] if remark else []
        if self._own in self._read:
            self._said.append(f"{self._own} is the model's own data set: no transfer, in no mean")
        return list(self._part)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images of one part of a set; see `Suite.source`."""
        name, split, order = self._part[condition]
        crop = f"crop{self._crop.size}-{self._crop.resize}"
        identity = f"{split.identity}+{content_identity(order)[:16]}+{crop}+features-{self.layer or 'last'}"
        batches = split.batches(batch_size, order)
        if condition.dataset == name and isinstance(split, FileSplit):
            self._files[name] = Readable(split, order, self.unreadable)
            batches = self._files[name].batches(batch_size)
        return Source(_on(device, named(f"transfer set {name}", batches)), len(order), identity)

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> Observed:
        """Features and labels; see `ModelSuite.observe`."""
        return observe(model, source.batches, self.layer, precision)

    def measure(self, outcomes: Mapping[Condition, Observed]) -> list[Measurement]:
        """Errors of each set, then their plain mean; see `Suite.measure`."""
        self._probed: dict[tuple[str, int], Probed] = {}
        probes = {}
        self._lost = []
        for name, found in self._read.items():
            train, test = outcomes[Condition(f"{name}_train")], self._readable(name, outcomes[Condition(name)])
            probes[name] = Probe(train, test, self._draws[name], len(found.classes), self.standardise)
        for shots in self.shots:
            able = {name: probe for name, probe in probes.items() if shots in self._shots[name]}
            penalties = self._penalties(shots, able)
            for name, probe in able.items():
                try:
                    self._probed[name, shots] = probe.probed(shots, penalties)
                except ValueError as error:
                    raise UserError(f"transfer set {name}: {error}") from error
        measured = []
        estimates = {key: mean_of_images(one.wrong.mean(0)) for key, one in self._probed.items()}
        for name in probes:
            for shots in self._shots[name]:
                estimate = estimates[name, shots].within(SHARE)
                measured.append(Measurement(Condition(name), f"error_{shots}shot", estimate))
                if self.seeds > 1:
                    each = self._probed[name, shots].wrong.mean(1)
                    spread = spread_of_draws(each)
                    measured.append(Measurement(Condition(name), f"error_{shots}shot_sd", spread))
        for shots in self.shots:
            carried = [name for name in probes if name != self._own and shots in self._shots[name]]
            if len(carried) > 1:
                mean = mean_of_sets([estimates[name, shots] for name in carried]).within(SHARE)
                measured.append(Measurement(Condition(f"mean_of_{len(carried)}_sets"), f"error_{shots}shot", mean))
        return measured

    def remarks(self) -> list[str]:
        """Rule for the penalty, sizes of the sets, sets that are not there; after `measure`."""
        sizes = (
            f"{name} {len(one.classes)} ({len(self._part[Condition(name)][2])} test)"
            for name, one in self._read.items()
        )
        features = "standardised" if self.standardise else "as they are"
        return [
            f"ridge probe, features {features}, {self.seeds} draws of training images; {RULES[self.select]}",
            f"images: short side to {self._crop.resize} pixels, central {self._crop.size}; classes: {', '.join(sizes)}",
            *self._said,
            *self._lost,
        ]

    def files(self, outcomes: Mapping[Condition, Observed], who: str) -> Mapping[str, Mapping[str, Any]]:
        """Error and penalty, (sets, shots, draws), nan where there is none; see `FilesSuite.files`."""
        errors, penalties = np.full((2, len(self._read), len(self.shots), self.seeds), np.nan)
        for (name, shots), one in self._probed.items():
            at = list(self._read).index(name), self.shots.index(shots)
            errors[at], penalties[at] = one.wrong.mean(1).numpy(), one.penalties
        names = {"sets": np.array(list(self._read)), "shots": np.array(self.shots)}
        return {"probes.npz": {**names, "errors": errors, "penalties": penalties}}

    def _readable(self, name: str, test: Observed) -> Observed:
        """The test images of a set that could be read; the others become a remark."""
        said = self._files[name].left_out(test.label) if name in self._files else None
        if said is None:
            return test
        self._lost.append(f"{name}: {said}")
        return Observed(*(values[test.label != UNREADABLE] for values in test))

    def _shots_of(self, name: str, found: Transfer) -> list[int]:
        """Numbers of shots that each class has images for; of a set that was named, all or none."""
        least = int(found.train.labels.bincount(minlength=len(found.classes)).min())
        able = [shots for shots in self.shots if shots <= least]
        if name in (self.sets or ()) or name in self.folders or not able:
            return self.shots  # and `draw` says which class has too few
        if len(able) < len(self.shots):
            self._said.append(f"{name}: a class has {least} training images, so no {self.shots[-1]} shots")
        return able

    def _penalties(self, shots: int, probes: Mapping[str, Probe]) -> list[float]:
        """What a probe of so many shots chooses among."""
        if self.select == "test_rank" and probes:
            return [best_by_rank([one.errors(shots, self.penalties) for one in probes.values()], self.penalties)]
        return [self.penalty] if self.select == "fixed" or shots == 1 else self.penalties

    def _there(self) -> list[str]:
        """The sets to measure: all that were named, or those that are there."""
        reasons = {name: self.readers[name].absent() for name in self.sets or self.readers}
        named = set(self.sets or ()) | set(self.folders)
        for name, reason in reasons.items():
            if reason is not None and name in named:
                raise UserError(f"transfer set {name}: {reason}")
        there = [name for name, reason in reasons.items() if reason is None]
        absent = [name for name in reasons if name not in there]
        if not there:
            raise UserError(f"no transfer set is there: {absent[0]}: {reasons[absent[0]]}; nor {', '.join(absent[1:])}")
        if absent:
            self._said.append(f"not on disk, left out: {', '.join(absent)}; suite.sets=[NAME] says what belongs where")
        return there

    def _crop_of(self, dataset: Dataset) -> CentreCrop:
        own: CentreCrop | None = getattr(dataset, "test_crop", None)
        if self.resize is None:
            return own or CentreCrop(dataset.size, dataset.size)
        try:
            return CentreCrop(dataset.size, self.resize)
        except ValueError as error:
            raise UserError(f"suite.resize: {error}") from error

    def _generator(self, name: str, *keys: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(self.seed, "fewshot", name, *keys))

    def _test_order(self, name: str, count: int) -> torch.Tensor:
        if self.images is None or self.images >= count:
            return torch.arange(count)
        return torch.randperm(count, generator=self._generator(name, "test"))[: self.images].sort().values


def _on(device: torch.device, batches: Iterator[Batch]) -> Iterator[Batch]:
    for images, labels, indices in batches:
        yield Batch(images.to(device), labels.to(device), indices)
