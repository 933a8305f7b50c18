"""Rank correlations and effective robustness over a population of runs: numbers, or why there are none.

A number needs `LEAST` runs. What comes from drawing methods anew, an interval or a band, needs runs of `LEAST` methods:
seeds of one method are always drawn together, and of one method every draw is the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourier_robust.metric.bootstrap import counts_of_groups
from fourier_robust.metric.effective_robustness import LogitLine, fit_logits, logit
from fourier_robust.metric.rank_correlation import Correlation, pearson, spearman_matrix
from fourier_robust.report.population import Metric, Population

LEAST = 5  # runs for a correlation or a line; methods for an interval or a band
DRAWS = 1000


class TooFew(Exception):
    """An analysis needs more than there is; the message says how many of what, and how many there are."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Spearman's correlation of each pair of metrics, turned so that more is better (where neither is: as they are).

    Attributes:
        metrics: M of them, those of many runs with differing values.
        pairs: M x M; NaN over fewer than `LEAST` runs, the interval also over fewer than `LEAST` methods.
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
        line: fitted; without draws where the fitted runs are of fewer than `LEAST` methods.
        beyond: (N,) accuracy minus what the line expects, in [-1,1]; NaN where a run lacks a number.
        outside: (N,) whether the accuracy lies outside the band of the line; none does where the line has no band.
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
        there = f"{len(kept)} of {len(population.metrics)} metrics, {len(population.runs)} runs"
        raise TooFew(lack("rank correlation", f"two metrics that differ over {LEAST} runs", there))
    counts = counts_of_groups(population.method_of, generator, DRAWS)
    values = np.stack([one.values * (one.better or 1) for one in kept])
    pairs = tuple(
        tuple(
            pair if methods_among(population, ~np.isnan(x + y)) >= LEAST else pair._replace(low=np.nan, high=np.nan)
            for y, pair in zip(values, line, strict=True)
        )
        for x, line in zip(values, spearman_matrix(values, counts, LEAST), strict=True)
    )
    return Ranks(tuple(kept), pairs, tuple(one.name for one in population.metrics if one not in kept))


def robustness(population: Population, generator: np.random.Generator) -> Robustness:
    """Lines through the runs that were asked for, else the plainly trained ones of `LEAST` methods, else all.

    All runs are held against them.

    Raises:
        TooFew: no clean accuracy, no shift, or fewer runs than a line needs.
    """
    if population.clean is None:
        raise TooFew(lack("effective robustness", f"{LEAST} runs with clean:error", "none"))
    members, fitted = _members(population, logits_of(population.metrics[population.clean]))
    counts = counts_of_groups(np.unique(population.method_of[members], return_inverse=True)[1], generator, DRAWS)
    shifts, left, most = [], [], 0
    for one in population.shares:
        assert one.accuracy is not None
        against = clean_of(population, one)
        clean, under = logits_of(against), logits_of(one)
        both = members & ~np.isnan(clean + under)
        most = max(most, int(both.sum()))
        drawn = counts if methods_among(population, both) >= LEAST else counts[:0]
        line = fit_logits(clean[members], under[members], drawn) if both.sum() >= LEAST else None
        if line is None:
            left.append(one.name)
            continue
        low, high = line.band(clean) if len(line.drawn) else (np.zeros(len(clean)), np.ones(len(clean)))
        outside = (one.accuracy < low) | (one.accuracy > high)
        shifts.append(Shift(one, against, line, one.accuracy - line.at(clean), outside))
    if not shifts:
        alike = " that do not differ in clean:error" if most >= LEAST else ""
        there = f"{most} of {fitted}{alike}" if left else "no shift"
        raise TooFew(lack("effective robustness", f"{LEAST} runs with clean:error and a shift's accuracy", there))
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
            needed = f"{LEAST} runs of {who} with 3 values of clean:error"
            there = f"{named.sum()} with {len(np.unique(clean[named]))}"
            raise TooFew(lack("effective robustness", needed, there))
        return named, f"the {named.sum()} runs of {who}"
    plain = population.plain & there
    if enough(plain) and methods_among(population, plain) >= LEAST:
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
    needed = f"two shifts that differ over {LEAST} runs beyond what clean:error explains"
    if population.clean is None:
        raise TooFew(lack("residual correlation", needed, "no clean:error"))
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
        there = f"{len(names)} of {len(shifts)} shifts, {len(population.runs)} runs"
        raise TooFew(lack("residual correlation", needed, there))
    return tuple(names), np.column_stack(columns)


def residual_correlations(population: Population) -> tuple[tuple[str, ...], list[list[Correlation]]]:
    """Names and M x M Pearson correlations of `residuals`, each over the runs that have both; `LEAST` of them."""
    names, values = residuals(population, population.shares)
    return names, [[pearson(x, y, LEAST) for y in values.T] for x in values.T]


def logits_of(metric: Metric) -> np.ndarray:
    """(N,) logits of a share of right answers."""
    assert metric.accuracy is not None
    return logit(metric.accuracy, metric.images)


def usable(values: np.ndarray) -> bool:
    """Whether (N,) `values` are there for `LEAST` runs and differ."""
    there = values[~np.isnan(values)]
    return len(there) >= LEAST and float(np.ptp(there)) > 1e-9


def methods_among(population: Population, chosen: np.ndarray) -> int:
    """How many methods the runs of (N,) bool `chosen` are of."""
    return len(np.unique(population.method_of[chosen]))


def lack(what: str, needed: str, there: str) -> str:
    """The line that says what is needed and what is there."""
    return f"{what}: needs {needed}; there: {there}"
