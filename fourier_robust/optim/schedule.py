"""Learning rate schedules: pure functions of the position in training, so resuming needs the step only."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Protocol


class Schedule(Protocol):
    """A multiplier on the base learning rate."""

    def __call__(self, epoch: float, epochs: float) -> float:
        """The multiplier after `epoch` (fractional) of `epochs` epochs."""
        ...


class MultiStep:
    """``gamma ** (number of milestones reached)``.

    Args:
        milestones: in epochs as given, increasing; another number of epochs does not move them.
        gamma: factor at each milestone, in (0, 1].

    Raises:
        ValueError: milestones that do not increase from above 0, or gamma outside (0, 1].
    """

    def __init__(self, milestones: tuple[float, ...], gamma: float) -> None:
        self.milestones = tuple(milestones)
        self.gamma = gamma
        if any(later <= earlier for earlier, later in zip((0.0, *self.milestones), self.milestones, strict=False)):
            raise ValueError(f"milestones must be positive and increasing, got {self.milestones}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {gamma}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """See `Schedule`; `epochs` does not matter."""
        return self.gamma ** bisect_right(self.milestones, epoch)


class Cosine:
    """Half a cosine from 1 down to `final`.

    Args:
        final: the multiplier at the end, in [0, 1].

    Raises:
        ValueError: final outside [0, 1].

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts.
    """

    def __init__(self, final: float = 0.0) -> None:
        if not 0 <= final <= 1:
            raise ValueError(f"final must lie in [0, 1], got {final}")
        self.final = final

    def __call__(self, epoch: float, epochs: float) -> float:
        """See `Schedule`; stays at `final` after the end."""
        part = min(epoch / epochs, 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * part)) / 2


class Triangle:
    """Straight up from `start` to 1 at `peak`, straight down to `end`.

    Args:
        start: the multiplier at step 0, >= 0.
        peak: where it is 1, as a fraction of training, in (0, 1).
        end: the multiplier after the last step, >= 0.

    Raises:
        ValueError: a value outside its range.

    Source: the speed runs of KellerJordan/cifar10-airbench.

    Deviates: the corner lies at `peak` exactly; airbench rounds it down to a whole step.
    """

    def __init__(self, start: float, peak: float, end: float) -> None:
        if not 0 < peak < 1:
            raise ValueError(f"peak must lie in (0, 1), got {peak}")
        if start < 0 or end < 0:
            raise ValueError(f"start and end must be >= 0, got {start} and {end}")
        self.start, self.peak, self.end = start, peak, end

    def __call__(self, epoch: float, epochs: float) -> float:
        """See `Schedule`; stays at `end` after the end."""
        part = min(epoch / epochs, 1.0)
        if part < self.peak:
            return self.start + (1 - self.start) * part / self.peak
        return self.end + (1 - self.end) * (1 - part) / (1 - self.peak)
