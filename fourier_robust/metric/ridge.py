"""Ridge regression on class targets: one eigendecomposition, then every strength of the penalty costs a product."""

from __future__ import annotations

from collections.abc import Sequence

import torch

BIAS = 100.0  # the constant feature; large, so that the penalty hardly holds the bias back
FLOOR = 1e-5  # added to each standard deviation


class RidgePath:
    """The fits of one training set for all penalties: ``min |X W - Y|^2 + penalty |W|^2``, Y -1, and +1 in the class.

    X holds the features, standardised by their own mean and standard deviation, and the constant 100 as another one.
    With N images and D+1 columns the smaller of X'X and XX' is decomposed, once, in float64.

    Attributes:
        labels: (N,) int64.
        targets: (N,K) float64, the Y.
        dual: whether XX' was the smaller.

    Args:
        features: (N,D), finite.
        labels: (N,) int64 in 0..classes-1.
        classes: K, at least 2.
        standardise: False leaves the features as they are; the constant is appended either way.

    Raises:
        ValueError: no image, a label out of range, fewer than two classes, or a feature that is not finite.

    Source: `fewshot_lsr` of google-research/big_vision: targets, standardisation, constant, eigendecomposition.
    Deviates: float64 (float32 there); the penalty may be chosen by `left_out`, which is not there.
    """

    def __init__(self, features: torch.Tensor, labels: torch.Tensor, classes: int, standardise: bool = True) -> None:
        if classes < 2:
            raise ValueError(f"a probe needs two classes or more, there is {classes}")
        if len(labels) == 0 or len(features) != len(labels):
            raise ValueError(f"{len(features)} rows of features for {len(labels)} labels")
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise ValueError(f"labels must lie in 0..{classes - 1}, there is {int(labels.min())}..{int(labels.max())}")
        wide = features.double()
        if not bool(wide.isfinite().all()):
            raise ValueError("a feature is not finite")
        self.labels = labels
        self._mean = wide.mean(0) if standardise else torch.zeros_like(wide[0])
        self._scale = wide.std(0, unbiased=False) + FLOOR if standardise else torch.ones_like(wide[0])
        self.targets = 2 * torch.nn.functional.one_hot(labels, classes).double() - 1
        x = self._columns(wide)
        self.dual = len(x) < x.shape[1]
        values, vectors = torch.linalg.eigh(x @ x.T if self.dual else x.T @ x)
        self._values = values.clamp(min=0)
        self._left = x.T @ vectors if self.dual else vectors  # weights: left / (values + penalty) @ right
        self._right = vectors.T @ (self.targets if self.dual else x.T @ self.targets)
        self._rows = vectors if self.dual else x @ vectors

    def weights(self, penalty: float) -> torch.Tensor:
        """(D+1,K) float64; the last row is that of the constant."""
        return (self._left / (self._values + _positive(penalty))) @ self._right

    def scores(self, features: torch.Tensor, penalty: float) -> torch.Tensor:
        """(M,D) features, standardised as those of training were -> (M,K) float64; the argmax is the class."""
        return self._columns(features.double()) @ self.weights(penalty)

    def left_out(self, penalty: float) -> torch.Tensor:
        """(N,K) float64: scores of each training image by the fit without it, in closed form.

        Mean and standard deviation stay those of all N. Of a class with one image nothing is left to learn from.
        """
        inverse = 1 / (self._values + _positive(penalty))
        solved, own = (self._rows * inverse) @ self._right, self._rows.square() @ inverse
        if self.dual:  # (XX' + penalty)^-1 Y, and the diagonal of the inverse
            return self.targets - solved / own[:, None]
        return self.targets - (self.targets - solved) / (1 - own)[:, None]

    def _columns(self, wide: torch.Tensor) -> torch.Tensor:
        """(N,D) float64 -> (N,D+1)."""
        return torch.nn.functional.pad((wide - self._mean) / self._scale, (0, 1), value=BIAS)


def best_left_out(path: RidgePath, penalties: Sequence[float]) -> float:
    """Of `penalties` the one that errs least on left-out images; of equal ones that of smaller squared error there.

    Args:
        path: of at least two images per class; of one image, nothing is left of its class when it is left out.
        penalties: at least one, > 0.
    """

    def cost(penalty: float) -> tuple[float, float]:
        scores = path.left_out(penalty)
        wrong = (scores.argmax(1) != path.labels).double().mean()
        return float(wrong), float((scores - path.targets).square().mean())

    return min(penalties, key=cost)


def _positive(penalty: float) -> float:
    if not penalty > 0:
        raise ValueError(f"penalty must be > 0, got {penalty}")
    return penalty
