"""Relative Mahalanobis: distance to the closest class, less the distance to all training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Head, Outputs, Scorer, features, labels
from fourier_robust.score.gaussian import fit_gaussian


@dataclass(frozen=True)
class RelativeMahalanobis:
    """min_c d_c(f) - d_0(f): d_c as in `mahalanobis`, d_0 of one Gaussian fitted to all features. May be negative.

    Source:
        Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", 2021, arXiv 2106.09022.
    """

    needs = frozenset({"features", "train", "labels"})

    def fit(self, train: Outputs, head: Head | None = None) -> Scorer:
        """From (N,D) features and labels of training images."""
        classes = fit_gaussian(features(train), labels(train))
        background = fit_gaussian(features(train), torch.zeros_like(labels(train)))

        def scorer(outputs: Outputs) -> torch.Tensor:
            values = features(outputs)
            return classes.squared_distances(values).amin(1) - background.squared_distances(values)[:, 0]

        return scorer
