"""OOD scores of features from their definitions, in NumPy's float64, one image at a time."""

from __future__ import annotations

import numpy as np


def mahalanobis_reference(train: np.ndarray, labels: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of Mahalanobis and of relative Mahalanobis, (N,) each, by explicit (pseudo-)inverses."""
    classes = np.unique(labels)
    means = {k: train[labels == k].mean(0) for k in classes}
    rest = np.stack([value - means[k] for value, k in zip(train, labels, strict=True)])
    inverse = np.linalg.pinv(rest.T @ rest / len(train), rcond=1e-12, hermitian=True)
    whole = train - train.mean(0)
    whole_inverse = np.linalg.pinv(whole.T @ whole / len(train), rcond=1e-12, hermitian=True)
    closest, relative = [], []
    for value in features:
        distances = [(value - means[k]) @ inverse @ (value - means[k]) for k in classes]
        background = (value - train.mean(0)) @ whole_inverse @ (value - train.mean(0))
        closest.append(min(distances))
        relative.append(min(distances) - background)
    return np.array(closest), np.array(relative)


def knn_reference(train: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    """The k-th smallest distance between unit vectors, by sorting all of them."""
    known = train / np.linalg.norm(train, axis=1, keepdims=True)
    return np.array(
        [np.sort(np.linalg.norm(known - value / np.linalg.norm(value), axis=1))[k - 1] for value in features]
    )


def vim_reference(
    train: np.ndarray, features: np.ndarray, weight: np.ndarray, bias: np.ndarray, dim: int
) -> np.ndarray:
    """Residuals through the complement of a singular value decomposition of the moved training features."""
    origin = -np.linalg.pinv(weight) @ bias
    principal = np.linalg.svd(train - origin, full_matrices=True)[2][:dim]

    def residual(values: np.ndarray) -> np.ndarray:
        moved = values - origin
        return np.linalg.norm(moved - moved @ principal.T @ principal, axis=1)

    alpha = (train @ weight.T + bias).max(1).mean() / residual(train).mean()
    return alpha * residual(features) - np.log(np.exp(features @ weight.T + bias).sum(1))
