"""Is the model as often right as it is sure, on clean and on corrupted images, and does one temperature mend it?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fourier_robust.dataset.base import Dataset, Split
from fourier_robust.errors import UserError
from fourier_robust.metric.calibration import Bins, fit_temperature, reliability
from fourier_robust.metric.calibration_values import temperature_values
from fourier_robust.metric.confidences import Confidences, confidences, per_image
from fourier_robust.metric.outcome import Estimate, error_rate, mean_of_images
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.clean import table_name
from fourier_robust.suite.corruptions import Corruptions

DRAWN = (1, 3, 5)  # severities in the picture, where they are measured


class Calibration(Corruptions):
    """Errors of calibration and proper scores per corruption and severity, as they are and at the temperature of val.

    The temperature is fitted on the split ``val`` alone, on clean images; without that split there is none. An empty
    list of corruptions measures clean images only.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; Ovadia et al., "Can You Trust Your
        Model's Uncertainty?", NeurIPS 2019 (under corruptions, the temperature from clean images).
    """

    name = "calibration"
    observation = Confidences
    definitions: Mapping[str, str] = {
        "error": Corruptions.definitions["error"],
        "nll": "mean negative log-likelihood of the label, nats; 95 % normal interval over images",
        "brier": "mean over images of the sum over classes of (p - [is the label])^2, 0 to 2; interval as nll",
        "ece": "mean over images of |accuracy - mean confidence| of their bin, 15 equal-width bins of the largest "
        "probability, ((i-1)/15, i/15]; 95 % normal interval over images to first order (bins held), not below 0",
        "ece_mass": "the same with 15 bins of equally many images",
        "ece_classwise": "mean over classes of the ece of p_k against [the label is k], 15 equal-width bins",
        "rms_ce": "root of the mean over images of the squared gap of their bin, bins of 100 images by confidence, the "
        "last with the rest; interval as ece",
        "rms_ce_published": "rms_ce without the last, most confident bin, as the authors' released helper computes it",
        "aurc": "mean over n = 1..N of the error among the n most confident images; interval as ece, ranks included",
        "temperature": "T that minimises the nll of logits / T on val (clean images cut from the training set); 95 % "
        "interval over images to first order; neither high nor low is better",
        "*_scaled": "the metric at that temperature",
        "mean_*": "plain mean of the metric over the severities (one corruption) or over corruptions x severities "
        "(common15: the fifteen of CIFAR-C; a partial set is named, e.g. common8of15); metrics are averaged, not bins; "
        "95 % interval over images, each image's values averaged first",
    }

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Val where there is one, then as `Corruptions.conditions`."""
        conditions = super().conditions(dataset)
        if self.save is not None and not self._names:
            raise UserError("suite.save writes corrupted images, but suite.corruptions is empty")
        self._of = conditions[0]
        self._val = Condition(table_name(dataset, "val")) if dataset.val_size else None
        self._val_split: dict[torch.device, Split] = {}
        self._found: list[str] = [] if self._val else [f"{dataset.name} has no val split: no temperature is fitted"]
        return [*([self._val] if self._val else []), *conditions]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """As `Corruptions.source`, and val; what is scaled is known by the images that the temperature is of."""
        if dataset is not self._clean.dataset:
            self.conditions(dataset)
        if self._val is None:
            return super().source(dataset, condition, device, batch_size)
        if device not in self._val_split:
            self._val_split[device] = dataset.split("val", device)
        val = self._val_split[device]
        if condition == self._val:
            return Source(val.batches(batch_size), len(val), val.identity)
        return super().source(dataset, condition, device, batch_size)._replace(kept=f"+scaled-by-{val.identity}")

    def summarise(
        self, logits: torch.Tensor, labels: torch.Tensor, condition: Condition, earlier: Mapping[Condition, Confidences]
    ) -> Confidences:
        """Confidences and scores as they are and at the temperature of val; see `LogitsSuite.summarise`.

        Raises:
            UserError: logits are not finite.
        """
        bad = int((~logits.isfinite()).any(1).sum())
        if bad:
            raise UserError(
                f"{condition.key}: the logits of {bad} of {len(logits)} images are not finite: no calibration"
            )
        if condition == self._val:
            fitted = _fitted(logits, labels)
            return confidences(logits, labels, None if fitted is None else fitted[:3])
        scales = [] if self._val is None else earlier[self._val].temperature.tolist()
        return confidences(logits, labels, scales[1] if len(scales) > 1 else None)

    def measure(self, outcomes: Mapping[Condition, Any]) -> list[Measurement]:
        """The temperature, all metrics of each condition, then the means; see `Suite.measure`."""
        found: list[Measurement] = []
        if self._val is not None:
            found += self._of_val(outcomes[self._val])
        found += _measurements(self._of, outcomes[self._of], per_image(outcomes[self._of]))
        by_name: dict[str, dict[str, torch.Tensor]] = {}
        label = ""
        for name in self._names:
            levels = [condition for condition in outcomes if condition.corruption == name]
            label = levels[0].dataset
            values = [per_image(outcomes[condition]) for condition in levels]
            for condition, each in zip(levels, values, strict=True):
                found += _measurements(condition, outcomes[condition], each)
            by_name[name] = _mean(values)
            found += _means(Condition(label, name), by_name[name])
        for group, members in self._groups.items():
            present = [name for name in members if name in by_name]
            if present:
                condition = Condition(label, self._group_name(group, len(present), len(members)))
                found += _means(condition, _mean([by_name[name] for name in present]))
        return found

    def remarks(self) -> list[str]:
        """The set, and after `measure` the temperature and what it was fitted on."""
        said = super().remarks() if self._names else ["clean images only"]
        return [*said, *self._found]

    def files(self, outcomes: Mapping[Condition, Confidences], who: str) -> Mapping[str, Any]:
        """Reliability diagrams: clean images and pooled corruptions drawn, every condition as arrays."""
        from fourier_robust.report.calibration_figure import Panel, reliability_png

        shown = {condition: one for condition, one in outcomes.items() if condition != self._val}
        bins = {condition: _bins(one) for condition, one in shown.items()}
        panels = [Panel(f"clean\n{self._of.dataset}", bins[self._of], _ece(bins[self._of]))]
        members = [name for name in self._names if name in next(iter(self._groups.values()))] or self._names
        severities = [level for level in self.severities if level in DRAWN] or self.severities[:3]
        for severity in severities if members else ():
            pooled = [bins[one] for one in shown if one.corruption in members and one.severity == severity]
            means = [sum(each) / len(pooled) for each in zip(*(_ece(one) for one in pooled), strict=True)]
            what = f"{len(members)} corruptions" if len(members) > 1 else members[0]
            panels.append(
                Panel(f"severity {severity}\n{what}", [_pool(each) for each in zip(*pooled, strict=True)], means)
            )
        clean = outcomes[self._of]
        temperature = None if len(clean.temperature) == 1 else float(clean.temperature[1, 0])
        title = f"{who} on {self._of.dataset}, n = {len(clean.label)} per condition, 15 bins of equal width"
        if len(panels) > 1:
            title += "\nbins pooled over the corruptions of a severity; ece: mean of theirs"
        return {"reliability.png": reliability_png(title, panels, temperature), "reliability.npz": _arrays(shown, bins)}

    def _of_val(self, on_val: Confidences) -> list[Measurement]:
        """The temperature's row; says what it is, or why there is none."""
        assert self._val is not None
        n, name = len(on_val.label), self._val.dataset
        if len(on_val.temperature) == 1:
            right = bool(on_val.correct.all())
            why = "its images are all classified right" if right else "its labels' logits are no larger than the others"
            self._found = [f"no temperature fits {name} ({n} images): {why}"]
            return []
        value, low, high = on_val.temperature[1].tolist()
        what = f"temperature {value:.4f} [{low:.4f}, {high:.4f}], fitted on the {n} images of {name}"
        self._found = [f"{what}, cut from the training images: too low where the model was trained on them"]
        return [Measurement(self._val, "temperature", Estimate(value, low, high, n))]


def _fitted(logits: torch.Tensor, labels: torch.Tensor) -> Estimate | None:
    """The temperature, None where none fits."""
    try:
        temperature = fit_temperature(logits, labels)
    except ValueError:
        return None
    interval = mean_of_images(temperature_values(logits, labels, temperature))
    return interval._replace(value=temperature)


def _measurements(condition: Condition, seen: Confidences, values: Mapping[str, torch.Tensor]) -> list[Measurement]:
    found = [Measurement(condition, "error", error_rate(values["error"]))]
    others = {metric: each for metric, each in values.items() if metric != "error"}
    return found + [Measurement(condition, metric, _bounded(metric, each)) for metric, each in others.items()]


def _means(condition: Condition, values: Mapping[str, torch.Tensor]) -> list[Measurement]:
    return [Measurement(condition, f"mean_{metric}", _bounded(metric, each)) for metric, each in values.items()]


def _mean(values: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Each image's values, averaged over conditions."""
    return {metric: torch.stack([each[metric] for each in values]).mean(0) for metric in values[0]}


def _bounded(metric: str, values: torch.Tensor) -> Estimate:
    """Mean and interval; none of these metrics is below 0, and all but nll and brier lie in [0,1]."""
    most = {"nll": math.inf, "brier": 2.0}.get(metric.removesuffix("_scaled"), 1.0)
    value, low, high, n = mean_of_images(values).within((0.0, most))
    return Estimate(max(0.0, value), low, max(0.0, high), n)


def _bins(seen: Confidences) -> list[Bins]:
    """A diagram per temperature."""
    return [reliability(confidence, seen.correct) for confidence in seen.confidence]


def _ece(bins: Sequence[Bins]) -> list[float]:
    return [float((one.share * one.gap).sum()) for one in bins]


def _pool(bins: Sequence[Bins]) -> Bins:
    """One diagram of all their images."""
    images = torch.stack([one.images for one in bins]).sum(0)
    confidence, hits = (
        torch.stack([(one[place] * one.images).nan_to_num(0.0) for one in bins]).sum(0) for place in (0, 1)
    )
    return Bins(confidence / images, hits / images, images)


def _arrays(shown: Mapping[Condition, Confidences], bins: Mapping[Condition, Sequence[Bins]]) -> dict[str, np.ndarray]:
    """What reliability.npz holds: conditions (severity 0: clean), temperatures (S,), (conditions,S,15) of each bin."""
    arrays = {
        "dataset": np.array([one.dataset for one in shown]),
        "corruption": np.array([one.corruption or "" for one in shown]),
        "severity": np.array([one.severity or 0 for one in shown]),
        "temperature": next(iter(shown.values())).temperature[:, 0].numpy(),
    }
    stacked = {
        key: torch.stack([torch.stack([getattr(level, key) for level in one]) for one in bins.values()]).numpy()
        for key in Bins._fields
    }
    return {**arrays, **stacked}
