"""The page: one HTML file that needs no network, no script and nothing beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.report.markdown import Report, flagged, method_head, method_names, notes
from fourier_robust.report.method_table import MethodTable, direction, shown

TEMPLATE = "page.html.j2"


def template() -> Any:
    """The compiled template.

    Raises:
        UserError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError:
        raise UserError("fr-report needs jinja2: pip install 'fourier-robust[report]'") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(TEMPLATE)


def page(report: Report, made: Any) -> str:
    """The whole page; `made` is what `template` gave."""
    text = made.render(
        title=report.title,
        legend=report.legend,
        warnings=report.warnings,
        tables=[_table(report, number, table) for number, table in enumerate(report.tables, 1)],
        receipts=report.receipts.shown,
        settings=report.receipts.settings,
        runs=len({one.run for one in report.receipts.shown}),
    )
    return str(text)


def _table(report: Report, number: int, table: MethodTable) -> dict[str, Any]:
    groups: dict[str, int] = {}
    for column in table.columns:
        groups[column.suite] = groups.get(column.suite, 0) + 1
    starts = {column.suite: place for place, column in reversed(list(enumerate(table.columns)))}
    first = set(starts.values())
    return {
        "key": f"table{number}",
        "train_dataset": table.train_dataset,
        "suites": list(groups),
        "head": method_head(table),
        "groups": groups,
        "columns": [
            {
                "key": f"d{number}-{place}",
                "name": column.name,
                "arrow": {1: "↑", -1: "↓", 0: "·"}[column.better],
                "direction": direction(column),
                "percent": column.percent,
                "first": place in first,
            }
            for place, column in enumerate(table.columns)
        ],
        "rows": [
            {
                "names": method_names(table, method),
                "cells": [_cell(report, table, cells, place, place in first) for place in range(len(cells))],
            }
            for method, cells in zip(table.methods, table.cells, strict=True)
        ],
        "notes": notes(table),
    }


def _cell(report: Report, table: MethodTable, cells: Any, place: int, first: bool) -> dict[str, Any]:
    cell, percent = cells[place], table.columns[place].percent
    if cell is None:
        return {"mean": "", "first": first}
    return {
        "first": first,
        "mean": shown(cell.mean, percent),
        "std": "" if cell.std is None else shown(cell.std, percent),
        "best": cell.best,
        "flagged": flagged(cell),
        "values": [
            {
                "seed": "" if seed is None else str(seed),
                "value": shown(value, percent),
                "receipt": report.receipts.key_of[receipt],
            }
            for seed, value, receipt in cell.values
        ],
    }
