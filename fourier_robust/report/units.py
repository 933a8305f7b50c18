"""Values that cannot be what their metric is: percent in place of fractions, numbers in another locale."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from fourier_robust.run.results import COLUMNS

# metrics that are a share of something, also as mean_<metric>
FRACTIONS = ("error", "error(*", "error_*", "best_error*", "worst_case", "*accuracy", "follows_*", "auroc", "aupr*",
             "fpr95*", "ece", "ece_*", "rms_ce*", "low", "mid", "high", "p(*)", "hf_fraction")  # fmt: skip
ROUNDING = 1e-6  # of values in results.csv


def wrong_unit(metric: str, value: float) -> str:
    """What is wrong with a fraction outside [0,1]; empty where nothing is, or where the metric is no fraction."""
    names = (metric, metric.removeprefix("mean_"))
    if not any(fnmatchcase(name, pattern) for name in names for pattern in FRACTIONS):
        return ""
    if not math.isfinite(value) or -ROUNDING <= value <= 1 + ROUNDING:
        return ""
    percent = ": percent? Divide by 100" if 1 < value <= 100 else ""
    return f"{metric} is {value:g}, but it is a fraction, from 0 to 1{percent}"


def locale_hint(cells: Sequence[str]) -> str:
    """What to say of fields that do not fit, where decimal commas or semicolons explain it; empty otherwise.

    Args:
        cells: of the header, of a whole line, or one of them.
    """
    if len(cells) == 1 and cells[0].count(";") == len(COLUMNS) - 1:
        return (
            "; it is separated by semicolons, as a spreadsheet with decimal commas does: save it with points and commas"
        )
    one = len(cells) == 1 and re.fullmatch(r"-?\d+,\d+", cells[0])
    split = len(cells) > len(COLUMNS) and not any(re.fullmatch(r"-?\d+\.\d+", cell) for cell in cells)
    return "; decimal commas? Save it with decimal points" if one or split else ""
