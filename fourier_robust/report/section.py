"""What a part of a report below its tables is made of: sentences, pictures, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """A small table.

    Attributes:
        columns: their names.
        rows: texts as shown; the first of each row names it. An empty text: no data.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture with the numbers it was drawn from.

    Attributes:
        title: what it shows.
        svg: one ``<svg>`` element, self-contained, the same bytes for the same numbers; its text is text.
        alternative: a sentence for those who can't see it, with the finding's numbers.
        numbers: what it was drawn from.
    """

    title: str
    svg: str
    alternative: str
    numbers: Numbers


@dataclass(frozen=True)
class Section:
    """A part of the report: heading, notes, pictures, and a table that is shown open.

    Attributes:
        key: for links, ``[a-z0-9-]+``, one per report.
        title: the heading.
        notes: sentences: what is shown, on which runs, which definitions, what not to conclude.
        pictures: drawn one after another.
        table: shown below the notes, or None.
    """

    key: str
    title: str
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    table: Numbers | None = None
