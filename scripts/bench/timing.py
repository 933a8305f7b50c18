"""Side-by-side timing: on a shared machine only ratios inside one process mean something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def compare(functions: Mapping[str, Callable[[], Any]], rounds: int = 9, min_seconds: float = 0.02) -> dict[str, float]:
    """Median process CPU seconds of one call of each function, measured in turns.

    Every function is warmed up once, then all of them run once per round, so a busy neighbour or a changing clock
    meets them alike. Short functions are repeated within a round until `min_seconds` have gone by.
    CPU only: work queued on a GPU is not waited for.

    Args:
        functions: calls without arguments, by name.
        rounds: measurements per function.
        min_seconds: CPU seconds a single measurement lasts at least.
    """
    repeats = {}
    for name, function in functions.items():
        function()
        repeats[name] = max(1, round(min_seconds / max(_cpu_seconds(function, 1), 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            seconds[name].append(_cpu_seconds(function, repeats[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _cpu_seconds(function: Callable[[], Any], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats


def report(what: str, figure: float, goal: str) -> None:
    """One line: what was measured, the figure, the goal beside it."""
    print(f"{what:<72}{figure:>8.2f}   goal {goal}", flush=True)
