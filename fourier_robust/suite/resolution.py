"""How often is the model wrong at other image sizes than its own, as it is, and re-fitted to them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import torch
from torch import nn

from fourier_robust.dataset.base import Batch, Dataset
from fourier_robust.dataset.crops import Interpolation
from fourier_robust.dataset.readable import placed
from fourier_robust.dataset.resized import ladder, views
from fourier_robust.engine.adjust import Kind, Learning, adjust, in_groups, refused_sizes
from fourier_robust.engine.predict import Precision, predict
from fourier_robust.engine.rebatch import Rebatch
from fourier_robust.errors import UserError
from fourier_robust.run.release import Release
from fourier_robust.run.seed import derive
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.corruptions import Corruptions
from fourier_robust.suite.resolution_observed import MASKED, Observed, measured, row_name, rules_of
from fourier_robust.suite.resolution_sets import SETS, Sets
from fourier_robust.suite.shift import Shift

_ROOM = 2  # stretches of decoded images are as large as so many batches at the data set's own size


class Resolution:
    """Error at each of several image sizes; the best size; how both move when the model is re-fitted to the size.

    One pass over a set feeds all sizes: each image is read, decoded and corrupted once. Image files are resized from
    their own pixels, those of shifted sets too. All other images (resident sets, corrupted ones, files that are at the
    data set's own size already) are resized from there; a corruption is applied there, before the resize.

    Args:
        corruptions: which corrupted images there are, and where from; used with ``corruptions`` among `sets`.
        shift: which shifted sets there are, and where from; used with ``shift`` among `sets`, without clips.
        sizes: pixels; None takes `dataset.resized.ladder`. The data set's own size is measured in any case.
        crop_ratio: share of the short side that is kept: an image is resized to size / crop_ratio, then cropped. None
            takes the data set's own.
        interpolation: of the resize, antialiased; None takes the data set's own, or else bilinear.
        sets: out of ``clean``, ``corruptions`` and ``shift``.
        split: of the clean images.
        adjust: out of none, batch_norm, classifier, classifier_batch_norm; see `engine.adjust`.
        train_images: drawn by `seed` out of the training images, to re-fit on; None takes all.
        epochs: over them; statistics alone take one pass in any case.
        lr: of the first step.
        momentum: Nesterov's.
        batch_size: training images per step.
        draws: of the bootstrap for the best size.
        seed: of the drawn training images, their order and the bootstrap.

    Raises:
        ValueError: a setting outside its range, an unknown name, or one twice.

    Source: Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019; Djolonga et al., "On
        Robustness and Transferability of Convolutional Neural Networks", CVPR 2021.
    """

    name = "resolution"
    observation = Observed
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy at the size behind the @ (pixels); fraction of images; 95 % interval by Wilson. "
        "Behind a +: of the model re-fitted at that size on training images, batch_norm (running statistics), "
        "classifier (last linear layer), classifier_batch_norm (both, and scales and shifts). Of a shifted set: argmax "
        "over all the model's classes, one outside the set's is wrong",
        "gap": "error minus that of the model as it is at the data set's own size, on the same images; 95 % interval "
        "over images, of the paired differences",
        "best_size": "size of the lowest error, pixels; 95 % interval by bootstrap over images; the smaller of equal",
        "best_error": "error at the best size, for each half of the images the best on the other half (even and odd "
        "places), so that it is not chosen on the images it is measured on; 95 % interval by Wilson",
        "error_masked": "error with the argmax among the set's classes alone (a shifted set of fewer classes than the "
        "model's); of several columns for a class the largest counts",
        "gap_masked": "gap of error_masked",
        "best_size_masked": "size of the lowest error_masked, likewise",
        "best_error_masked": "error_masked at the best size, likewise",
    }

    def __init__(
        self,
        corruptions: Corruptions,
        shift: Shift,
        sizes: list[int] | None = None,
        crop_ratio: float | None = None,
        interpolation: Interpolation | None = None,
        sets: Sequence[str] = ("clean",),
        split: str = "test",
        adjust: Sequence[Kind] = ("none",),
        train_images: int | None = 10000,
        epochs: int = 1,
        lr: float = 0.01,
        momentum: float = 0.9,
        batch_size: int = 64,
        draws: int = 1000,
        seed: int = 0,
    ) -> None:
        for key, chosen, known in (("sets", sets, SETS), ("adjust", adjust, get_args(Kind))):
            if isinstance(chosen, str) or not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(known):
                raise ValueError(f"suite.{key}={chosen} must be a list out of {', '.join(known)}, each once")
        if sizes is not None and (not sizes or len(set(sizes)) < len(sizes) or not all(size >= 1 for size in sizes)):
            raise ValueError(f"suite.sizes={sizes} must be different numbers of pixels, at least one")
        if crop_ratio is not None and not 0 < crop_ratio <= 1:
            raise ValueError(f"suite.crop_ratio={crop_ratio} must lie above 0, at 1 at most")
        if interpolation not in (None, *get_args(Interpolation)):
            raise ValueError(f"suite.interpolation={interpolation!r} must be one of {get_args(Interpolation)}")
        for key, value, least in (
            *(("train_images", train_images, 2), ("epochs", epochs, 1), ("batch_size", batch_size, 2)),
            ("draws", draws, 100),
        ):
            if value is not None and value < least:
                raise ValueError(f"suite.{key}={value} must be at least {least}")
        if lr <= 0 or not 0 <= momentum < 1:
            raise ValueError(f"suite.lr={lr} must be above 0, suite.momentum={momentum} in [0, 1)")
        self.corruptions, self.shift, self.sets, self.split = corruptions, shift, tuple(sets), split
        self.sizes, self.crop_ratio, self.interpolation = sizes, crop_ratio, interpolation
        self.adjust = tuple(kind for kind in get_args(Kind) if kind in adjust)
        self.train_images, self.epochs, self.lr, self.momentum = train_images, epochs, lr, momentum
        self.batch_size, self.draws, self.seed = batch_size, draws, seed
        self.workers = corruptions.workers  # of `to_write`

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """One per set of images: all sizes in one pass; see `Suite.conditions`."""
        self._own, self._chance = dataset.size, 1 - 1 / dataset.num_classes
        self._sizes = tuple(sorted({*(self.sizes or ladder(dataset.size)), dataset.size}))
        self._channels = len(dataset.mean)
        self._of = Sets(self.corruptions, self.shift, self.sets, self.split)
        found = self._of.conditions(dataset, self._sizes, self.crop_ratio, self.interpolation)
        if self._adjusts and any(hasattr(dataset, mark) for mark in ("corruption", "marks")):
            raise UserError(f"suite.adjust re-fits on plain training images, not on those of {dataset.name}")
        self._models: dict[Kind, list[nn.Module]] = {}
        self._train: str = ""
        return found

    def to_write(self) -> Release | None:
        """What `corruptions` has written before it is read; see `Corruptions.to_write`."""
        return self._of.to_write()

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """Of each stretch of images one batch per size, from the smallest on; see `Suite.source`."""
        self._device, self._images_per_pass = device, batch_size
        if self._adjusts and not self._train:
            self._prepare(dataset, device)
        area = sum(size**2 for size in self._sizes)
        stretch = max(1, _ROOM * batch_size * self._own**2 // area)
        return self._of.source(dataset, condition, device, stretch, self._train)

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> Observed:
        """Predictions at all sizes; nothing else is kept. See `ModelSuite.observe`.

        Raises:
            UserError: sizes that the model does not take, or nothing in it that can be re-fitted.
        """
        models, space = self._fitted(model, precision), self._of.space(condition)
        rules = rules_of(space)
        seen: list[list[list[list[torch.Tensor]]]] = [[[[] for _ in self._sizes] for _ in models] for _ in rules]
        labels = []
        waiting = [
            Rebatch(max(1, int(self._images_per_pass * min(1.0, (self._own / size) ** 2)))) for size in self._sizes
        ]

        def run(place: int, ready: Iterable[Batch]) -> None:
            for batch in ready:
                for number, by_size in enumerate(models.values()):
                    logits = predict(by_size[place], [batch], precision).logits
                    for kept, rule in zip(seen, rules, strict=True):
                        kept[number][place].append(rule(logits))

        for group in in_groups(source.batches, len(self._sizes)):
            labels.append(group[0].labels.cpu())
            for place, batch in enumerate(group):
                run(place, waiting[place].add(batch))
        for place, one in enumerate(waiting):
            run(place, one.rest())
        if not labels:
            raise UserError(f"{condition.key} holds no image")
        label = torch.cat(labels) if space is None else placed(torch.cat(labels), space.places)
        by_rule = [torch.stack([torch.stack([torch.cat(size) for size in one], 1) for one in kept], 1) for kept in seen]
        return Observed(label, *by_rule)

    def measure(self, outcomes: Mapping[Condition, Observed]) -> list[Measurement]:
        """Of each set: error and gap per size, then the best size; see `Suite.measure`."""
        found: list[Measurement] = []
        for condition, seen in outcomes.items():
            draw = torch.Generator().manual_seed(derive(self.seed, self.name, "bootstrap"))
            read = seen.of(self._of.readable(condition, seen.label))
            found += measured(self._of.row(condition), read, self._sizes, self._own, self.adjust, draw, self.draws)
        self._found = found
        return found

    def remarks(self) -> list[str]:
        """How images were resized, and what the model was re-fitted on; see `Suite.remarks`."""
        own = self._of.crops[self._sizes.index(self._own)]
        first = f"{own.interpolation}, short side to size x {own.resize / own.size:.4g}, centre crop"
        said = [f"size in pixels behind @; resize {first}; own size {self._own}; gap: against it, paired"]
        said += self._of.remarks()
        if self._adjusts:
            said.append(f"re-fitted at each size on {self._fit_on} training images, cropped as test images")
        return said

    def files(self, outcomes: Mapping[Condition, Observed], who: str) -> Mapping[str, bytes]:
        """Accuracy against size; see `FilesSuite.files`."""
        from fourier_robust.report.resolution_figure import curves

        found = {(one.condition, one.metric): one.estimate for one in self._found}
        lines = {}
        for condition in outcomes:
            row, named = self._of.row(condition), self._of.title(condition)
            for kind in self.adjust:
                rows = [replace(row, dataset=row_name(row.dataset, kind, size)) for size in self._sizes]
                for rule in ("", MASKED):
                    if (rows[0], f"error{rule}") in found:
                        name = ", ".join([named, *([kind] if kind != "none" else []), *(["masked"] if rule else [])])
                        lines[name] = [found[one, f"error{rule}"] for one in rows]
        counts = {one.n for line in lines.values() for one in line}
        title = "\n".join([f"{who}, n = {counts.pop()}" if len(counts) == 1 else who, *self.remarks()])
        return {"resolution.png": curves(title, self._sizes, lines, self._own, 1 - self._chance)}

    @property
    def _adjusts(self) -> bool:
        return self.adjust != ("none",)

    def _prepare(self, dataset: Dataset, device: torch.device) -> None:
        """The training images to re-fit on; missing ones are known here, before any work."""
        self._train_split = dataset.split("train", device)
        everything = len(self._train_split)
        count = min(everything, self.train_images or everything)
        draw = torch.Generator().manual_seed(derive(self.seed, self.name, "images"))
        self._chosen = torch.randperm(everything, generator=draw)[:count]
        settings = (count, self.seed, self.epochs, self.lr, self.momentum, self.batch_size, *self.adjust)
        self._train = f"+{self._train_split.identity}-{'-'.join(map(str, settings))}"
        self._fit_on = count

    def _fitted(self, model: nn.Module, precision: Precision) -> dict[Kind, list[nn.Module]]:
        """One model per size, by kind of adjustment; made at the first need."""
        if self._models:
            return self._models
        refused = refused_sizes(model, self._sizes, self._channels, self._device)
        if refused:
            (size, reason), *_ = refused.items()
            rest = [str(one) for one in self._sizes if one not in refused]
            taken = f"; it takes {', '.join(rest)}: suite.sizes=[{','.join(rest)}]" if rest else ""
            failed = ", ".join(f"{one}x{one}" for one in refused)
            raise UserError(f"the model does not take images of {failed} pixels{taken} ({size}: {reason})")
        whole = len(self._chosen) // self.batch_size if self._adjusts else 0
        learning = Learning(self.epochs, self.lr, self.momentum, max(1, whole))
        for kind in self.adjust:
            if kind == "none":
                self._models[kind] = [model] * len(self._sizes)
            else:
                self._models[kind] = list(adjust(model, kind, self._pass, len(self._sizes), learning, precision))
        return self._models

    def _pass(self, number: int) -> Iterator[Batch]:
        """Training images in the order of this pass, in full batches where there is one."""
        draw = torch.Generator().manual_seed(derive(self.seed, self.name, "order", number))
        order = self._chosen[torch.randperm(len(self._chosen), generator=draw)]
        whole = len(order) // self.batch_size * self.batch_size
        return views(self._train_split, self._of.crops, self.batch_size, order[:whole] if whole else order)
