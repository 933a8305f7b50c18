"""Checks of the constructor arguments that several data sets share."""

from __future__ import annotations

from collections.abc import Iterable


def at_least(name: str, value: int, lowest: int) -> int:
    """`value`, or a ValueError naming the argument where it lies below `lowest`."""
    if value < lowest:
        raise ValueError(f"{name}={value} must be at least {lowest}")
    return int(value)


def exactly(name: str, value: int, fixed: int) -> int:
    """`value`, or a ValueError where a number that the data set fixes was given as another one."""
    if value != fixed:
        raise ValueError(f"{name}={value} must be {fixed} for this data set")
    return fixed


def rgb_constants(mean: Iterable[float], std: Iterable[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Any two sequences of numbers (tuples, lists, config lists) as two tuples of three floats; std above 0."""
    channels = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}
    for name, values in channels.items():
        if len(values) != 3:
            raise ValueError(f"{name} must hold 3 numbers (R, G, B), got {len(values)}")
    if min(channels["std"]) <= 0:
        raise ValueError(f"std={channels['std']} must be above 0 in every channel")
    return channels["mean"], channels["std"]
