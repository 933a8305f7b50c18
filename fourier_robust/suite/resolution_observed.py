"""What `suite=resolution` keeps of one set of images, and the measurements made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from fourier_robust.dataset.label_space import LabelSpace
from fourier_robust.metric.cluster_bootstrap import percentile_estimate
from fourier_robust.metric.outcome import GAP, error_rate, mean_of_images
from fourier_robust.suite.base import Condition, Measurement

MASKED = "_masked"  # behind a metric's name: the argmax among a set's classes alone
_AT_ONCE = 50  # draws of the bootstrap: 20 MB of weights for 50,000 images


class Observed(NamedTuple):
    """What is kept of one set of images.

    Attributes:
        label: (N,) int64, of a shifted set among the classes it shares with the model; `UNREADABLE` of images that are.
        prediction: (N,A,S) int64, of A models at S sizes, both in the order of the suite; of a shifted set the shared
            class, -1 for another one of the model's.
        masked: the same with the argmax among the shared classes alone; empty where they are all of the model's.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    masked: torch.Tensor = torch.empty(0, dtype=torch.int64)

    def of(self, chosen: torch.Tensor) -> Observed:
        """Images `chosen` ((N,) bool) alone."""
        return Observed(*(column[chosen] if len(column) else column for column in self))


def rules_of(space: LabelSpace | None) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """(B,K) logits -> (B,) `Observed.prediction`, and `Observed.masked` where there is one."""
    if space is None:
        return [lambda logits: logits.argmax(1)]

    def over_all(logits: torch.Tensor) -> torch.Tensor:
        return space.over_all(logits.argmax(1))

    return [over_all] if space.whole else [over_all, space.masked]


def row_name(name: str, kind: str, size: int | None = None) -> str:
    """How tables call a set at a size: ``imagenet@160``; for a re-fitted model ``imagenet@160+batch_norm``."""
    return name + ("" if size is None else f"@{size}") + ("" if kind == "none" else f"+{kind}")


def measured(
    condition: Condition,
    seen: Observed,
    sizes: Sequence[int],
    own: int,
    kinds: Sequence[str],
    generator: torch.Generator,
    draws: int,
) -> Iterator[Measurement]:
    """Error of each model at each size and its gap to the first one at the own size; then each model's best size.

    With `Observed.masked`, then the same by it.

    Args:
        condition: of the set.
        seen: its images.
        sizes: pixels, ascending.
        own: one of them.
        kinds: of the models, the one as it is called ``none``.
        generator: of the bootstrap.
        draws: of it.
    """
    for rule, prediction in (("", seen.prediction), (MASKED, seen.masked)):
        if len(prediction):
            wrong = (prediction != seen.label[:, None, None]).double()
            yield from _by_rule(rule, condition, wrong, sizes, own, kinds, generator, draws)


def _by_rule(
    rule: str,
    condition: Condition,
    wrong: torch.Tensor,
    sizes: Sequence[int],
    own: int,
    kinds: Sequence[str],
    generator: torch.Generator,
    draws: int,
) -> Iterator[Measurement]:
    """The same of (N,A,S) float64, 1 where a prediction by this rule is wrong."""
    reference = wrong[:, kinds.index("none"), sizes.index(own)] if "none" in kinds else None
    for place, size in enumerate(sizes):
        for which, kind in enumerate(kinds):
            row = replace(condition, dataset=row_name(condition.dataset, kind, size))
            values = wrong[:, which, place]
            yield Measurement(row, f"error{rule}", error_rate(values))
            if reference is not None:
                yield Measurement(row, f"gap{rule}", mean_of_images(values - reference).within(GAP))
    for which, kind in enumerate(kinds):
        row = replace(condition, dataset=row_name(condition.dataset, kind))
        values = wrong[:, which]
        drawn = torch.tensor(sizes, dtype=torch.float64)[_best_of_draws(values, generator, draws)]
        best = float(sizes[int(values.mean(0).argmin())])
        yield Measurement(row, f"best_size{rule}", percentile_estimate(best, drawn, len(values)))
        yield Measurement(row, f"best_error{rule}", error_rate(_at_best_of_others(values)))


def _at_best_of_others(wrong: torch.Tensor) -> torch.Tensor:
    """(N,S) -> (N,): at the size that is best on the other half of the images; one image alone has no other."""
    if len(wrong) < 2:
        return wrong[:, int(wrong.mean(0).argmin())]
    found = torch.empty(len(wrong), dtype=wrong.dtype)
    for half in (0, 1):
        found[half::2] = wrong[half::2, int(wrong[1 - half :: 2].mean(0).argmin())]
    return found


def _best_of_draws(wrong: torch.Tensor, generator: torch.Generator, draws: int) -> torch.Tensor:
    """(draws,) int64: place of the lowest mean of (N,S), over N images drawn with replacement."""
    count, found = len(wrong), []
    for first in range(0, draws, _AT_ONCE):
        chosen = torch.randint(count, (min(_AT_ONCE, draws - first), count), generator=generator)
        times = torch.zeros(chosen.shape, dtype=wrong.dtype)
        times.scatter_add_(1, chosen, torch.ones_like(times))
        found.append((times @ wrong).argmin(1))
    return torch.cat(found)
