"""Mahalanobis: distance of the features to the closest class."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Head, Outputs, Scorer, features, labels
from fourier_robust.score.gaussian import fit_gaussian


@dataclass(frozen=True)
class Mahalanobis:
    """min_c (f - mu_c)' S^-1 (f - mu_c), f the features, mu_c the class means, S the covariance shared by all classes.

    Source:
        Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        NeurIPS 2018: its score of the penultimate layer.

    Deviates:
        One layer, without the input perturbation and without the regression over layers, which is fitted on OOD images.
        float64; S is the sum over all training images over N, inverted on the directions in which they vary.
    """

    needs = frozenset({"features", "train", "labels"})

    def fit(self, train: Outputs, head: Head | None = None) -> Scorer:
        """From (N,D) features and labels of training images; classes without images are left out."""
        gaussian = fit_gaussian(features(train), labels(train))

        def scorer(outputs: Outputs) -> torch.Tensor:
            return gaussian.squared_distances(features(outputs)).amin(1)

        return scorer
