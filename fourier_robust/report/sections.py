"""What stands below the tables of a report, in order."""

from __future__ import annotations

from collections.abc import Sequence

from fourier_robust.report.analysis_section import analysis_sections
from fourier_robust.report.change_pairs import two_sets
from fourier_robust.report.changes import change_sections
from fourier_robust.report.collect import Collected
from fourier_robust.report.methods import Method
from fourier_robust.report.pictures import (
    attacks,
    bands,
    corruption,
    fourier,
    gain,
    key,
    ood,
    reliability,
    sensitivity,
    swap,
    training,
)
from fourier_robust.report.pictures.looks import looks_of
from fourier_robust.report.pictures.series import Material
from fourier_robust.report.published_values import selectors
from fourier_robust.report.section import Section
from fourier_robust.report.selection import Selector

OF_ROWS = (corruption, fourier, sensitivity, bands, swap, gain, reliability, ood, attacks)


def wanted(paper: str | None, drawn: int) -> list[Selector]:
    """Of the rows that sections need beside those of the tables.

    Raises:
        UserError: there is no such paper.
    """
    found = [Selector.of(text) for kind in OF_ROWS for text in kind.ROWS] if drawn else []
    return found + (selectors(paper) if paper else [])


def sections_of(
    collected: Collected,
    methods: Sequence[Method],
    places: Sequence[str],
    places_b: Sequence[str],
    paper: str | None,
    drawn: int,
    alpha: float,
    asked: Sequence[str] = (),
) -> tuple[list[Section], list[str]]:
    """The sections, and a line for each thing that could not be drawn.

    Args:
        collected: with the rows that `wanted` asks for.
        methods: behind them.
        places: folders of the first set.
        places_b: of the second, which it is compared with; empty without.
        paper: whose published numbers are set beside, or None.
        drawn: methods in one picture, 0 for no pictures.
        alpha: level of significance.
        asked: globs of the names of the runs that lines of effective robustness are fitted on; none: see `robustness`.

    Raises:
        UserError: the two sets can't be told apart, or one of `asked` fits no run.
    """
    sections: list[Section] = []
    if places_b:
        sections += change_sections(*two_sets(collected.found, places, places_b), alpha)
    if paper:
        from fourier_robust.report.published import published_sections  # loads torch

        sections += published_sections(paper, collected.also, methods)
    material = Material(collected.also, collected.receipts, methods, looks_of(methods), drawn)
    if drawn:
        for kind in (key, *OF_ROWS, training):
            sections += kind.sections(material)
    return [*sections, *analysis_sections(collected.found, methods, asked)], material.skipped
