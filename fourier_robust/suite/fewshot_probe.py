"""What `suite=fewshot` keeps of one set of images, which of them a probe learns from, and how often it errs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import nn

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.features import features
from fourier_robust.engine.last_layer import last_layer, last_linear
from fourier_robust.engine.predict import Precision
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Z95, Estimate
from fourier_robust.metric.ridge import RidgePath, best_left_out


class Observed(NamedTuple):
    """label (N,) int64, places among the set's classes; features (N,D) float32."""

    label: torch.Tensor
    features: torch.Tensor


class Draws(NamedTuple):
    """The training images that any probe of a set learns from.

    Attributes:
        order: (M,) int64, ascending positions in the training split.
        rows: of each seed (K,S): places in `order`, S images of each class; a probe of fewer shots takes the first.
    """

    order: torch.Tensor
    rows: list[torch.Tensor]


class Probed(NamedTuple):
    """Of one set and number of shots: wrong (seeds,N) float64, 0 or 1; penalties, one per seed."""

    wrong: torch.Tensor
    penalties: list[float]


def draw(labels: torch.Tensor, names: Sequence[str], shots: int, generators: Iterable[torch.Generator]) -> Draws:
    """`shots` images of each class, anew for each generator.

    Args:
        labels: (N,) int64, places in `names`.
        names: of the classes.
        shots: images per class.
        generators: one per seed.

    Raises:
        UserError: a class with fewer images.
    """
    counts = labels.bincount(minlength=len(names))
    few = int(counts.argmin())
    if int(counts[few]) < shots:
        raise UserError(f"class {names[few]} has {int(counts[few])} training images, {shots} shots are wanted")
    places = [(labels == label).nonzero()[:, 0] for label in range(len(names))]
    chosen = [
        torch.stack([own[torch.randperm(len(own), generator=generator)[:shots]] for own in places])
        for generator in generators
    ]
    order = torch.stack(chosen).unique()
    return Draws(order, [torch.searchsorted(order, one) for one in chosen])


def observe(model: nn.Module, batches: Iterable[Batch], layer: str | None, precision: Precision) -> Observed:
    """One pass over `batches`, at least one.

    Args:
        model: takes (B,C,H,W) in [0,1].
        batches: images and labels.
        layer: a module whose output is probed, (B,D), or (B,D,H,W) averaged over H and W; None: the input of the
            linear layer that the logits come from.
        precision: of the forward pass.

    Raises:
        UserError: there is no such layer, or its output is of another kind.
    """
    rest = iter(batches)
    first = next(rest)
    whole = chain([first], rest)
    parts: list[tuple[torch.Tensor, torch.Tensor]] = []
    if layer is not None:
        for seen in features(model, whole, [layer], precision):
            parts.append((seen.labels, _flat(seen.layers[layer], layer).cpu()))
    else:
        linear = last_linear(model, first.images[:2])
        if linear is None:
            raise UserError(
                "suite=fewshot: the model has no linear layer that the logits come from, or hides it; name the module "
                "whose output is probed with suite.layer=NAME"
            )
        for end in last_layer(model, whole, linear, precision=precision):
            assert end.features is not None
            parts.append((end.labels, end.features))
    return Observed(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _flat(output: torch.Tensor, layer: str) -> torch.Tensor:
    if output.ndim not in (2, 4):
        raise UserError(f"suite.layer: {layer} puts out {tuple(output.shape)}, a probe takes (B,D) or (B,D,H,W)")
    return output if output.ndim == 2 else output.mean((2, 3))


class Probe:
    """Fits of one set.

    Args:
        train: the images of `draws.order`.
        test: what is predicted.
        draws: see `draw`.
        classes: K.
        standardise: see `RidgePath`.
    """

    def __init__(self, train: Observed, test: Observed, draws: Draws, classes: int, standardise: bool) -> None:
        self.train, self.test, self.draws = train, test, draws
        self.classes, self.standardise = classes, standardise

    def errors(self, shots: int, penalties: Sequence[float]) -> torch.Tensor:
        """(penalties,) float64: error on the test images, mean over seeds."""
        found = [[float(self._wrong(path, one).mean()) for one in penalties] for path in self._paths(shots)]
        return torch.tensor(found, dtype=torch.float64).mean(0)

    def probed(self, shots: int, penalties: Sequence[float]) -> Probed:
        """With the one of `penalties` that errs least on left-out training images, per seed; or the only one."""
        wrong, chosen = [], []
        for path in self._paths(shots):
            chosen.append(best_left_out(path, penalties) if len(penalties) > 1 else penalties[0])
            wrong.append(self._wrong(path, chosen[-1]))
        return Probed(torch.stack(wrong), chosen)

    def _paths(self, shots: int) -> Iterable[RidgePath]:
        for rows in self.draws.rows:
            index = rows[:, :shots].flatten()
            yield RidgePath(self.train.features[index], self.train.label[index], self.classes, self.standardise)

    def _wrong(self, path: RidgePath, penalty: float) -> torch.Tensor:
        return (path.scores(self.test.features, penalty).argmax(1) != self.test.label).double()


def best_by_rank(errors: Sequence[torch.Tensor], penalties: Sequence[float]) -> float:
    """Of `penalties` the one whose rank, mean over sets, is best; as published, on the test images.

    Args:
        errors: of each set, (penalties,) errors.
        penalties: ascending.
    """
    ranks = torch.stack([(-one).argsort(stable=True).argsort(stable=True).double() for one in errors]).mean(0)
    return penalties[int(ranks.argmax())]


def mean_of_sets(estimates: Sequence[Estimate]) -> Estimate:
    """Plain mean over sets; the interval is that of independent sets of images."""
    count = len(estimates)
    value = sum(one.value for one in estimates) / count
    half = Z95 * sum(((one.high - one.low) / (2 * Z95)) ** 2 for one in estimates) ** 0.5 / count
    return Estimate(value, value - half, value + half, sum(one.n for one in estimates))


def spread_of_draws(values: torch.Tensor) -> Estimate:
    """Standard deviation (n - 1) of (n,) values, n > 1, with the 95 % interval for normally distributed ones."""
    free = len(values) - 1
    squares = float((values - values.mean()).square().sum())
    low, high = (squares / _chi_square(share, free) for share in (0.975, 0.025))
    return Estimate((squares / free) ** 0.5, low**0.5, high**0.5, len(values))


def _chi_square(share: float, free: int) -> float:
    """The quantile of the chi-square law with `free` degrees of freedom, by bisection."""
    low, high = torch.tensor(0.0, dtype=torch.float64), torch.tensor(100.0 + 10 * free, dtype=torch.float64)
    shape = torch.tensor(free / 2, dtype=torch.float64)
    for _ in range(200):
        middle = (low + high) / 2
        below = torch.special.gammainc(shape, middle / 2) < share
        low, high = (middle, high) if below else (low, middle)
    return float(high)
