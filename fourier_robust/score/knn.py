"""k nearest neighbours: distance of the direction of the features to the k-th closest training image's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fourier_robust.score.base import Head, Outputs, Scorer, features

QUERIES, KNOWN = 2048, 4096  # similarities held at once: 32 MB; on two threads 43 s where 512, 8192 took 50


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
    """(B,) k-th largest product of each row of (B,D) with the rows of (N,D); k at most N."""
    best = queries.new_full((len(queries), 0), 0.0)
    for block in known.split(KNOWN):
        least = best.amin(1) if best.shape[1] == k else None
        best = largest(torch.cat((best, candidates(queries @ block.T, k, least)), 1), k)
    return best.amin(1)


def candidates(values: torch.Tensor, k: int, least: torch.Tensor | None = None) -> torch.Tensor:
    """About sqrt(N k) values of each row of (B,N), or fewer, among which are its k largest.

    Those lie in the k groups (of a partition of the row) with the largest maxima: one pass for the maxima, a search
    among them, and the groups found. Ties change which, not what.

    Args:
        values: (B,N).
        k: at least 1; all N values come back where they are few.
        least: (B,) a value for each row up to which nothing is looked for: groups above it suffice.
    """
    n = values.shape[1]
    size = math.isqrt(n // k)
    if size < 4:
        return values
    groups = n // size
    folded = values[:, : groups * size].unflatten(1, (size, groups))
    maxima = folded.amax(1)
    wanted = k if least is None else min(k, max(1, int((maxima > least[:, None]).sum(1).amax())))
    chosen = maxima.topk(wanted, 1, sorted=False).indices
    found = folded.gather(2, chosen[:, None].expand(-1, size, -1)).flatten(1)
    return torch.cat((found, values[:, groups * size :]), 1)


def largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest of each row of (B,N), unordered; all if N <= k."""
    return values if values.shape[1] <= k else values.topk(k, 1, sorted=False).values
