"""The tables as Markdown, and as tidy CSV: one line per cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fourier_robust.report.method_table import Cell, Column, Method, MethodTable, direction, shown
from fourier_robust.report.receipts import Receipts, flags_of
from fourier_robust.report.section import Numbers, Section
from fourier_robust.run.results import csv_text

LEGEND = (
    "Mean ± standard deviation (n - 1) over seeds, the number of seeds in brackets. Bold: the best, where it is better "
    "than every other of its column at p < {alpha:g} by the test named below the table; a test over images tells the "
    "trained models apart, one over seeds the methods. An empty cell: not measured. †: a flagged receipt. n below a "
    "table: images behind each number, where the definition counts nothing else."
)


@dataclass(frozen=True)
class Report:
    """All that the writers of a report need."""

    title: str
    alpha: float
    tables: Sequence[MethodTable]
    receipts: Receipts
    warnings: Sequence[str]
    sections: Sequence[Section] = ()

    @property
    def legend(self) -> str:
        """How to read the tables."""
        return LEGEND.format(alpha=self.alpha)


def method_head(table: MethodTable) -> tuple[str, ...]:
    """Names of the columns that say who was measured."""
    return ("aug", "reg", "arch", *(["settings"] if any(method.variant for method in table.methods) else []))


def method_names(table: MethodTable, method: Method) -> tuple[str, ...]:
    """Who was measured, as `method_head`."""
    return (method.aug, method.reg, method.arch, method.variant)[: len(method_head(table))]


def flagged(cell: Cell) -> bool:
    """Whether a cell rests on a flagged receipt."""
    return any(flags_of(receipt) for _, _, receipt in cell.values)


def notes(table: MethodTable) -> list[tuple[str, str, str]]:
    """(suite, name, text) under a table: per column its definition, what sets it apart, images, precision, test."""
    return [(column.suite, column.name, _note(column)) for column in table.columns]


def _note(column: Column) -> str:
    images = " to ".join(f"{n:,}" for n in dict.fromkeys((column.images[0], column.images[-1])))
    parts = [column.definition or "no definition in the receipt", f"n = {images}, {' and '.join(column.precisions)}"]
    parts += [f"apart from its namesakes: {column.apart}"] if column.apart else []
    return ". ".join([*parts, *([column.verdict] if column.verdict else [])]) + "."


def markdown(report: Report) -> str:
    """All tables with their legends."""
    lines = [f"# {_escape(report.title)}", "", report.legend, ""]
    lines += [f"- {_escape(warning)}" for warning in report.warnings] + ([""] if report.warnings else [])
    for table in report.tables:
        head = [*method_head(table), *(f"{one.suite}: {one.name} ({direction(one)})" for one in table.columns)]
        lines += [f"## Trained on {_escape(table.train_dataset)}", "", _line(map(_escape, head))]
        lines.append(_line(["---"] * len(method_head(table)) + ["---:"] * len(table.columns)))
        for method, cells in zip(table.methods, table.cells, strict=True):
            numbers = [_cell(cell, column) for cell, column in zip(cells, table.columns, strict=True)]
            lines.append(_line([*map(_escape, method_names(table, method)), *numbers]))
        below = [f"- **{_escape(f'{suite}: {name}')}** {_escape(text)}" for suite, name, text in notes(table)]
        lines += ["", *below, ""]
    for section in report.sections:
        lines += _section(section)
    return "\n".join(lines)


def _section(section: Section) -> list[str]:
    """Notes, the open table, and of each picture its sentence and its numbers; numbers of several pictures once."""
    lines = [f"## {_escape(section.title)}", ""]
    for note in section.notes:
        lines += [_escape(note), ""]
    if section.table is not None:
        lines += [*_numbers(section.table), ""]
    for place, picture in enumerate(section.pictures):
        lines += [f"### {_escape(picture.title)}", "", f"(A picture in index.html.) {_escape(picture.alternative)}", ""]
        if all(picture.numbers is not before.numbers for before in section.pictures[:place]):
            lines += [*_numbers(picture.numbers), ""]
    return lines


def _numbers(numbers: Numbers) -> list[str]:
    head = [_line(map(_escape, numbers.columns)), _line(["---"] * len(numbers.columns))]
    return head + [_line(map(_escape, row)) for row in numbers.rows]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    for character in "\\`*_|<>":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")


def _cell(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return ""
    mean = shown(cell.mean, column.percent)
    spread = "" if cell.std is None else f" ± {shown(cell.std, column.percent)}"
    return (f"**{mean}**" if cell.best else mean) + f"{spread} ({len(cell.values)})" + (" †" if flagged(cell) else "")


def cells_csv(report: Report) -> str:
    """One line per filled cell, fractions kept, with what the table says of its column."""
    cells = list(_cells(report))
    return csv_text(cells[0] if cells else (), cells)


def _cells(report: Report) -> Iterable[Mapping[str, Any]]:
    for table in report.tables:
        for method, cells in zip(table.methods, table.cells, strict=True):
            for cell, column in zip(cells, table.columns, strict=True):
                if cell is None:
                    continue
                folders = [f"{receipt.run.shown}/{receipt.folder.name}" for _, _, receipt in cell.values]
                flags = {flag: None for _, _, receipt in cell.values for flag in flags_of(receipt)}
                yield {
                    "train_dataset": method.train_dataset,
                    "arch": method.arch,
                    "aug": method.aug,
                    "reg": method.reg,
                    "variant": method.variant,
                    "suite": column.suite,
                    "dataset": column.dataset,
                    "metric": column.metric,
                    "what": column.what,
                    "mark": column.mark,
                    "value": cell.mean,
                    "std": cell.std,
                    "seeds": len(cell.values),
                    "n": column.images[-1],
                    "higher_is_better": {1: True, -1: False, 0: None}[column.better],
                    "best": cell.best,
                    "p": column.p,
                    "test": column.verdict,
                    "definition": column.definition,
                    "apart": column.apart,
                    "precision": " ".join(column.precisions),
                    "flags": "; ".join(flags),
                    "folders": " ".join(folders),
                }
