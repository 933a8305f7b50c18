"""Percent for fractions and decimal commas: recognised, and nothing else is."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fourier_robust.report.units import locale_hint, wrong_unit
from fourier_robust.run.results import COLUMNS

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"


@pytest.mark.parametrize("metric", ["error", "mean_error", "error(layer1)", "auroc", "worst_case", "p(4)", "mean_ece"])
def test_percent_in_a_fraction_is_named(metric: str) -> None:
    said = wrong_unit(metric, 17.1)
    assert said == f"{metric} is 17.1, but it is a fraction, from 0 to 1: percent? Divide by 100"
    assert wrong_unit(metric, -0.1) == f"{metric} is -0.1, but it is a fraction, from 0 to 1"
    for value in (0, 0.171, 1, 1.0000005, float("nan")):
        assert wrong_unit(metric, value) == ""


@pytest.mark.parametrize("metric", ["nll", "mce", "ce", "relative_mce", "mean_k", "entropy", "gain_slope"])
def test_metrics_without_bounds_may_be_anything(metric: str) -> None:
    assert wrong_unit(metric, 17.1) == ""


def test_no_row_of_the_reference_is_refused() -> None:
    count = 0
    for path in REFERENCE.rglob("results.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["value"]:
                    assert wrong_unit(row["metric"], float(row["value"])) == "", (path, row)
                    count += 1
    assert count > 10000


def test_decimal_commas_and_semicolons_are_named() -> None:
    whole = dict.fromkeys(COLUMNS, "") | {"suite": "clean", "value": "0,171100", "n": "10000"}
    assert "decimal commas" in locale_hint(["0,171100"])
    assert "decimal commas" in locale_hint(",".join(whole.values()).split(","))
    assert "semicolons" in locale_hint([";".join(COLUMNS)])


def test_other_damage_is_not_called_a_locale() -> None:
    whole = list((dict.fromkeys(COLUMNS, "") | {"value": "0.171100"}).values())
    for cells in (["abc"], ["1.5"], ["a;b"], list(COLUMNS), whole[:-2], [*whole, "more"]):
        assert locale_hint(cells) == ""
