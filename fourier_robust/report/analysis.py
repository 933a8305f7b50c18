"""Rank correlations and effective robustness over a population of runs: numbers, or why there are none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourier_robust.metric.bootstrap import counts_of_groups
from fourier_robust.metric.effective_robustness import LogitLine, fit_logits, logit
from fourier_robust.metric.rank_correlation import Correlation, pearson, spearman_matrix
from fourier_robust.report.population import Metric, Population

LEAST = 5  # runs for a rank correlation or a line
DRAWS = 1000


class TooFew(Exception):
    """An analysis needs more than there is; the message says how many of what, and how many there are."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Spearman's correlation of each pair of metrics, turned so that more is better (where neither is: as they are).

    Attributes:
        metrics: M of them, those of many runs with differing values.
        pairs: M x M.
        left_out: names of metrics with fewer than `LEAST` runs, or without any spread.
    """

    metrics: tuple[Metric, ...]
    pairs: tuple[tuple[Correlation, ...], ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Shift:
    """Effective robustness under one shift.

    Attributes:
        metric: of the shift.
        against: the clean accuracy it is held against, of `clean_of`.
        line: fitted.
        beyond: (N,) accuracy minus what the line expects, in [-1,1]; NaN where a run lacks a number.
        outside: (N,) whether the accuracy lies outside the band of the line.
    """

    metric: Metric
    against: Metric
    line: LogitLine
    beyond: np.ndarray
    outside: np.ndarray


@dataclass(frozen=True, eq=False)
class Robustness:
    """Effective robustness under all shifts.

    Attributes:
        fitted: the name of the runs that the lines were fitted on.
        members: (N,) bool, which those are.
        clean: the clean accuracy, on all classes.
        shifts: one per metric that a line could be fitted to.
        left_out: names of the others.
    """

    fitted: str
    members: np.ndarray
    clean: Metric
    shifts: tuple[Shift, ...]
    left_out: tuple[str, ...]


def ranks(population: Population, generator: np.random.Generator) -> Ranks:
    """Rank correlations over the runs that have both metrics; intervals from drawing methods with all their seeds.

    Raises:
        TooFew: fewer than two metrics are left.
    """
    kept = [one for one in population.metrics if usable(one.values)]
    if len(kept) < 2:
        raise TooFew(lack("rank correlation", f"{LEAST} runs with two metrics", population))
    counts = counts_of_groups(population.method_of, generator, DRAWS)
    pairs = spearman_matrix(np.stack([one.values * (one.better or 1) for one in kept]), counts)
    left = tuple(one.name for one in population.metrics if one not in kept)
    return Ranks(tuple(kept), tuple(map(tuple, pairs)), left)


def robustness(population: Population, generator: np.random.Generator) -> Robustness:
    """Lines through the runs that were asked for, else the plainly trained ones where they are enough, else all.

    All runs are held against them.

    Raises:
        TooFew: no clean accuracy, no shift, or fewer runs than a line needs.
    """
    if population.clean is None:
        raise TooFew(lack("effective robustness", f"{LEAST} runs with clean:error", population, there="none"))
    members, fitted = _members(population, logits_of(population.metrics[population.clean]))
    counts = counts_of_groups(np.unique(population.method_of[members], return_inverse=True)[1], generator, DRAWS)
    shifts, left = [], []
    for one in population.shares:
        assert one.accuracy is not None
        against = clean_of(population, one)
        clean, under = logits_of(against), logits_of(one)
        both = int((members & ~np.isnan(clean + under)).sum())
        line = fit_logits(clean[members], under[members], counts) if both >= LEAST else None
        if line is None or not len(line.drawn):
            left.append(one.name)
            continue
        low, high = line.band(clean)
        outside = (one.accuracy < low) | (one.accuracy > high)
        shifts.append(Shift(one, against, line, one.accuracy - line.at(clean), outside))
    if not shifts:
        raise TooFew(lack("effective robustness", f"{LEAST} runs with clean:error and a shift's accuracy", population))
    return Robustness(fitted, members, population.metrics[population.clean], tuple(shifts), tuple(left))


def _members(population: Population, clean: np.ndarray) -> tuple[np.ndarray, str]:
    """(N,) bool, the runs that lines are fitted on, of those with (N,) `clean` logits; and their name."""
    there = ~np.isnan(clean)

    def enough(chosen: np.ndarray) -> bool:
        return bool(chosen.sum() >= LEAST and len(np.unique(clean[chosen])) > 2)

    if population.asked:
        named = population.named & there
        who = f"population=[{','.join(population.asked)}]"
        if not enough(named):
            needed = f"{LEAST} runs of {who} that differ in clean:error"
            raise TooFew(lack("effective robustness", needed, population, there=str(named.sum())))
        return named, f"the {named.sum()} runs of {who}"
    plain = population.plain & there
    if enough(plain):
        return plain, f"the {plain.sum()} plainly trained runs"
    return there, f"all {there.sum()} runs"


def clean_of(population: Population, shift: Metric) -> Metric:
    """The clean accuracy that a shift is held against: on its classes and by its label rule, else on all classes.

    The first is what ``suite=shift`` measures beside a set of a part of the model's classes; `LEAST` runs must have
    it and the shift.

    Source: imagenet-testbed (Taori et al., NeurIPS 2020), whose tables hold clean accuracies on the classes of
        ImageNet-A, ImageNet-R and ObjectNet.
    """
    assert population.clean is not None
    dataset = f"{population.dataset}_of_{re.split('[@+]', shift.row.dataset)[0]}"
    rule = "error_masked" if shift.row.metric.endswith("_masked") else "error"
    shared = {
        one: int((~np.isnan(one.values + shift.values)).sum())
        for one in population.metrics
        if (one.row.dataset, one.row.metric) == (dataset, rule)
    }
    best = max(shared, key=shared.__getitem__, default=None)
    return population.metrics[population.clean] if best is None or shared[best] < LEAST else best


def residuals(population: Population, shifts: Sequence[Metric]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (N,M) logits of the shifts' accuracies minus their least-squares lines on the clean logit, of all runs.

    The clean logit is that of `clean_of`; a shift that it explains wholly, as one that repeats it, is left out.

    Args:
        population: whose runs.
        shifts: some of its `shares`.

    Raises:
        TooFew: no clean accuracy, or fewer than two shifts with enough runs.
    """
    needed = f"{LEAST} runs with clean:error and two shifts"
    if population.clean is None:
        raise TooFew(lack("residual correlation", needed, population))
    names, columns = [], []
    for one in shifts:
        clean, values = logits_of(clean_of(population, one)), logits_of(one)
        line = (
            fit_logits(clean, values, np.ones((1, len(clean)))) if (~np.isnan(clean + values)).sum() >= LEAST else None
        )
        left = None if line is None else values - line.intercept - line.slope * clean
        if left is not None and usable(left):
            names.append(one.name)
            columns.append(left)
    if len(names) < 2:
        raise TooFew(lack("residual correlation", needed, population))
    return tuple(names), np.column_stack(columns)


def residual_correlations(population: Population) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (M,M) Pearson correlations of `residuals`, each over the runs that have both."""
    names, values = residuals(population, population.shares)
    return names, np.array([[pearson(x, y) for y in values.T] for x in values.T])


def logits_of(metric: Metric) -> np.ndarray:
    """(N,) logits of a share of right answers."""
    assert metric.accuracy is not None
    return logit(metric.accuracy, metric.images)


def usable(values: np.ndarray) -> bool:
    """Whether (N,) `values` are there for `LEAST` runs and differ."""
    there = values[~np.isnan(values)]
    return len(there) >= LEAST and float(np.ptp(there)) > 1e-9


def lack(what: str, needed: str, population: Population, there: str = "") -> str:
    """The line that says what is needed and what is there."""
    return f"{what}: needs {needed}; there: {there or f'{len(population.runs)} runs'}"
