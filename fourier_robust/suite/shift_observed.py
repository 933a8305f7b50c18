"""What `suite=shift` keeps of one set of images, and the measurements made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from fourier_robust.dataset.label_space import LabelSpace
from fourier_robust.dataset.shifted import Cell, Checked
from fourier_robust.errors import UserError
from fourier_robust.metric.flips import difference, flips, is_noise
from fourier_robust.metric.outcome import GAP, SHARE, Estimate, error_rate, mean_of_images
from fourier_robust.suite.base import Condition, Measurement


class Observed(NamedTuple):
    """What is kept of one set of images.

    Attributes:
        label: (N,) int64, the shared class (clean images: the model's class); -1 without labels.
        prediction: (N,) int64, the model's class of the largest logit.
        masked: (N,M) int64, the shared class of the largest logit among the shared ones; for clean images one column
            per set that lacks some of the model's classes, else one if the set does, else none.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    masked: torch.Tensor


def of_set(
    name: str,
    checked: Checked,
    seen: Observed,
    reference: tuple[str, Observed, int] | None,
    part: torch.Tensor | None = None,
) -> Iterator[Measurement]:
    """Error by both label rules, of its parts too, the same on clean images of the same classes, and the gaps.

    Args:
        name: of the set.
        checked: the set, with classes.
        seen: its images.
        reference: name and images of the clean set, and the column of `Observed.masked` that is this set's there.
        part: (N,) int64, place of each image among `Checked.parts`.
    """
    space = _space(checked)
    condition, wrong = Condition(name), {"": _wrong(space, seen, None)}
    if not space.whole:
        wrong["_masked"] = _wrong(space, seen, 0)
    for rule, values in wrong.items():
        yield Measurement(condition, f"error{rule}", error_rate(values))
    if checked.parts is not None and part is not None:
        for number in part.unique().tolist():
            for rule, values in wrong.items():
                kind = Condition(name, checked.parts.names[number])
                yield Measurement(kind, f"error{rule}", error_rate(values[part == number]))
    if reference is None:
        return
    clean_name, clean, column = reference
    labels = space.columns[clean.label]
    same = clean._replace(label=labels)
    clean_wrong = {rule: _wrong(space, same, column if rule else None)[labels >= 0] for rule in wrong}
    if not space.whole and len(clean_wrong[""]):
        for rule, values in clean_wrong.items():
            yield Measurement(Condition(f"{clean_name}_of_{name}"), f"error{rule}", error_rate(values))
    if checked.clean == "related" or not len(clean_wrong[""]):
        return
    for rule, values in wrong.items():
        if checked.clean == "paired":
            gap = mean_of_images(values - clean_wrong[rule]).within(GAP)
        else:
            gap = difference(error_rate(values), error_rate(clean_wrong[rule]))
        yield Measurement(condition, f"gap{rule}", gap)


def of_cells(
    name: str, checked: Checked, cells: Mapping[Cell, Observed], good: Mapping[Cell, torch.Tensor]
) -> Iterator[Measurement]:
    """Error of each corruption and severity, then the means; `good` is (N,) bool, which images could be read.

    A mean is over images that could be read in all of its cells.
    """
    by_name: dict[str, list[torch.Tensor]] = {}
    for cell, seen in cells.items():
        wrong = _wrong(_space(checked), seen, None).where(good[cell], torch.nan)
        by_name.setdefault(str(cell.corruption), []).append(wrong)
        yield Measurement(Condition(name, *cell), "error", error_rate(wrong[good[cell]]))
    for corruption, values in by_name.items():
        yield Measurement(Condition(name, corruption), "mean_error", _mean(name, values).within(SHARE))
    mean, members = checked.headline
    if members:
        every = [one for member in members for one in by_name[member]]
        yield Measurement(Condition(name, mean), "mean_error", _mean(name, every).within(SHARE))


def flip_rates(
    name: str,
    checked: Checked,
    cells: Mapping[Cell, Observed],
    frames: Mapping[Condition, int],
    good: Mapping[Cell, torch.Tensor],
) -> Iterator[Measurement]:
    """Flip rate of each perturbation, then their mean, as it is and against AlexNet; of clips that could be read.

    Args:
        name: of the set.
        checked: the set, without classes.
        cells: its frames, clip after clip.
        frames: per clip, by condition.
        good: (N,) bool, which frames could be read.
    """
    rates: dict[str, torch.Tensor] = {}
    for cell, seen in cells.items():
        perturbation, condition = str(cell.corruption), Condition(name, *cell)
        clips = seen.prediction.reshape(-1, frames[condition])
        whole = good[cell].reshape(clips.shape).all(1)
        rates[perturbation] = flips(clips, is_noise(perturbation)).where(whole, torch.nan)
        yield Measurement(condition, "flip_rate", _mean(name, [rates[perturbation]]).within(SHARE))
    mean, members = checked.headline
    if members:
        every = [rates[member] for member in members]
        yield Measurement(Condition(name, mean), "flip_rate", _mean(name, every).within(SHARE))
    if checked.alexnet is not None:
        against = [rates[member] / checked.alexnet[member] for member in members]
        yield Measurement(Condition(name, mean), "mfr", _mean(name, against))


def _space(checked: Checked) -> LabelSpace:
    assert checked.space is not None
    return checked.space


def _wrong(space: LabelSpace, seen: Observed, column: int | None) -> torch.Tensor:
    """(N,) float64, 1 where the prediction (masked: that of `column`) is not the label."""
    prediction = space.over_all(seen.prediction) if column is None else seen.masked[:, column]
    return (prediction != seen.label).double()


def _mean(name: str, values: Sequence[torch.Tensor]) -> Estimate:
    """Mean over cells or perturbations of the same images, image by image first; without those that have a nan."""
    lengths = sorted({len(one) for one in values})
    if len(lengths) > 1:
        raise UserError(f"{name}: parts of {lengths[0]} and of {lengths[-1]} images have no common mean; complete it")
    mean = torch.stack(list(values)).mean(0)
    read = ~mean.isnan()
    if not read.any():
        raise UserError(f"{name}: no image or clip could be read in each of its parts")
    return mean_of_images(mean[read])
