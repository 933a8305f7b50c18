"""Scores over the values of one factor (size, angle, place), each value with many images of few objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from fourier_robust.metric.cluster_bootstrap import (
    bootstrap_means,
    draw_objects,
    grouped_sums,
    percentile_estimate,
)
from fourier_robust.metric.outcome import Estimate, Outcome


class Members(NamedTuple):
    """Which images a factor's value has: object and pair of each, (N,) int64; a pair has one image at most.

    Two images of different values are of one pair where object, background and all other factors agree.
    """

    objects: torch.Tensor
    pairs: torch.Tensor


class Scores(NamedTuple):
    """A rate at each value, its plain mean over the values, and the lowest; None where there is no value."""

    at: dict[str, Estimate]
    mean: Estimate | None
    lowest: Estimate | None


def accuracies(
    outcomes: Mapping[str, Outcome],
    members: Mapping[str, Members],
    objects: int,
    generator: torch.Generator,
    draws: int = 1000,
) -> Scores:
    """Top-1 accuracy at each value; the mean over values, not over images, is the published score.

    Args:
        outcomes: of each value.
        members: likewise.
        objects: how many there are.
        generator: of the bootstrap over objects; on the CPU.
        draws: of the bootstrap.
    """
    right = {value: 1 - outcome.wrong for value, outcome in outcomes.items()}
    return _scores(right, {value: members[value].objects for value in right}, objects, generator, draws)


def balanced_accuracy(
    outcomes: Mapping[str, Outcome],
    members: Mapping[str, Members],
    objects: int,
    generator: torch.Generator,
    draws: int = 1000,
) -> Estimate:
    """As the mean of `accuracies`, but with the mean over classes at each value: no class weighs more than another.

    A class of which a draw holds no object has no part in that draw.

    Args:
        outcomes: as in `accuracies`.
        members: likewise.
        objects: likewise.
        generator: likewise.
        draws: likewise.
    """
    classes = torch.full((objects,), -1)
    for value, outcome in outcomes.items():
        classes[members[value].objects] = outcome.label
    both = [grouped_sums(1 - outcome.wrong, members[value].objects, objects) for value, outcome in outcomes.items()]
    sums, counts = (torch.stack(part) for part in zip(*both, strict=True))
    times, points, drawn = draw_objects(objects, generator, draws), [], []
    for label in classes[classes >= 0].unique():
        own = classes == label
        right, shown = sums[:, own], counts[:, own]
        points.append(right.sum(1) / shown.sum(1))
        drawn.append((times[:, own] @ right.T) / (times[:, own] @ shown.T))
    mean = float(torch.stack(points).nanmean(0).mean())
    return percentile_estimate(mean, torch.stack(drawn).nanmean(0).nanmean(1), int(counts.sum()))


class Complete(NamedTuple):
    """What remains where a pair counts only if every value has it; how many pairs that are, and how many there were."""

    outcomes: dict[str, Outcome]
    members: dict[str, Members]
    left: int
    whole: int


def complete(outcomes: Mapping[str, Outcome], members: Mapping[str, Members]) -> Complete:
    """Without the images of pairs that some value lacks; see `Complete`."""
    times = torch.bincount(torch.cat([one.pairs for one in members.values()]))
    every = times == len(members)
    kept = {value: every[one.pairs] for value, one in members.items()}
    return Complete(
        {value: Outcome(*(column[kept[value]] for column in one)) for value, one in outcomes.items()},
        {value: Members(*(column[kept[value]] for column in one)) for value, one in members.items()},
        int(every.sum()),
        int((times > 0).sum()),
    )


def flips(
    outcomes: Mapping[str, Outcome],
    members: Mapping[str, Members],
    reference: str,
    objects: int,
    generator: torch.Generator,
    draws: int = 1000,
) -> Scores:
    """Share of pairs whose prediction is not that at `reference`, at each other value, over pairs that have both.

    Args:
        outcomes: as in `accuracies`.
        members: likewise.
        reference: one of the values.
        objects: as in `accuracies`.
        generator: likewise.
        draws: likewise.
    """
    theirs, changed, shown = members[reference], {}, {}
    highest = max(int(one.pairs.max()) for one in members.values())
    place = torch.full((highest + 1,), -1)
    place[theirs.pairs] = torch.arange(len(theirs.pairs))
    for value, outcome in outcomes.items():
        both = place[members[value].pairs] >= 0
        if value != reference and both.any():
            before = outcomes[reference].prediction[place[members[value].pairs[both]]]
            changed[value] = (outcome.prediction[both] != before).double()
            shown[value] = members[value].objects[both]
    return _scores(changed, shown, objects, generator, draws)


def _scores(
    values: Mapping[str, torch.Tensor],
    shown: Mapping[str, torch.Tensor],
    objects: int,
    generator: torch.Generator,
    draws: int,
) -> Scores:
    if not values:
        return Scores({}, None, None)
    sums, counts = zip(*(grouped_sums(values[key], shown[key], objects) for key in values), strict=True)
    drawn = bootstrap_means(torch.stack(sums), torch.stack(counts), generator, draws)
    points = {key: float(value.mean()) for key, value in values.items()}
    at = {
        key: percentile_estimate(points[key], column, len(values[key]))
        for key, column in zip(values, drawn.T, strict=True)
    }
    images = sum(map(len, values.values()))
    mean = percentile_estimate(sum(points.values()) / len(points), drawn.nanmean(1), images)
    lowest = percentile_estimate(min(points.values()), drawn.nan_to_num(torch.inf).amin(1), images)
    return Scores(at, mean, lowest)
