"""The committed measurements: each table follows from its rows, each receipt names a clean commit, and no folder."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fourier_robust.report.table import Table, table_of
from fourier_robust.run.results import COLUMNS, Row, csv_text
from fourier_robust.suite.all import All

ROOT = Path(__file__).parents[1] / "outputs" / "reference"
RESULTS = sorted(ROOT.rglob("results.csv"))
THIRD = ROOT / "thirdparty"  # models that were not trained here
INTEGERS, FLOATS = {"severity", "n", "seed"}, {"eps", "value", "ci_low", "ci_high"}


def read(path: Path) -> list[Row]:
    """Rows as they were before they were written."""

    def cell(name: str, text: str) -> Any:
        if name == "higher_is_better":
            return text == "true"
        if not text:
            return None
        return int(text) if name in INTEGERS else float(text) if name in FLOATS else text

    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    return [Row(**{name: cell(name, text) for name, text in line.items()}) for line in lines]


def whole(path: Path) -> bool:
    """Whether these are the rows of several suites."""
    return path.parent.name.split(".")[0] == "all"


def test_there_are_some() -> None:
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_the_table_follows_from_the_rows(path: Path) -> None:
    rows = read(path)
    table = table_of(rows, "anyone", [])
    if whole(path):
        table = Table("all", *All.summary(rows), False)
    records = table.records()
    assert csv_text(records[0], records) == (path.parent / "table.csv").read_text()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_the_receipt_is_whole(path: Path) -> None:
    receipt = json.loads((path.parent / "eval.json").read_text())
    assert receipt["rows"] == len(read(path))
    if whole(path):
        assert receipt["measured"]
        assert set(receipt["not_measured"]) <= {"shift", "siscore"}, "only what reads a release may lack its data"
    else:
        assert receipt["conditions_wanted"] == receipt["conditions_measured"]
    assert receipt["git"]["dirty"] is False
    assert len(receipt["checkpoint"]["sha256"]) == 64
    if THIRD not in path.parents:
        run = json.loads((path.parent.parent / "run.json").read_text())
        assert all(launch["git"]["dirty"] is False for launch in run["launches"])
    for file in path.parent.parent.rglob("*.*"):
        if file.suffix in (".json", ".yaml", ".csv"):
            assert not re.search(r"[\"\s=]/\w", file.read_text()), f"a folder of some machine in {file}"
