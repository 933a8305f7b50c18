"""Result rows as a table a person reads: corruptions down, severities across, the mean last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fourier_robust.run.results import Row


@dataclass(frozen=True)
class Table:
    """A small table of numbers.

    Attributes:
        title: one line.
        columns: names of the number columns.
        rows: (name, values) with None for an empty cell; fractions, except where `percent` is False.
        percent: whether values are fractions, printed in percent with one decimal.
        remarks: lines below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    percent: bool
    remarks: tuple[str, ...] = ()

    def cell(self, value: float | None) -> str:
        """A value as printed."""
        if value is None:
            return ""
        return f"{100 * value:.1f}" if self.percent else f"{value:.4f}"

    def text(self) -> str:
        """Title, aligned columns and remarks."""
        names = max(len(name) for name, _ in self.rows)
        width = max(7, *(len(column) + 2 for column in self.columns))
        lines = [self.title, "", " " * names + "".join(f"{column:>{width}}" for column in self.columns)]
        for name, values in self.rows:
            lines.append(f"{name:<{names}}" + "".join(f"{self.cell(value):>{width}}" for value in values))
        return "\n".join([*lines, *([""] if self.remarks else []), *self.remarks])

    def records(self) -> list[dict[str, str | float | None]]:
        """One dict per row, fractions kept, for a CSV file."""
        return [{"": name} | dict(zip(self.columns, values, strict=True)) for name, values in self.rows]


def corruption_table(rows: Sequence[Row], who: str, remarks: Sequence[str]) -> Table:
    """Error in percent: clean first, then corruptions x severities with their mean, then the group means."""
    severities = sorted({row.severity for row in rows if row.severity is not None})
    columns = (*map(str, severities), "mean")
    cells = {(row.corruption, row.severity): row.value for row in rows if row.metric == "error"}
    means = {row.corruption: row.value for row in rows if row.metric == "mean_error"}
    measured = list(dict.fromkeys(row.corruption for row in rows if row.severity is not None))
    blank = (None,) * len(severities)
    lines: list[tuple[str, tuple[float | None, ...]]] = [("clean", (*blank, cells[(None, None)]))]
    for name in measured:
        lines.append((str(name), (*(cells.get((name, severity)) for severity in severities), means[name])))
    lines += [(f"mean of {name}", (*blank, value)) for name, value in means.items() if name not in measured]
    extras = [f"{row.metric}: {100 * row.value:.2f}" for row in rows if row.metric in ("mce", "relative_mce")]
    corrupted = next((row.dataset for row in rows if row.severity is not None), rows[0].dataset)
    title = f"error (%) of {who} on {corrupted}, n = {rows[0].n}"
    return Table(title, columns, tuple(lines), True, (*extras, *remarks))


def metric_table(rows: Sequence[Row], who: str, remarks: Sequence[str]) -> Table:
    """Data sets down, metrics across, as in the file (fractions, nats); points of a curve, ``p(7)``, are for a plot.

    What the columns corruption (a layer), attack with its eps, and score name stands behind the data set.
    """
    metrics = tuple(dict.fromkeys(row.metric for row in rows if not row.metric.endswith(")")))
    named = [(_named(row), row) for row in rows]
    cells = {(name, row.metric): row.value for name, row in named}
    names = dict.fromkeys(name for name, _ in named)
    lines = tuple((name, tuple(cells.get((name, metric)) for metric in metrics)) for name in names)
    return Table(f"{who}, n = {rows[0].n}", metrics, lines, False, tuple(remarks))


def _named(row: Row) -> str:
    eps = f"eps {row.eps:.4g}" if row.attack and row.eps is not None else None
    return " ".join(filter(None, (row.dataset, row.corruption, row.attack, eps, row.score)))


CALIBRATION = ("error", "ece", "ece_scaled", "rms_ce", "nll", "nll_scaled", "brier", "aurc")


def calibration_table(rows: Sequence[Row], who: str, remarks: Sequence[str]) -> Table:
    """Clean images, corruptions (means over severities), then the group means; some metrics across, as in the file."""
    whole = [row for row in rows if row.severity is None and row.metric != "temperature"]
    cells = {(row.corruption, row.metric.removeprefix("mean_")): row.value for row in whole}
    single = {row.corruption for row in rows if row.severity is not None}
    metrics = tuple(metric for metric in CALIBRATION if (None, metric) in cells)
    lines = []
    for corruption in dict.fromkeys(row.corruption for row in whole):
        name = "clean" if corruption is None else corruption if corruption in single else f"mean of {corruption}"
        lines.append((name, tuple(cells[corruption, metric] for metric in metrics)))
    corrupted = next((row.dataset for row in rows if row.severity is not None), whole[0].dataset)
    title = f"calibration of {who} on {corrupted}, n = {whole[0].n} (fractions; nll in nats)"
    return Table(title, metrics, tuple(lines), False, tuple(remarks))


def attack_table(rows: Sequence[Row], who: str, remarks: Sequence[str]) -> Table:
    """Error in percent: without attack first, then attacks down and eps across, then the worst case per norm."""
    attacked = [row for row in rows if row.attack is not None and row.metric in ("error", "worst_case")]
    sizes = sorted({row.eps for row in attacked if row.eps is not None})
    names = sorted(dict.fromkeys((row.metric, row.attack) for row in attacked), key=lambda name: name[0])
    cells = {(row.metric, row.attack, row.eps): row.value for row in attacked}
    (clean,) = (row for row in rows if row.attack is None and row.metric == "error")
    lines: list[tuple[str, tuple[float | None, ...]]] = [("no attack", (clean.value, *(None for _ in sizes)))]
    for metric, attack in names:
        name = str(attack) if metric == "error" else f"worst case {attack}"
        lines.append((name, (None, *(cells.get((metric, attack, eps)) for eps in sizes))))
    title = f"error (%) of {who} on {clean.dataset} under attack, eps across, n = {clean.n}"
    return Table(title, ("0", *map(_eps, sizes)), tuple(lines), True, tuple(remarks))


def _eps(eps: float) -> str:
    """A size in [0,1] pixels; below 0.13 in 255ths, where it is a multiple of half of one."""
    halves = 2 * 255 * eps
    return f"{round(halves) / 2:g}/255" if eps < 0.13 and abs(halves - round(halves)) < 1e-3 else f"{eps:.4g}"


def table_of(rows: Sequence[Row], who: str, remarks: Sequence[str]) -> Table:
    """The table that fits the rows: that of their suite, by severity where they have one, by metric otherwise."""
    if rows[0].suite == "calibration":
        return calibration_table(rows, who, remarks)
    if rows[0].suite == "attacks":
        return attack_table(rows, who, remarks)
    if rows[0].suite == "ood":
        from fourier_robust.report.ood_table import score_table  # it needs `Table`

        return score_table(rows, who, remarks)
    by_severity = any(row.severity is not None for row in rows)
    return corruption_table(rows, who, remarks) if by_severity else metric_table(rows, who, remarks)
