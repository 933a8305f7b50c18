"""How often is the model wrong, or of two minds, on images of its classes that come from elsewhere?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from fourier_robust.dataset.base import Dataset, Split
from fourier_robust.dataset.crops import CentreCrop, Crop
from fourier_robust.dataset.label_space import model_classes
from fourier_robust.dataset.readable import UNREADABLE, FileSplit, Readable, placed
from fourier_robust.dataset.shifted import Cell, Checked, ShiftedSet, Taken
from fourier_robust.dataset.wnids import are_wnids
from fourier_robust.engine.predict import Precision, Prediction, predict
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import error_rate
from fourier_robust.suite.base import Condition, Measurement, Shared, Source
from fourier_robust.suite.shift_observed import Observed, flip_rates, of_cells, of_set


class Shift:
    """Error on each shifted set and its gap to clean images of the same classes; flip rates of clips.

    Args:
        readers: set name -> its reader.
        groups: data set -> names of its sets; ``wnids`` are those of any data set whose classes are wnids.
        sets: names among `readers`; None takes those of the data set's group that are on disk.
        unreadable: the largest share, below 1, of a set's image files (of one corruption and severity) that may be
            unreadable: those are left out, of means over corruptions too, and named; of a clip, all its frames.

    Raises:
        ValueError: an unknown set, one twice, or none; `unreadable` outside its range.
    """

    name = "shift"
    observation = Observed
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy, argmax over all the model's classes: one outside the set's is wrong; fraction of "
        "images (classes weigh by their images), of the set and of its renditions; 95 % interval by Wilson",
        "error_masked": "the same with the argmax among the set's classes alone (a set of fewer classes than the "
        "model's); of several columns for a class the largest counts",
        "gap": "error minus the error on clean test images of the same classes, same label rule; 95 % interval for "
        "independent samples (Newcombe), or over images where they are the same ones",
        "gap_masked": "the same with both errors masked",
        "mean_error": "plain mean of error over severities (one corruption) or over corruptions x severities "
        "(common15, or named as partial); 95 % interval over images, each image's errors averaged first",
        "flip_rate": "share of frames whose prediction is not that of the frame before (noise: of the first frame), "
        "mean over clips; common10: plain mean over the ten scored perturbations, not divided by AlexNet's; 95 % "
        "interval over clips, each clip's rates averaged first",
        "mfr": "plain mean over ImageNet-P's ten scored perturbations of flip_rate over AlexNet's on the released "
        "videos (%, in their order: 23.653, 30.062, 9.297, 5.942, 11.928, 4.889, 11.007, 13.104, 7.050, 23.531; as "
        "listed by clovaai/assembled-cnn); 95 % interval likewise",
    }

    def __init__(
        self,
        readers: Mapping[str, ShiftedSet],
        groups: Mapping[str, Sequence[str]],
        sets: Sequence[str] | None = None,
        unreadable: float = 0.001,
    ) -> None:
        if sets is not None and (isinstance(sets, str) or not sets or len(set(sets)) < len(sets)):
            raise ValueError(f"suite.sets={sets} must be a list of names, each once")
        for name in sets or ():
            if name not in readers:
                raise ValueError(f"suite.sets: no set {name}; there are {', '.join(readers)}")
        if not 0 <= unreadable < 1:
            raise ValueError(f"suite.unreadable={unreadable} must be at least 0 and below 1")
        self.readers, self.groups, self.sets, self.unreadable = readers, groups, sets, unreadable
        self._shared: Shared | None = None

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Clean test images where they are there, then each set's cells; see `Suite.conditions`."""
        cells = self.check(dataset)
        self._crop, self._clean = _crop_of(dataset), self._clean_of(dataset)
        self._frames: dict[Condition, int] = {}
        self._parts: dict[str, torch.Tensor] = {}
        return [*([self._clean] if self._clean else []), *cells]

    def check(self, dataset: Dataset, clips: bool = True) -> Mapping[Condition, Checked]:
        """The cells of the sets to measure, each with its set.

        Args:
            dataset: of the model.
            clips: whether sets without labels are among them; if not, one that was named is an error.

        Raises:
            UserError: no set is there, or one that was named is not; a layout that looks wrong; see `ShiftedSet.check`.
        """
        if hasattr(dataset, "corruption"):
            raise UserError(f"{dataset.name} is corrupted already: give dataset.corruption=none for suite={self.name}")
        self._said: list[str] = []
        self._lost: dict[Condition, str] = {}
        self._files: dict[Condition, Readable] = {}
        self._checked: dict[str, Checked] = {}
        for name in self._there(dataset):
            if name == dataset.name:
                raise UserError(f"suite.sets: {name} is the model's own data set")
            try:
                checked = self.readers[name].check(dataset)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
            if checked.space is not None or clips:
                self._checked[name] = checked
                self._said += checked.remarks
                continue
            if self.sets is not None:
                raise UserError(f"{name}: clips, which have no labels but flip rates alone (suite={self.name})")
            self._said.append(f"{name} left out: clips have no labels")
        if not self._checked:
            raise UserError(f"no shifted set of {dataset.name} with labels is there: {'; '.join(self._said)}")
        self._subsets = {
            name: one.space for name, one in self._checked.items() if one.space is not None and not one.space.whole
        }
        self._cells = {
            Condition(name, *cell): (name, cell) for name, one in self._checked.items() for cell in one.cells
        }
        return {condition: self._checked[name] for condition, (name, _) in self._cells.items()}

    def taken(self, dataset: Dataset, condition: Condition, crops: Sequence[Crop], device: torch.device) -> Taken:
        """The images of a cell; after `check`.

        Args:
            dataset: of the model.
            condition: of the cell.
            crops: of images of other sizes; each image is read once for all.
            device: where the batches end up.

        Raises:
            UserError: see `ShiftedSet.split`.
        """
        name, cell = self._cells[condition]
        checked, split = self._checked[name], self._split(dataset, name, cell, crops[0], device)
        clips = checked.space is None
        order = torch.arange(len(split))
        if checked.space is not None:
            order = (checked.space.places[split.labels] >= 0).nonzero()[:, 0]
        if checked.expected not in (None, len(order)):
            self._said.append(f"{condition.key}: {len(order)} images, the release has {checked.expected}")
        if not isinstance(split, FileSplit):
            return Taken(split, order, None, True)
        own = [split.crop]  # readers may cut before they crop, so each crop goes through them
        if not split.ready:
            others = (self._split(dataset, name, cell, crop, device) for crop in crops[1:])
            own += [one.crop for one in others if isinstance(one, FileSplit)]
        self._files[condition] = Readable(split, order, self.unreadable, own, "clips" if clips else "")
        return Taken(split, order, self._files[condition], split.ready)

    def readable(self, condition: Condition, labels: torch.Tensor) -> torch.Tensor:
        """(N,) bool, which of the images with (N,) `labels` could be read; the others become a remark."""
        files = self._files.get(condition)
        said = None if files is None else files.left_out(labels)
        if said is not None:
            self._lost[condition] = f"{condition.key}: {said}"
        return labels != UNREADABLE

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images of one set whose classes the model has; see `Suite.source`."""
        if condition == self._clean:
            clean = dataset.split("test", device)
            self._clean_identity = clean.identity
            spaces = "".join(f"+{space.identity}" for space in self._subsets.values())
            return Source(clean.batches(batch_size), len(clean), f"{clean.identity}+predictions{spaces}")
        found, checked = self.taken(dataset, condition, [self._crop], device), self._checked[condition.dataset]
        crop = f"{type(self._crop).__name__}{self._crop.size}-{getattr(self._crop, 'resize', '')}"
        what = "flips" if checked.space is None else checked.space.identity
        if checked.space is None:
            self._frames[condition] = int(getattr(found.split, "frames", 0))
        if checked.parts is not None:
            self._parts[condition.dataset] = checked.parts.members[found.order]
        identity = f"{found.split.identity}+{what}+{crop}"
        return Source(found.batches(batch_size), len(found.order), identity)

    def share(self, known: Shared) -> None:
        """Take clean images' logits from `known`, and leave them there; see `SharingSuite.share`."""
        self._shared = known

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> Observed:
        """Predictions under both label rules; no logits of shifted images are kept. See `ModelSuite.observe`."""
        if condition == self._clean:
            spaces, places = list(self._subsets.values()), None
        else:
            space = self._checked[condition.dataset].space
            spaces = [] if space is None or space.whole else [space]
            places = None if space is None else space.places
        parts = []
        for seen in self._seen(model, source, condition, precision):
            masked = [space.masked(seen.logits) for space in spaces]
            labels = seen.labels
            if places is not None:
                labels = placed(labels, places)
            empty = seen.labels.new_empty(len(seen.labels), 0)
            parts.append(Observed(labels, seen.logits.argmax(1), torch.stack(masked, 1) if masked else empty))
        if not parts:
            raise UserError(f"{condition.key} holds no image")
        return Observed(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _seen(
        self, model: nn.Module, source: Source, condition: Condition, precision: Precision
    ) -> Iterator[Prediction]:
        """Batch by batch, since the frames of a release are many; clean images at once, where suites share them."""
        if condition != self._clean or self._shared is None:
            yield from (predict(model, [batch], precision) for batch in source.batches)
            return
        found = self._shared.load(self._clean_identity)
        if found is None:
            seen = predict(model, source.batches, precision)
            found = {"logits": seen.logits.numpy(), "labels": seen.labels.numpy()}
            self._shared.save(self._clean_identity, found)
        logits, labels = (torch.from_numpy(found[name]) for name in ("logits", "labels"))
        yield Prediction(logits, labels, torch.arange(len(labels)))

    def measure(self, outcomes: Mapping[Condition, Observed]) -> list[Measurement]:
        """Errors and gaps, or flip rates, of each set; see `Suite.measure`."""
        self._lost = {}
        clean = None if self._clean is None else outcomes[self._clean]
        found = []
        if clean is not None and self._clean is not None:
            found.append(Measurement(self._clean, "error", error_rate((clean.prediction != clean.label).double())))
        for name, checked in self._checked.items():
            cells = {cell: outcomes[Condition(name, *cell)] for cell in checked.cells}
            good = {cell: self.readable(Condition(name, *cell), seen.label) for cell, seen in cells.items()}
            if checked.space is None:
                found += flip_rates(name, checked, cells, self._frames, good)
            elif len(cells) > 1:
                found += of_cells(name, checked, cells, good)
            else:
                column = list(self._subsets).index(name) if name in self._subsets else 0
                reference = None if self._clean is None or clean is None else (self._clean.dataset, clean, column)
                seen, part, kept = next(iter(cells.values())), self._parts.get(name), next(iter(good.values()))
                seen = Observed(*(values[kept] for values in seen))
                found += of_set(name, checked, seen, reference, None if part is None else part[kept])
        return found

    def remarks(self) -> list[str]:
        """The label rules, sets that are not there, what is not as in the release; after `check` and `readable`."""
        rule = "error: over all of the model's classes; error_masked: among the set's classes"
        return [*([rule] if self._subsets else []), *dict.fromkeys(self._said), *self._lost.values()]

    def _split(self, dataset: Dataset, name: str, cell: Cell, crop: Crop, device: torch.device) -> Split:
        """Of a set, by its reader; what is wrong begins with its name."""
        try:
            return self.readers[name].split(dataset, cell, crop, device)
        except (UserError, ValueError) as error:
            raise UserError(f"{name}: {error}") from error

    def _there(self, dataset: Dataset) -> list[str]:
        """The sets to measure: all that were named, or those of the data set's group that are on disk."""
        if self.sets is not None:
            for name in self.sets:
                reason = self.readers[name].absent()
                if reason is not None:
                    raise UserError(f"{name}: {reason}")
            return list(self.sets)
        group = self.groups.get(dataset.name.split("+")[0])
        if group is None and are_wnids(model_classes(dataset)):
            group = self.groups.get("wnids")
        if not group:
            raise UserError(f"no shifted set of {dataset.name} is known: name some with suite.sets=[...]")
        reasons = {name: self.readers[name].absent() for name in group}
        there = [name for name, reason in reasons.items() if reason is None]
        if not there:
            first, *others = reasons
            nor = f"; nor {', '.join(others)}" if others else ""
            raise UserError(f"no shifted set of {dataset.name} is there: {first}: {reasons[first]}{nor}")
        absent = [name for name in group if name not in there]
        if absent:
            self._said.append(f"not on disk: {', '.join(absent)} (suite.sets=[{absent[0]}] says where it belongs)")
        return there

    def _clean_of(self, dataset: Dataset) -> Condition | None:
        """The clean test images' condition; None, with a remark, where a folder of them is not on disk."""
        try:
            if hasattr(dataset, "test_files"):
                dataset.test_files()
        except UserError as error:
            if any(cell.severity for one in self._checked.values() for cell in one.cells):
                raise
            self._said.append(f"no gaps: {error}")
            return None
        return Condition(dataset.name)


def _crop_of(dataset: Dataset) -> Crop:
    """The data set's own crop of test images, for data sets kept as files of any size; else its size, no margin."""
    own: Crop | None = getattr(dataset, "test_crop", None)
    return own or CentreCrop(dataset.size, dataset.size)
