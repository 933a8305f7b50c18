"""Means over groups of images of which many show one object: intervals from drawing objects, not images."""

from __future__ import annotations

import torch

from fourier_robust.metric.outcome import Estimate


def grouped_sums(values: torch.Tensor, objects: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Per object the sum of its values and their number, (count,) float64 each.

    Args:
        values: (N,), one per image.
        objects: (N,) int64 in [0, count), the object that each image shows.
        count: of objects.
    """
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, objects, values.double())
    return sums, torch.bincount(objects, minlength=count).double()


def draw_objects(objects: int, generator: torch.Generator, draws: int = 1000) -> torch.Tensor:
    """(draws,O) float64: how often each of the O objects is among O drawn with replacement.

    Args:
        objects: O.
        generator: on the CPU.
        draws: how many.
    """
    chosen = torch.randint(objects, (draws, objects), generator=generator)
    ones = torch.ones(1, 1, dtype=torch.float64).expand(draws, objects)
    return torch.zeros(draws, objects, dtype=torch.float64).scatter_add_(1, chosen, ones)


def bootstrap_means(
    sums: torch.Tensor, counts: torch.Tensor, generator: torch.Generator, draws: int = 1000
) -> torch.Tensor:
    """Means of the G groups over drawn objects; the same objects in all groups, so that differences keep their pairs.

    Args:
        sums: (G,O) of `grouped_sums`.
        counts: (G,O) likewise.
        generator: as in `draw_objects`.
        draws: likewise.

    Returns:
        (draws,G) float64; NaN where no drawn object has an image in the group.
    """
    times = draw_objects(sums.shape[1], generator, draws)
    return (times @ sums.double().T) / (times @ counts.double().T)


def percentile_estimate(value: float, drawn: torch.Tensor, n: int) -> Estimate:
    """`value` with the central 95 % of (R,) `drawn`; NaN among them is left out."""
    low, high = drawn.nanquantile(torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    return Estimate(value, low, high, n)
