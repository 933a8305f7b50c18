"""Per-image values behind a row, from the outcomes that its evaluation left, where they are still there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fourier_robust.errors import DAMAGED_ARRAYS
from fourier_robust.report.collect import Found

ROUNDING = 1e-6  # of values in results.csv


class Images(NamedTuple):
    """What one model did with each image.

    Attributes:
        value: (N,) float64, whose mean is the row's value.
        label: (N,) int64.
        data: identities of the images, condition by condition.
        exact: whether each value is 0 or 1.
    """

    value: np.ndarray
    label: np.ndarray
    data: tuple[str, ...]
    exact: bool


def images_of(found: Found) -> Images | None:
    """Per-image error or nll of one condition, or mean error over corruptions; None where outcomes are not at hand.

    Only values whose mean is the row's value are returned, so outcomes of another measurement are never taken.
    """
    row, data = found.row, found.receipt.content.get("data") or {}
    for keys in _conditions(found, list(data)):
        parts = [_values(found.receipt.folder / "outcomes" / f"{key}.npz", row.metric == "nll") for key in keys]
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            continue
        label = known[0][1]
        if any(not np.array_equal(other, label) for _, other in known):
            continue
        value = np.mean([part for part, _ in known], axis=0)
        if len(value) == row.n and abs(float(value.mean()) - row.value) <= ROUNDING:
            return Images(value, label, tuple(data[key] for key in keys), len(keys) == 1 and row.metric == "error")
    return None


def _conditions(found: Found, keys: Sequence[str]) -> Iterator[list[str]]:
    """Lists of conditions whose mean the row may be: one, the severities of one corruption, or those of a group."""
    row = found.row
    if row.attack or row.eps is not None or row.score:
        return
    if row.metric in ("error", "nll"):
        severity = None if row.severity is None else str(row.severity)
        key = "-".join(part for part in (row.dataset, row.corruption, severity) if part)
        if key in keys:
            yield [key]
    elif row.metric == "mean_error" and row.corruption:
        by_name: dict[str, list[str]] = {}
        for key in keys:
            name = re.fullmatch(re.escape(row.dataset) + r"-(.+)-[1-5]", key)
            if name:
                by_name.setdefault(name[1], []).append(key)
        if row.corruption in by_name:
            yield by_name[row.corruption]
            return
        group = re.match(r"[a-z]+?(\d+)", row.corruption)
        count, names = int(group[1]) if group else 0, list(by_name)
        for first in range(len(names) - count + 1 if count else 0):  # groups stand together, in canonical order
            yield [key for name in names[first : first + count] for key in by_name[name]]


@lru_cache(maxsize=1000)
def _values(path: Path, nll: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """(values, labels) of one condition's outcomes: nll, or whether an image is wrong."""
    try:
        with np.load(path, allow_pickle=False) as file:
            label = file["label"].astype(np.int32)
            return (file["nll"].astype(np.float64) if nll else file["prediction"] != label), label
    except DAMAGED_ARRAYS:
        return None
