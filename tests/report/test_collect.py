"""Finding and reading results: each folder once, and one line for each that can't be read."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from report.synthetic import edit, row, run

from fourier_robust.errors import UserError
from fourier_robust.report.collect import Collected, collect, run_folder
from fourier_robust.report.selection import Selector
from fourier_robust.run.results import COLUMNS

ALL = [Selector.of("*:*")]


def read(*places: Path | str) -> Collected:
    return collect([str(place) for place in places], ALL)


def test_folders_globs_and_files_each_once(tmp_path: Path) -> None:
    first = run(tmp_path / "a/s0", [row(), row("nll", 0.5)])
    run(tmp_path / "b/s1", [row(seed=1)])
    (tmp_path / "a/s0/eval/clean/outcomes").mkdir()
    (tmp_path / "a/s0/eval/clean/outcomes/results.csv").write_text("no results")
    collected = read(tmp_path, tmp_path / "*/s0", first / "results.csv")
    assert [(receipt.run.shown, receipt.name, receipt.rows) for receipt in collected.receipts] == [
        ("a/s0", "clean", 2),
        ("b/s1", "clean", 1),
    ]
    assert [(one.row.metric, one.row.value, one.row.seed) for one in collected.found] == [
        ("error", 0.1, 0),
        ("nll", 0.5, 0),
        ("error", 0.1, 1),
    ]
    assert collected.skipped == []


def test_results_of_the_model_before_are_not_read(tmp_path: Path) -> None:
    """A run that was trained anew keeps them in its folder."""
    found = run(tmp_path / "s0", [row()])
    run(tmp_path / "s0/superseded/20261122T063812Z", [row(value=0.5)])
    assert [receipt.folder for receipt in read(tmp_path, tmp_path / "s0").receipts] == [found]


def test_another_checkpoint_of_a_run_is_not_the_run(tmp_path: Path) -> None:
    """What was measured on previous.pt alone would else stand in the run's line; a checkpoint that was moved is one."""
    last = run(tmp_path / "s0", [row()])
    earlier = {"checkpoint": {"path": "previous.pt", "sha256": "0"}}
    moved = run(tmp_path / "s0", [row(suite="sensitivity")], suite="sensitivity.previous", **earlier)
    assert [receipt.folder for receipt in read(tmp_path).receipts] == [last, moved]
    (tmp_path / "s0/last.pt").touch()
    found = read(tmp_path)
    assert [receipt.folder for receipt in found.receipts] == [last]
    assert found.skipped == [
        "s0/eval/sensitivity.previous: measured on previous.pt, not on the run's last.pt; left out"
    ]


def test_both_layouts_name_the_run(tmp_path: Path) -> None:
    assert run_folder(Path("x/s0/eval/clean")) == Path("x/s0")
    assert run_folder(Path("reference/apr_sp/clean")) == Path("reference/apr_sp")


def test_all_rows_stand_in_one_csv_as_they_were(tmp_path: Path) -> None:
    quoted = row("accuracy(0.5,0.5)", 0.25)
    run(tmp_path / "a", [row(), quoted], suite="clean")
    run(tmp_path / "b", [row()])
    lines = list(csv.reader(io.StringIO(read(tmp_path).rows_csv())))
    assert lines[0] == ["folder", *COLUMNS]
    assert [line[0] for line in lines[1:]] == ["a/eval/clean", "a/eval/clean", "b/eval/clean"]
    original = list(csv.reader((tmp_path / "a/eval/clean/results.csv").open()))
    assert [line[1:] for line in lines[1:3]] == original[1:]


def test_settings_without_seed_and_paths(tmp_path: Path) -> None:
    run(tmp_path / "a", [row()])
    run(tmp_path / "b", [row(seed=1)])
    one, other = (receipt.run.settings for receipt in read(tmp_path).receipts)
    assert one == other == {"trainer.epochs": "8"}


def test_suite_all_repeats_no_row(tmp_path: Path) -> None:
    run(tmp_path / "a", [row()])
    heatmap = row("mean_error", 0.4, suite="heatmap")
    run(tmp_path / "a", [row(), heatmap], suite="all", not_measured={"ood": "no data"})
    collected = read(tmp_path)
    assert sorted(one.row.suite for one in collected.found) == ["clean", "heatmap"]
    assert len(collected.lines) == 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("eval.json", "{", "eval.json is damaged"),
        ("eval.json", "[]", "eval.json is damaged (it is no object)"),
        ("eval.json", '{"config": 3}', "eval.json is damaged (config is no mapping)"),
        ("eval.json", None, "no eval.json beside results.csv"),
        ("results.csv", "", "other columns than this version writes: none"),
        ("results.csv", "a,b\n1,2\n", "other columns than this version writes: a,b"),
        ("results.csv", ",".join(COLUMNS) + "\n1,2\n", "results.csv is damaged (line 2 has 2 of 19 fields)"),
        ("results.csv", b"\xff\xfe", "results.csv is damaged"),
        ("../../config.yaml", "a: [", "config.yaml of the run is damaged"),
    ],
)
def test_what_can_not_be_read_is_left_out_in_one_line(
    tmp_path: Path, name: str, text: str | bytes | None, said: str
) -> None:
    run(tmp_path / "good", [row()])
    bad = run(tmp_path / "bad", [row()])
    if text is None:
        (bad / name).unlink()
    else:
        (bad / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    collected = read(tmp_path)
    assert [receipt.run.shown for receipt in collected.receipts] == ["good"]
    (line,) = collected.skipped
    assert line.startswith("bad/eval/clean: ")
    assert said in line
    assert line.endswith("; left out")
    with pytest.raises(UserError, match=re.escape(said)):
        read(tmp_path / "bad")


def test_a_value_that_is_no_number_names_its_line(tmp_path: Path) -> None:
    results = run(tmp_path / "a", [row(), row("nll", 0.5)])
    file = results / "results.csv"
    file.write_text(file.read_text().replace("0.500000", "half"))
    with pytest.raises(UserError, match=r"line 3: value is 'half'"):
        read(tmp_path)


def test_a_value_that_is_not_finite_is_no_cell(tmp_path: Path) -> None:
    run(tmp_path / "a", [row(value=float("nan")), row("nll", 0.5)])
    assert [one.row.metric for one in read(tmp_path).found] == ["nll"]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results\.csv below"):
        read(tmp_path)
    with pytest.raises(UserError, match="there is nothing at"):
        read(tmp_path / "nowhere*")


def texts(**changes: str) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | {"suite": "clean", "metric": "error", "dataset": "cifar10"} | changes


@pytest.mark.parametrize(
    ("selector", "changes", "taken"),
    [
        ("clean:error", {}, True),
        ("clean:err", {}, False),
        ("c*:error", {}, True),
        ("clean:error", {"severity": "3", "corruption": "fog"}, False),
        ("clean:error@fog@3", {"severity": "3", "corruption": "fog"}, True),
        ("clean:error@fog@4", {"severity": "3", "corruption": "fog"}, False),
        ("clean:error", {"dataset": "cifar10_train"}, False),
        ("clean:error", {"dataset": "cifar10_train+shuffled-1"}, False),
        ("clean:error@*_train", {"dataset": "cifar10_train"}, True),
        ("clean:error@msp@mean_*", {"dataset": "mean_apr", "score": "msp"}, True),
        ("clean:error@msp@mean_*", {"dataset": "svhn", "score": "msp"}, False),
    ],
)
def test_selectors(selector: str, changes: dict[str, str], taken: bool) -> None:
    assert Selector.of(selector).takes(texts(**changes)) is taken


@pytest.mark.parametrize("text", ["error", ":error", "clean:", "clean:error@"])
def test_a_bad_selector_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="is no suite:metric"):
        Selector.of(text)


def test_receipts_are_read_whole(tmp_path: Path) -> None:
    results = run(tmp_path / "a", [row()])
    edit(results / "eval.json", extra=1)
    (receipt,) = read(tmp_path).receipts
    assert receipt.content == json.loads((results / "eval.json").read_text())
    assert receipt.first["arch"] == "speednet"


def test_a_table_without_rows_is_named(tmp_path: Path) -> None:
    run(tmp_path / "a", [row()])
    empty = run(tmp_path / "b", [row()]) / "results.csv"
    empty.write_text(empty.read_text().splitlines()[0] + "\n")
    assert read(tmp_path).skipped == ["b/eval/clean: results.csv has no rows; left out"]
    with pytest.raises(UserError, match=r"clean: results.csv has no rows"):
        read(tmp_path / "b")
