"""Means of many metrics over images drawn with replacement: counts of the draws times values, in blocks.

Means over groups of images of one object are `cluster_bootstrap`'s; statistics that are no means (ranks, lines) take
the counts themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 64  # draws at a time: 5 MB of counts for 10,000 images


def counts_of_draws(
    images: int, generator: np.random.Generator, draws: int, block: int = BLOCK
) -> Iterator[np.ndarray]:
    """How often each of N images is drawn: `images` draws with replacement, `draws` times.

    Args:
        images: N.
        generator: of the draws; the same draws for any `block`.
        draws: how many.
        block: draws per array.

    Yields:
        (block,N) float64, the last one shorter; each row sums to N.
    """
    for first in range(0, draws, block):
        rows = min(block, draws - first)
        chosen = generator.integers(images, size=(rows, images))
        chosen += np.arange(rows)[:, None] * images
        yield np.bincount(chosen.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def counts_of_groups(groups: np.ndarray, generator: np.random.Generator, draws: int) -> np.ndarray:
    """How often each of N members is drawn where whole groups are drawn: (draws,N) float64.

    Args:
        groups: (N,) int64 in [0, G): members of one group are drawn together.
        generator: of the draws.
        draws: how many.
    """
    number = int(groups.max()) + 1
    return np.concatenate(list(counts_of_draws(number, generator, draws)))[:, groups]


def bootstrap_means(
    values: np.ndarray, generator: np.random.Generator, draws: int = 1000, block: int = BLOCK
) -> np.ndarray:
    """Means of M metrics over drawn images, the same images for all metrics, so that differences keep their pairs.

    Every draw is counted and every product is in float64: nothing is approximated.

    Args:
        values: (M,N), one per metric and image.
        generator: of the draws.
        draws: how many.
        block: draws at a time; the result is that of any other block, up to the order of the sums.

    Returns:
        (draws,M) float64.
    """
    images = values.shape[1]
    columns = np.ascontiguousarray(values.T, dtype=np.float64)
    return np.concatenate([counts @ columns / images for counts in counts_of_draws(images, generator, draws, block)])


def central_95(drawn: np.ndarray) -> tuple[float, float]:
    """The central 95 % of (R,) `drawn`, NaN left out; NaN where nothing is left."""
    kept = drawn[~np.isnan(drawn)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)
