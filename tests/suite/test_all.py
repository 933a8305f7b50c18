"""Every suite whose data are there, in one command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fourier_robust.config import conf_dir
from fourier_robust.errors import UserError
from fourier_robust.suite.all import All

Run = Callable[..., Path]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_each_part_and_all_their_rows(
    train_tiny: Run, evaluate_tiny: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_tiny()
    settings = (
        "suite=all",
        "suite.only=[clean,corruptions,corruptions_bar,sensitivity]",
        "suite.parts.corruptions.corruptions=[contrast]",
        "suite.parts.corruptions.severities=[1]",
        "suite.parts.corruptions_bar.source=release",  # nobody has put one there
    )
    evaluate_tiny(folder, *settings)
    printed = capsys.readouterr().out
    assert "not measured:" in printed
    assert "corruptions_bar: no release at" in printed
    found = rows(folder / "eval/all/results.csv")
    alone = {name: rows(folder / f"eval/{name}/results.csv") for name in ("clean", "corruptions", "sensitivity")}
    assert found == [row for name in alone for row in alone[name]]
    receipt = json.loads((folder / "eval/all/eval.json").read_text())
    assert receipt["measured"] == ["clean", "corruptions", "sensitivity"]
    assert list(receipt["not_measured"]) == ["corruptions_bar"]
    part = json.loads((folder / "eval/corruptions/eval.json").read_text())
    assert part["config"]["suite"]["corruptions"] == ["contrast"]
    assert not (folder / "eval/corruptions_bar").exists()
    summary = rows(folder / "eval/all/table.csv")
    assert [line[""] for line in summary][:2] == ["clean shapes", "clean shapes_swapped"]
    assert float(summary[0]["error"]) == float(alone["clean"][0]["value"])


def test_a_part_that_stops_costs_only_itself(
    train_tiny: Run, evaluate_tiny: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourier_robust.suite.sensitivity import Sensitivity

    def stops(*_: object) -> None:
        raise UserError("the model has no gradient")

    folder = train_tiny()
    monkeypatch.setattr(Sensitivity, "observe", stops)
    with pytest.raises(UserError, match="1 of 2 suites stopped: sensitivity"):
        evaluate_tiny(folder, "suite=all", "suite.only=[sensitivity,clean]")
    assert {row["suite"] for row in rows(folder / "eval/all/results.csv")} == {"clean"}
    receipt = json.loads((folder / "eval/all/eval.json").read_text())
    assert receipt["not_measured"] == {"sensitivity": "the model has no gradient"}


def test_names_are_checked() -> None:
    parts = {"a": None, "b": None}
    assert list(All(parts, only=["b", "a"]).parts) == ["a", "b"]
    assert list(All(parts, without=["a"]).parts) == ["b"]
    with pytest.raises(ValueError, match=r"suite\.only: there is no suite c; there are a, b"):
        All(parts, only=["c"])
    with pytest.raises(ValueError, match="leave no suite"):
        All(parts, without=["a", "b"])


def test_no_suite_is_forgotten() -> None:
    listed = (conf_dir() / "suite" / "all.yaml").read_text()
    apart = {"all", "heatmap_layers", "kernel_smoothing", "spectra"}  # need a choice, or repeat others' passes
    for path in (conf_dir() / "suite").glob("*.yaml"):
        assert path.stem in apart or f"{path.stem}@parts.{path.stem}" in listed, path.stem
