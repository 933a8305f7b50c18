"""Input as it comes: numbers of other locales, runs that are one, names that are markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report.synthetic import row, run
from support import compose_config

from fourier_robust.errors import UserError
from fourier_robust.report.change_pairs import two_sets
from fourier_robust.report.changes import change_sections
from fourier_robust.report.collect import collect
from fourier_robust.report.markdown import Report
from fourier_robust.report.methods import methods_of
from fourier_robust.report.page import page, template
from fourier_robust.report.published import published_sections
from fourier_robust.report.published_values import selectors
from fourier_robust.report.receipts import receipts_of
from fourier_robust.report.section import Section
from fourier_robust.report.selection import Selector
from fourier_robust.reporting import report

MARKUP = "<script>alert(1)</script>"


def make(out: Path, *overrides: str) -> dict[str, str]:
    report(*compose_config("report", f"out={out}", *overrides))
    return {path.name: path.read_text() for path in out.iterdir()}


def shown(places: list[str], sections: list[Section]) -> str:
    """The page with these sections."""
    collected = collect(places, [Selector.of("clean:error")])
    return page(Report("report", 0.05, [], receipts_of(collected), [], sections), template())


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("0.100000", '"0,100000"', "line 2: value is '0,100000'; decimal commas?"),
        ("0.100000", "0,100000", "line 2 has 20 of 19 fields; decimal commas?"),
        (",", ";", "it is separated by semicolons"),
    ],
)
def test_a_locale_with_decimal_commas_is_named_and_the_rest_goes_on(
    tmp_path: Path, good: str, bad: str, said: str
) -> None:
    run(tmp_path / "runs/good", [row("nll", 0.7)])
    file = run(tmp_path / "runs/commas", [row(value=0.1)]) / "results.csv"
    file.write_text(file.read_text().replace(good, bad))
    files = make(tmp_path / "out", f"runs={tmp_path}/runs")
    (line,) = [line for line in files["tables.md"].splitlines() if "commas/eval/clean:" in line]
    assert said in line.replace("\\", "")
    assert "0.7000" in files["tables.md"]
    assert "10.00" not in files["tables.md"]


def test_percent_in_place_of_a_fraction_is_named_and_left_out(tmp_path: Path) -> None:
    run(tmp_path / "runs/good", [row("nll", 0.7)])
    run(tmp_path / "runs/percent", [row(value=17.1)])
    text = make(tmp_path / "out", f"runs={tmp_path}/runs")["tables.md"]
    assert "error is 17.1, but it is a fraction, from 0 to 1: percent? Divide by 100" in text.replace("\\", "")
    assert "1710" not in text


def test_the_same_checkpoint_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    for name in "ab":
        run(tmp_path / "runs" / name, [row()], checkpoint={"sha256": "one"})
    text = make(tmp_path / "out", f"runs={tmp_path}/runs")["tables.md"]
    assert "b: the checkpoint of a; numbers of both count once" in text


def test_two_checkpoints_of_one_identity_are_two_methods_named_by_their_folders(tmp_path: Path) -> None:
    """Equal settings, seed and run name, other weights: neither hides the other, nor is their mean taken."""
    for name, value in (("first", 0.1), ("second", 0.3)):
        run(tmp_path / "runs" / name, [row(value=value)])
    made = make(tmp_path / "out", f"runs={tmp_path}/runs")
    csv = made["tables.csv"]
    assert "second: settings and seed of first, but another checkpoint; kept apart by folder" in made["tables.md"]
    assert re.search(r"first.*0\.1", csv)
    assert re.search(r"second.*0\.3", csv)
    assert "0.2" not in csv


def test_markup_in_names_is_escaped_in_comparisons_and_pictures(tmp_path: Path) -> None:
    for name, value in (("a", 0.2), ("b", 0.1)):
        rows = [row("p(1)", value, suite="sensitivity", arch=MARKUP, reg="lsf"),
                row("low", value, suite="sensitivity", arch=MARKUP, reg="lsf")]  # fmt: skip
        run(tmp_path / name / "x", rows, suite="sensitivity")
        run(tmp_path / name / "y", [row("error", value, arch=MARKUP, reg=MARKUP)])
        run(tmp_path / name / "z", [row("p(1)", value, suite="sensitivity", reg="lsf")], suite="sensitivity")
    places = [str(tmp_path / "a"), str(tmp_path / "b")]
    collected = collect(places, [Selector.of("*:*@*")], selectors("fourier_sensitivity"))
    methods, _ = methods_of([*collected.found, *collected.also])
    made = published_sections("fourier_sensitivity", collected.also, methods)
    drawn = "".join(picture.svg for section in made for picture in section.pictures)
    assert "&lt;script&gt;" in drawn
    assert "<script" not in drawn
    made += change_sections(*two_sets(collected.found, places[:1], places[1:]))
    text = shown(places, made)
    assert MARKUP not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 4


def test_an_empty_folder_and_one_without_results_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(UserError, match=r"no results\.csv below") as refused:
        make(tmp_path / "out", f"runs={tmp_path}/runs")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_no_run_of_a_paper_is_a_page_of_numbers_never_run(tmp_path: Path) -> None:
    run(tmp_path / "a", [row(train_dataset="mine", dataset="mine")])
    collected = collect([str(tmp_path)], [], selectors("apr"))
    sections = published_sections("apr", collected.also, methods_of(collected.also)[0])
    assert "0 are reproduced, 0 were measured under the same conditions" in sections[0].notes[0]
    assert all("measured" not in section.table.columns for section in sections if section.table)
