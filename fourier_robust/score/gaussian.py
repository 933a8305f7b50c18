"""Gaussians with one covariance for all classes, fitted to features; squared Mahalanobis distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import ROWS, by_rows


@dataclass(frozen=True)
class Gaussian:
    """Fitted means and the map to coordinates in which the covariance is the identity.

    Attributes:
        centre: (D,) float64, subtracted first.
        whiten: (D,R) float64, R the rank of the covariance: directions without variance are left out, which is the
            pseudo-inverse of the covariance.
        means: (C,R) float64, of the classes that have images, whitened.
    """

    centre: torch.Tensor
    whiten: torch.Tensor
    means: torch.Tensor

    def squared_distances(self, features: torch.Tensor) -> torch.Tensor:
        """(N,D) -> (N,C) float64."""
        return by_rows(self._of_block, features)

    def _of_block(self, block: torch.Tensor) -> torch.Tensor:
        white = (block - self.centre) @ self.whiten
        squares = white.square().sum(1, keepdim=True) + self.means.square().sum(1)
        return (squares - 2 * white @ self.means.T).clamp_min_(0)


def fit_gaussian(features: torch.Tensor, labels: torch.Tensor) -> Gaussian:
    """Class means, and the covariance around them: the sum over all images over N.

    Args:
        features: (N,D).
        labels: (N,) int64; all 0 for one Gaussian. Classes without images get no mean.

    Raises:
        ValueError: features that are not finite, or that do not vary.
    """
    if not features.isfinite().all():
        raise ValueError("the features of the training images are not all finite")
    _, place = labels.unique(return_inverse=True)
    counts = place.bincount().double()
    sums = torch.zeros(len(counts), features.shape[1], dtype=torch.float64, device=features.device)
    for block, where in zip(features.split(ROWS), place.split(ROWS), strict=True):
        sums.index_add_(0, where, block.double())
    means = sums / counts[:, None]
    covariance = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    for block, where in zip(features.split(ROWS), place.split(ROWS), strict=True):
        rest = block.double() - means[where]
        covariance.addmm_(rest.T, rest, alpha=1 / len(features))
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values.amax() * len(values) * torch.finfo(torch.float64).eps  # the rank, as scipy.linalg.pinvh
    if float(values.amax()) <= 0 or not kept.any():
        raise ValueError("the features of the training images do not vary within a class")
    whiten = vectors[:, kept] * values[kept].rsqrt()
    centre = sums.sum(0) / len(features)
    return Gaussian(centre, whiten, (means - centre) @ whiten)
