"""The page: one HTML file that needs no network and nothing beside it; whole without its script."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.report.markdown import Report, flagged, method_head, method_names, notes
from fourier_robust.report.method_table import MethodTable, direction, shown
from fourier_robust.report.section import Section

TEMPLATE = "page.html.j2"
SCRIPT = "page.js"
TAG = re.compile(r"<[^>]+>")
ID = re.compile(r"""( id="|href="#|url\(#)""")


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
    from markupsafe import Markup

    script = "\n" + (Path(__file__).parent / SCRIPT).read_text(encoding="utf-8")
    text = made.render(
        title=report.title,
        script=Markup(script),  # this package's own, and the only one that the page may run
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        legend=report.legend,
        warnings=report.warnings,
        tables=[_table(report, number, table) for number, table in enumerate(report.tables, 1)],
        receipts=report.receipts.shown,
        settings=report.receipts.settings,
        sections=[_section(section) for section in report.sections],
        runs=len({one.run for one in report.receipts.shown}),
    )
    return str(text)


def _section(section: Section) -> dict[str, Any]:
    """A section with its drawings marked as made here; texts are escaped by the template."""
    from markupsafe import Markup

    pictures = []
    for place, picture in enumerate(section.pictures):
        mine = f"{section.key}-picture{place + 1}"
        same = [at for at in range(place) if section.pictures[at].numbers is picture.numbers]
        pictures.append(
            {
                "key": mine,
                "title": picture.title,
                "svg": Markup(_own_ids(picture.svg, mine)),  # drawn by this package, each text in it escaped
                "alternative": picture.alternative,
                "numbers": picture.numbers,
                "same": f"{section.key}-picture{same[0] + 1}" if same else "",
            }
        )
    return {"key": section.key, "title": section.title, "notes": section.notes, "pictures": pictures,
            "table": section.table}  # fmt: skip


def _own_ids(svg: str, name: str) -> str:
    """`svg` with its ids, and what refers to them, under `name`: two drawings of one page may use the same ones."""
    if " id=" not in svg:
        return svg
    return TAG.sub(lambda tag: ID.sub(rf"\g<1>{name}-", tag[0]), svg)


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
                "better": column.better,
                "suite": column.suite,
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
