"""Do two metrics rank models alike? Spearman's correlation, with intervals from drawing models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fourier_robust.metric.bootstrap import central_95

DRAWS_AT_ONCE = 50  # times metrics times models: 12 MB of ranks for 60 metrics of 500 models


class Correlation(NamedTuple):
    """Of two metrics over the `n` models that have both; NaN where those are too few, or alike in one of them."""

    value: float
    low: float
    high: float
    n: int


def average_ranks(values: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) ranks from 1; equal values share the mean of their places."""
    return weighted_ranks(values, np.ones((1, len(values))))[0]


def weighted_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,N) ranks of (N,) `values` where each stands as often as (R,N) `counts` say; without meaning at a 0."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    tied = np.add.reduceat(counts[:, order], starts, axis=1)
    return (tied.cumsum(1) - tied + (tied + 1) / 2)[:, place]


def spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None, least: int = 2) -> Correlation:
    """Pearson's correlation of the average ranks, over the models that have both values.

    Args:
        x: (N,), NaN where a model has no value.
        y: likewise.
        counts: (R,N) of `bootstrap.counts_of_groups`, for a 95 % percentile interval; without, the interval is NaN.
        least: models that must have both; of fewer, all is NaN but their number.

    Source: Spearman, "The proof and measurement of association between two things", Am. J. Psychology 1904.
    """
    both = ~(np.isnan(x) | np.isnan(y))
    x, y, n = x[both], y[both], int(both.sum())
    nan = float("nan")
    if n < least:
        return Correlation(nan, nan, nan, n)
    value = float(_spearman(x, y, np.ones((1, n)))[0])
    if counts is None:
        return Correlation(value, nan, nan, n)
    low, high = central_95(_spearman(x, y, counts[:, both]))
    return Correlation(value, low, high, n)


def spearman_matrix(values: np.ndarray, counts: np.ndarray, least: int = 2) -> list[list[Correlation]]:
    """`spearman` of each pair of (M,N) `values`, with (R,N) `counts` and `least`: M x M.

    Pairs over the same models are done together: ranks once per metric, then one product of matrices per draw.
    """
    there = ~np.isnan(values)
    pairs: dict[bytes, list[tuple[int, int]]] = {}
    for first in range(len(values)):
        for second in range(first + 1):
            pairs.setdefault((there[first] & there[second]).tobytes(), []).append((first, second))
    found = [[Correlation(float("nan"), float("nan"), float("nan"), 0)] * len(values) for _ in values]
    for mask, members in pairs.items():
        both = np.frombuffer(mask, dtype=bool)
        which = sorted({index for pair in members for index in pair})
        place = {index: at for at, index in enumerate(which)}
        ends = [np.array([place[pair[side]] for pair in members]) for side in (0, 1)]
        kept, n = values[which][:, both], int(both.sum())
        value, low, high = np.full((3, len(members)), np.nan)
        if n >= least:
            value = _pairs(kept, np.ones((1, n)), *ends)[0]
            drawn = _pairs(kept, counts[:, both], *ends)
            low, high = np.array([central_95(column) for column in drawn.T]).T
        for at, (one, other) in enumerate(members):
            found[one][other] = found[other][one] = Correlation(float(value[at]), float(low[at]), float(high[at]), n)
    return found


def _pairs(values: np.ndarray, counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(R,P) rank correlations of P pairs of rows of (M,N) `values`, under (R,N) `counts`, in blocks of draws."""
    blocks = []
    for at in range(0, len(counts), DRAWS_AT_ONCE):
        part = counts[at : at + DRAWS_AT_ONCE]
        ranks = np.stack([weighted_ranks(one, part) for one in values], 1)  # (R,M,N)
        with np.errstate(invalid="ignore", divide="ignore"):
            ranks -= (ranks @ part[:, :, None]) / part.sum(1)[:, None, None]
            ranks *= np.sqrt(part)[:, None, :]
            products = ranks @ ranks.swapaxes(1, 2)
            spread = np.sqrt(np.einsum("rmm->rm", products))
            scaled = products[:, first, second] / (spread[:, first] * spread[:, second])
        defined = spread[:, first] * spread[:, second] > 1e-12
        blocks.append(np.where(defined, np.clip(scaled, -1, 1), np.nan))
    return np.concatenate(blocks)


def pearson(x: np.ndarray, y: np.ndarray, least: int = 2) -> Correlation:
    """Pearson's correlation over the models that have both values, without an interval; `least` as in `spearman`."""
    both = ~(np.isnan(x) | np.isnan(y))
    n, nan = int(both.sum()), float("nan")
    value = nan if n < least else float(_weighted_pearson(x[both][None], y[both][None], np.ones((1, n)))[0])
    return Correlation(value, nan, nan, n)


def _spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return _weighted_pearson(weighted_ranks(x, counts), weighted_ranks(y, counts), counts)


def _weighted_pearson(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) correlations of the rows of (R,N) `x` and `y`, each value as often as (R,N) `counts`; NaN without spread."""
    total = counts.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = x - (counts * x).sum(1, keepdims=True) / total
        y = y - (counts * y).sum(1, keepdims=True) / total
        spread = np.sqrt((counts * x * x).sum(1) * (counts * y * y).sum(1))
        return np.where(spread > 1e-12, np.clip((counts * x * y).sum(1) / spread, -1, 1), np.nan)
