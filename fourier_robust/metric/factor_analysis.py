"""How many things do M metrics of N models measure? Parallel analysis, maximum-likelihood factors, varimax."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST_UNIQUE = 0.005  # a metric's own share of its variance is kept above this (Heywood cases)


class Factors(NamedTuple):
    """Of standardised metrics.

    Attributes:
        loadings: (M,F), the factor that explains most first, each with a positive sum; after rotation.
        unique: (M,) share of each metric's variance that no factor explains.
        converged: whether the likelihood stopped rising.
    """

    loadings: np.ndarray
    unique: np.ndarray
    converged: bool


class Parallel(NamedTuple):
    """Parallel analysis.

    Attributes:
        eigenvalues: (M,) of the metrics' correlation matrix, falling.
        thresholds: (M,) what independent normal metrics reach in 5 % of the draws.
        factors: leading eigenvalues above their thresholds.
    """

    eigenvalues: np.ndarray
    thresholds: np.ndarray
    factors: int


def parallel_analysis(values: np.ndarray, generator: np.random.Generator, draws: int = 1000) -> Parallel:
    """Number of factors: the leading eigenvalues that metrics without anything in common would hardly reach.

    Args:
        values: (N,M) complete, each metric with some spread.
        generator: of the random metrics.
        draws: sets of (N,M) independent standard normal numbers.

    Source: Horn, "A rationale and test for the number of factors in factor analysis", Psychometrika 1965; the 95th
        percentile instead of the mean: Glorfeld 1995.
    """
    n, metrics = values.shape
    found = np.linalg.eigvalsh(np.corrcoef(values, rowvar=False))[::-1]
    random = np.empty((draws, metrics))
    for draw in range(draws):
        random[draw] = np.linalg.eigvalsh(np.corrcoef(generator.standard_normal((n, metrics)), rowvar=False))[::-1]
    thresholds = np.quantile(random, 0.95, axis=0)
    above = found > thresholds
    return Parallel(found, thresholds, metrics if above.all() else int(above.argmin()))


def factor_analysis(values: np.ndarray, factors: int, tolerance: float = 1e-9, steps: int = 20_000) -> Factors:
    """Maximum-likelihood factors of standardised metrics, rotated by varimax (without Kaiser's normalisation).

    Each step takes the best loadings for the given unique variances, from the eigenvectors of the correlation matrix
    in units of those, then the unique variances that these loadings leave.

    Args:
        values: (N,M) complete, each metric with some spread.
        factors: F, 1 to M.
        tolerance: the log-likelihood per model rises by less than this at the end.
        steps: at most.

    Source: Lawley and Maxwell, "Factor Analysis as a Statistical Method", 1971; Kaiser, "The varimax criterion for
        analytic rotation in factor analysis", Psychometrika 1958.
    """
    correlation = np.corrcoef(values, rowvar=False)
    metrics = len(correlation)
    unique, before, converged = np.ones(metrics), -np.inf, False
    loadings = np.zeros((metrics, factors))
    for _ in range(steps):
        scale = np.sqrt(unique)
        eigenvalues, vectors = np.linalg.eigh(correlation / np.outer(scale, scale))
        largest, rest = eigenvalues[::-1][:factors], eigenvalues[::-1][factors:]
        loadings = scale[:, None] * vectors[:, ::-1][:, :factors] * np.sqrt(np.maximum(largest - 1, 0))
        likelihood = -0.5 * float(
            np.log(unique).sum() + np.log(np.maximum(largest, 1)).sum() + np.minimum(largest, 1).sum() + rest.sum()
        )
        if likelihood - before < tolerance:
            converged = True
            break
        before = likelihood
        unique = np.maximum(1 - (loadings**2).sum(1), LEAST_UNIQUE)
    rotated = varimax(loadings)
    rotated = rotated[:, np.argsort(-(rotated**2).sum(0), kind="stable")]
    rotated = rotated * np.where(rotated.sum(0) < 0, -1, 1)
    return Factors(rotated, unique, converged)


def varimax(loadings: np.ndarray, tolerance: float = 1e-14, steps: int = 1000) -> np.ndarray:
    """(M,F) -> (M,F): the rotation in which the squared loadings of each factor vary most over the metrics."""
    factors = loadings.shape[1]
    rotation, before = np.eye(factors), 0.0
    if factors < 2:
        return loadings.copy()
    for _ in range(steps):
        turned = loadings @ rotation
        target = loadings.T @ (turned**3 - turned * (turned**2).mean(0))
        left, singular, right = np.linalg.svd(target)
        rotation = left @ right
        if singular.sum() < before * (1 + tolerance):
            break
        before = float(singular.sum())
    return loadings @ rotation
