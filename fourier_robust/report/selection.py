"""Which measurements become columns: ``suite:metric``, or ``suite:metric@part`` with what else a row names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fourier_robust.errors import UserError

OTHER_SPLIT = re.compile(r"_(train|val)(\+|$)")
PARTS = ("dataset", "corruption", "severity", "attack", "eps", "score")


@dataclass(frozen=True)
class Selector:
    """One entry of ``columns``; ``*`` and ``?`` stand for any characters.

    Attributes:
        suite: pattern of the suite.
        metric: pattern of the metric.
        parts: patterns, each of which must fit the row's data set, corruption, severity, attack, eps or score.
    """

    suite: str
    metric: str
    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Selector:
        """From ``suite:metric@part@part``.

        Raises:
            UserError: it has no ``suite:metric``.
        """
        suite, colon, rest = text.partition(":")
        metric, *parts = rest.split("@")
        if not (suite and colon and metric and all(parts)):
            raise UserError(f"columns: {text!r} is no suite:metric, as clean:error or corruptions:mean_error@common*")
        return cls(suite, metric, tuple(parts))

    def takes(self, row: Mapping[str, str]) -> bool:
        """Whether it selects a row (texts of the file); severities, train and val only where a part names them."""
        if not (fnmatchcase(row["suite"], self.suite) and fnmatchcase(row["metric"], self.metric)):
            return False
        asked = [row["severity"]] if row["severity"] else []
        asked += [row["dataset"]] if OTHER_SPLIT.search(row["dataset"]) else []
        if not all(any(fnmatchcase(text, part) for part in self.parts) for text in asked):
            return False
        named = [row[part] for part in PARTS if row[part]]
        return all(any(fnmatchcase(text, part) for text in named) for part in self.parts)


def first_match(selectors: Sequence[Selector], row: Mapping[str, str]) -> int | None:
    """The place of the first selector that takes `row`, or None."""
    return next((place for place, selector in enumerate(selectors) if selector.takes(row)), None)
