"""k nearest neighbours: distance of the direction of the features to the k-th closest training image's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fourier_robust.score.base import Head, Outputs, Scorer, features

QUERIES, KNOWN = 256, 8192  # similarities held at once: 8 MB


@dataclass(frozen=True)
class KNN:
    """|z - z_(k)|, z = f / |f|, z_(k) the k-th nearest such of the training images; in [0,2].

    Args:
        k: at least 1, at most the number of training images. 50 as published for CIFAR-10, 200 for CIFAR-100, 1000
            for ImageNet.

    Raises:
        ValueError: k out of range; at `fit`, above the number of training images.

    Source:
        Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022; all training images.

    Deviates:
        The search is exact, by products of matrices in the features' own dtype, which in float32 leaves about 1e-7 of
        rounding in the squared distance; the published code calls faiss.
    """

    k: int = 50
    needs = frozenset({"features", "train"})

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def fit(self, train: Outputs, head: Head | None = None) -> Scorer:
        """From (N,D) features; keeps a normalised copy of them."""
        known = unit(features(train))
        if self.k > len(known):
            raise ValueError(f"k must be at most the number of training images ({len(known)}), got {self.k}")

        def scorer(outputs: Outputs) -> torch.Tensor:
            parts = [kth_similarity(unit(block), known, self.k) for block in features(outputs).split(QUERIES)]
            return (2 - 2 * torch.cat(parts).double()).clamp_min(0).sqrt()

        return scorer


def unit(values: torch.Tensor) -> torch.Tensor:
    """Rows of (N,D) over their length; a row of zeros stays."""
    return values / values.norm(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)


def kth_similarity(queries: torch.Tensor, known: torch.Tensor, k: int) -> torch.Tensor:
    """(B,) k-th largest product of each row of (B,D) with the rows of (N,D)."""
    best = queries.new_full((len(queries), 0), 0.0)
    for block in known.split(KNOWN):
        best = largest(torch.cat((best, largest(queries @ block.T, k)), 1), k)
    return best.amin(1)


def largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest of each row of (B,N), unordered; all if N <= k.

    They lie in the k groups (of a partition of the row) with the largest maxima, so two searches among about
    sqrt(N k) values do, after one pass for the maxima. Ties change which, not what.
    """
    n = values.shape[1]
    if n <= k:
        return values
    size = math.isqrt(n // k)
    if size < 4:
        return values.topk(k, 1, sorted=False).values
    groups = n // size
    folded = values[:, : groups * size].unflatten(1, (size, groups))
    chosen = folded.amax(1).topk(k, 1, sorted=False).indices
    candidates = folded.gather(2, chosen[:, None].expand(-1, size, -1)).flatten(1)
    return torch.cat((candidates, values[:, groups * size :]), 1).topk(k, 1, sorted=False).values
