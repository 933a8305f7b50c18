"""What lies behind the metrics of a population: factors, what a metric tells beyond clean accuracy, what it repeats."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from fourier_robust.metric.factor_analysis import Factors, Parallel, factor_analysis, parallel_analysis
from fourier_robust.metric.informativeness import Informativeness, informativeness, left_out_r2
from fourier_robust.report.analysis import DRAWS, LEAST, TooFew, lack, logits_of, residuals, usable
from fourier_robust.report.population import Population

PER_METRIC = 3  # runs per metric for a factor analysis
PER_GROUP = 5  # methods per group for a classifier of groups
GROUPINGS = 4  # at most
GROUPS = 12  # to be told apart, at most: the classifier's time grows with their number cubed
FOLDS = 10  # of the classifier, at most; as many as there are methods below that


@dataclass(frozen=True, eq=False)
class Structure:
    """Factors of the metrics' logits.

    Attributes:
        names: of the M metrics.
        n: runs with all of them.
        parallel: parallel analysis.
        factors: as many as it keeps, or None where it keeps none.
    """

    names: tuple[str, ...]
    n: int
    parallel: Parallel
    factors: Factors | None


@dataclass(frozen=True, eq=False)
class Telling:
    """How well metrics tell groups of runs apart.

    Attributes:
        grouping: what the groups are of.
        groups: their names.
        n: runs.
        folds: of the cross-validation.
        names: of the M metrics beside the clean one.
        found: accuracies.
    """

    grouping: str
    groups: tuple[str, ...]
    n: int
    folds: int
    names: tuple[str, ...]
    found: Informativeness


def structure(population: Population, beyond_clean: bool, generator: np.random.Generator) -> Structure:
    """Factors of the logit accuracies, clean among them; or of the shifts' alone, without what clean accuracy explains.

    Raises:
        TooFew: fewer runs than three per metric have all metrics, or fewer than three metrics.
    """
    what = "factor analysis beyond clean accuracy" if beyond_clean else "factor analysis"
    if beyond_clean:
        names, values = residuals(population, population.parts)
    else:
        clean = () if population.clean is None else (population.metrics[population.clean],)
        shown = [one for one in (*clean, *population.parts) if one.accuracy is not None and usable(one.accuracy)]
        names = tuple(one.name for one in shown)
        values = np.column_stack([logits_of(one) for one in shown]) if shown else np.zeros((0, 0))
    if len(names) < 3:
        raise TooFew(f"{what}: needs 3 metrics that are shares of right answers; there: {len(names)}")
    complete = values[~np.isnan(values).any(1)]
    needed = PER_METRIC * len(names)
    if len(complete) < needed:
        raise TooFew(
            f"{what}: needs {needed} runs that have all {len(names)} metrics ({PER_METRIC} per metric); there: "
            f"{len(complete)} of {len(values)}"
        )
    if (complete.std(0) < 1e-9).any():
        raise TooFew(f"{what}: needs metrics that differ between the {len(complete)} runs that have all")
    parallel = parallel_analysis(complete, generator, DRAWS)
    return Structure(
        names, len(complete), parallel, factor_analysis(complete, parallel.factors) if parallel.factors else None
    )


def telling(population: Population) -> list[Telling]:
    """For each way to group the runs: which metrics tell the groups apart beyond clean accuracy.

    Runs of one method (its seeds) are held out together; methods go to the folds in turn, group by group.

    Raises:
        TooFew: no clean accuracy, no shift, or no two groups of enough methods.
    """
    complete, logits, names = _complete(population)
    needed = f"{PER_GROUP} methods in each of 2 groups, with clean:error and a shift's accuracy"
    if logits is None:
        raise TooFew(lack("informativeness", needed, "no shift beside clean accuracy"))
    found = []
    for grouping, labels in groupings(population, complete):
        groups, place = np.unique(labels, return_inverse=True)
        methods, first = np.unique(population.method_of[complete], return_index=True)
        if np.bincount(place[first]).min() < PER_GROUP:
            continue
        order = methods[np.argsort(place[first], kind="stable")]
        folds = min(FOLDS, len(order))
        turn = {int(method): at % folds for at, method in enumerate(order)}
        fold_of = np.array([turn[int(method)] for method in population.method_of[complete]])
        told = informativeness(logits[:, 0], logits[:, 1:], place, fold_of)
        found.append(Telling(grouping, tuple(groups), int(complete.sum()), folds, names, told))
    if not found:
        there = f"no such grouping of {len(np.unique(population.method_of[complete]))} methods"
        raise TooFew(lack("informativeness", needed, there))
    return found[:GROUPINGS]


def redundancy(population: Population) -> list[tuple[str, float, float, int]]:
    """(metric, R^2 from the clean logit, R^2 from all other metrics, runs), each run predicted from all others.

    Raises:
        TooFew: fewer runs with all metrics than metrics and two.
    """
    complete, logits, names = _complete(population)
    if logits is None or complete.sum() < len(names) + 3:
        needed = f"{max(LEAST, len(names) + 3)} runs with clean:error and all shifts' accuracies"
        raise TooFew(lack("redundancy", needed, str(complete.sum())))
    n = int(complete.sum())
    return [
        (
            name,
            left_out_r2(logits[:, :1], logits[:, at], 1e-9),
            left_out_r2(np.delete(logits, at, 1), logits[:, at]),
            n,
        )
        for at, name in enumerate(names, 1)
    ]


def groupings(population: Population, kept: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Ways to group the kept runs: by method of training, by architecture, by settings of few values; each once."""
    methods = [population.methods[at] for at in population.method_of[kept]]
    settings = [population.runs[at].settings or {} for at in np.flatnonzero(kept)]
    ways = [
        (
            "augmentation and regularizer",
            [f"{one.aug} + {one.reg}" if one.reg != "none" else one.aug for one in methods],
        )
    ]
    ways.append(("architecture", [one.arch for one in methods]))
    for key in sorted(set.intersection(*map(set, settings))) if settings else []:
        ways.append((key, [_plain(one[key]) for one in settings]))
    found: dict[tuple[int, ...], tuple[str, np.ndarray]] = {}
    for name, labels in ways:
        if 2 <= len(set(labels)) <= min(GROUPS, max(2, len(labels) // PER_GROUP)):
            seen = list(dict.fromkeys(labels))
            found.setdefault(tuple(seen.index(label) for label in labels), (name, np.array(labels)))
    return list(found.values())


def _plain(text: str) -> str:
    value = json.loads(text)
    return value if isinstance(value, str) else text


def _complete(population: Population) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """(N,) bool the runs that have all, their (n,1+M) logits, clean first, and M names; None without a shift."""
    shown = [one for one in population.parts if one.accuracy is not None and usable(one.accuracy)]
    if population.clean is None or not shown:
        return np.zeros(len(population.runs), dtype=bool), None, ()
    values = np.column_stack([logits_of(one) for one in (population.metrics[population.clean], *shown)])
    complete = ~np.isnan(values).any(1)
    return complete, values[complete] if complete.any() else None, tuple(one.name for one in shown)
