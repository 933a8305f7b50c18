"""The AUROC of each score on each out-of-distribution set, as a table a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from fourier_robust.report.table import Table
from fourier_robust.run.results import Row


def score_table(rows: Sequence[Row], who: str, remarks: Sequence[str]) -> Table:
    """Sets and means of sets down, scores across, auroc in percent; the other metrics are in the rows."""
    shown = [row for row in rows if row.metric == "auroc"]
    scores = tuple(dict.fromkeys(str(row.score) for row in shown))
    cells = {(row.dataset, row.score): row.value for row in shown}
    names = dict.fromkeys(row.dataset for row in shown)
    lines = tuple((name, tuple(cells.get((name, score)) for score in scores)) for name in names)
    return Table(f"AUROC (%) of {who}, OOD positive", scores, lines, True, tuple(remarks))
