"""Ridge fits of all penalties against a direct solve for each, and left-out scores against fits without the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fourier_robust.metric.ridge import BIAS, FLOOR, RidgePath, best_left_out

PENALTIES = (2.0**-10, 1.0, 1024.0, 2.0**20)


def drawn(n: int, d: int, k: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around a centre per class; each class at least twice."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % k
    centres = torch.randn(k, d, generator=generator)
    return (centres[labels] + torch.randn(n, d, generator=generator)) * 3 + 5, labels


def columns(features: torch.Tensor, of: torch.Tensor, standardise: bool) -> np.ndarray:
    """Standardised by `of`, the constant appended; NumPy, float64."""
    wide, own = features.double().numpy(), of.double().numpy()
    if standardise:
        wide = (wide - own.mean(0)) / (own.std(0) + FLOOR)
    return np.concatenate((wide, np.full((len(wide), 1), BIAS)), 1)


def solved(x: np.ndarray, labels: torch.Tensor, k: int, penalty: float) -> np.ndarray:
    """(D+1,K) by the normal equations."""
    y = 2 * np.eye(k)[labels.numpy()] - 1
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize(("n", "d"), [(60, 12), (20, 45), (24, 23), (24, 24)])
def test_equals_a_direct_solve(n: int, d: int, standardise: bool) -> None:
    features, labels = drawn(n, d, 4)
    others, _ = drawn(31, d, 4, seed=1)
    path = RidgePath(features, labels, 4, standardise)
    assert path.dual == (n < d + 1)
    x = columns(features, features, standardise)
    for penalty in PENALTIES:
        weights = solved(x, labels, 4, penalty)
        np.testing.assert_allclose(path.weights(penalty).numpy(), weights, rtol=1e-6, atol=1e-9)
        expected = columns(others, features, standardise) @ weights
        np.testing.assert_allclose(path.scores(others, penalty).numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(40, 7), (14, 30)])
def test_left_out_scores_are_those_of_fits_without_the_image(n: int, d: int) -> None:
    features, labels = drawn(n, d, 3)
    path = RidgePath(features, labels, 3)
    x = columns(features, features, True)
    for penalty in PENALTIES:
        rest = [np.delete(np.arange(n), row) for row in range(n)]
        expected = [x[row] @ solved(x[keep], labels[keep], 3, penalty) for row, keep in enumerate(rest)]
        np.testing.assert_allclose(path.left_out(penalty).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_penalty_is_chosen_on_left_out_images() -> None:
    """Many features of which one matters: the smallest penalty fits all training images, and errs on left-out ones."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(40) % 2
    features = torch.randn(40, 200, generator=generator)
    features[:, 0] += 4 * labels
    path = RidgePath(features, labels, 2, standardise=False)
    errors = {one: float((path.left_out(one).argmax(1) != labels).double().mean()) for one in PENALTIES}
    assert len(set(errors.values())) > 1
    assert errors[best_left_out(path, PENALTIES)] == min(errors.values())
    assert best_left_out(path, (8.0,)) == 8.0


def test_equal_errors_are_told_apart_by_squared_error() -> None:
    features = torch.tensor([[-3.0], [-3.0], [3.0], [3.0]])
    path = RidgePath(features, torch.tensor([0, 0, 1, 1]), 2)
    tried = (4.0, 2.0**-10, 1.0)
    errors = {one: float((path.left_out(one) - path.targets).square().mean()) for one in tried}
    assert all(torch.equal(path.left_out(one).argmax(1), path.labels) for one in tried)
    assert best_left_out(path, tried) == min(errors, key=lambda one: errors[one]) != tried[0]


def test_a_constant_feature_changes_nothing() -> None:
    features, labels = drawn(12, 5, 3)
    dead = torch.cat((features, torch.full((12, 1), 0.25)), 1)
    later = torch.cat((features, torch.full((12, 1), 9.0)), 1)
    for penalty in (0.5, 1024.0):
        plain = RidgePath(features, labels, 3).scores(features, penalty)
        torch.testing.assert_close(RidgePath(dead, labels, 3).scores(later, penalty), plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("features", "labels", "classes", "said"),
    [
        (torch.zeros(2, 3), [0, 1], 1, "two classes"),
        (torch.zeros(0, 3), [], 2, "0 rows"),
        (torch.zeros(2, 3), [0], 2, "2 rows of features for 1 labels"),
        (torch.zeros(2, 3), [0, 2], 2, r"labels must lie in 0\.\.1"),
        (torch.full((2, 3), torch.nan), [0, 1], 2, "not finite"),
    ],
)
def test_refusals(features: torch.Tensor, labels: list[int], classes: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RidgePath(features, torch.tensor(labels, dtype=torch.int64), classes)


def test_a_penalty_is_positive() -> None:
    features, labels = drawn(6, 2, 2)
    for use in (RidgePath(features, labels, 2).left_out, RidgePath(features, labels, 2).weights):
        with pytest.raises(ValueError, match="penalty must be > 0"):
            use(0.0)
