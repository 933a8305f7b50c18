"""``fr-report``: read what evaluations left, write tables and one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.usage import asked_for, usage


def main() -> None:
    """Entry point of ``fr-report``."""
    if asked_for():
        print(usage("report"))
        return
    from fourier_robust.cli import launch

    launch("report", report)


def report(config: dict[str, Any], names: dict[str, str]) -> None:
    """Tables and a page of all results below the given folders; the same results give the same bytes.

    Args:
        config: resolved and checked.
        names: of no use here.

    Raises:
        UserError: nothing readable is found, a setting can't be used, or jinja2 is missing; nothing is written then.
    """
    from fourier_robust.report.change_pairs import two_sets
    from fourier_robust.report.collect import collect
    from fourier_robust.report.latex import latex
    from fourier_robust.report.markdown import Report, cells_csv, markdown
    from fourier_robust.report.method_table import tables_of
    from fourier_robust.report.methods import methods_of
    from fourier_robust.report.page import page, template
    from fourier_robust.report.receipts import receipts_of, warnings_of
    from fourier_robust.report.sections import sections_of, wanted
    from fourier_robust.report.selection import Selector
    from fourier_robust.run.report_record import write_report

    places, columns = _texts(config, "runs"), _texts(config, "columns")
    places_b = [] if config["runs_b"] is None else _texts(config, "runs_b")
    asked = [] if config["population"] is None else _texts(config, "population")
    alpha, width, drawn, paper = config["alpha"], config["width"], config["drawn"], config["paper"]
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise UserError(f"alpha={alpha}: must lie between 0 and 1")
    for key, value, least in (("width", width, 1), ("drawn", drawn, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{key}={value}: must be an integer, at least {least}")
    if paper is not None and not isinstance(paper, str):
        raise UserError(f"paper={paper!r}: must be a name")
    if places_b:
        two_sets([], places, places_b)
    made = template()
    chosen = [Selector.of(text) for text in columns]
    collected = collect([*places, *places_b], chosen, wanted(paper, drawn))
    methods, copies = methods_of([*collected.found, *collected.also])
    tables = tables_of(collected.found, methods, width, alpha)
    receipts = receipts_of(collected)
    warnings = warnings_of(collected, receipts, tables, copies)
    if not tables:
        warnings.append(f"no row fits columns=[{','.join(columns)}]; all rows stand in rows.csv")
    sections, undrawn = sections_of(collected, methods, places, places_b, paper, drawn, alpha, asked)
    warnings += undrawn
    whole = Report(str(config["title"]), alpha, tables, receipts, warnings, sections)
    out = Path(config["out"])
    files = {
        "rows.csv": collected.rows_csv(),
        "tables.csv": cells_csv(whole),
        "tables.md": markdown(whole),
        "tables.tex": latex(whole),
        "index.html": page(whole, made),
    }
    write_report(out, files)
    print("\n".join([*warnings, f"{len(collected.receipts)} evaluations; wrote {', '.join(files)} in {out}"]))


def _texts(config: dict[str, Any], key: str) -> list[str]:
    """A setting that is one text or a list of texts."""
    value = [config[key]] if isinstance(config[key], str) else config[key]
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise UserError(f"{key}={config[key]!r}: must be one text or a list of texts")
    return value
