"""Every question at once: the suites whose data are there, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from fourier_robust.dataset.base import Dataset
from fourier_robust.errors import UserError
from fourier_robust.suite.base import Condition

HEADLINES = (
    *("error", "mean_error", "ece", "auroc", "low", "high"),
    *("worst_case", "follows_phase", "gap", "mean_accuracy", "best_error"),
)


class All:
    """Other suites, each asked as if it were alone; the front door leaves out those whose data are missing, aloud.

    Args:
        parts: name -> suite.
        only: names of those to ask; None asks all.
        without: names of those to leave out.

    Raises:
        ValueError: a name that is none of the parts.
    """

    name = "all"

    def __init__(
        self, parts: Mapping[str, Any], only: list[str] | None = None, without: list[str] | None = None
    ) -> None:
        for key, names in (("only", only), ("without", without)):
            unknown = [name for name in names or () if name not in parts]
            if unknown:
                raise ValueError(f"suite.{key}: there is no suite {unknown[0]}; there are {', '.join(parts)}")
        chosen = [name for name in parts if (only is None or name in only) and name not in (without or ())]
        if not chosen:
            raise ValueError("suite.only and suite.without leave no suite")
        self.parts = {name: parts[name] for name in chosen}

    @property
    def definitions(self) -> dict[str, str]:
        """Of all parts, by ``suite: metric``."""
        return {
            f"{name}: {metric}": text for name, part in self.parts.items() for metric, text in part.definitions.items()
        }

    def conditions(self, dataset: Dataset) -> list[Condition]:
        """Those of the parts whose data are there; see `Suite.conditions`."""
        found = []
        for part in self.parts.values():
            with contextlib.suppress(UserError):
                found += part.conditions(dataset)
        return found

    @staticmethod
    def summary(rows: Sequence[Any]) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[float | None, ...]], ...]]:
        """Columns and lines of a short table: the metrics of `HEADLINES` by suite and set, no single severities."""
        cells: dict[str, dict[str, float]] = {}
        for row in rows:
            if row.severity is None and row.metric in HEADLINES:
                eps = None if row.eps is None else f"eps {row.eps:.4g}"
                parts = (row.suite, row.dataset, row.corruption, row.attack, eps, row.score)
                cells.setdefault(" ".join(filter(None, parts)), {})[row.metric] = row.value
        columns = tuple(name for name in HEADLINES if any(name in line for line in cells.values()))
        return columns, tuple((name, tuple(map(line.get, columns))) for name, line in cells.items())
