"""Two sets of runs: which test is taken, what is not compared, and the order of what changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from report.synthetic import edit, outcomes, row, run
from scipy.stats import binomtest, t, ttest_1samp, ttest_ind

from fourier_robust.errors import UserError
from fourier_robust.report.change import NO_IMAGES, NO_SPREAD, Difference, difference
from fourier_robust.report.change_pairs import folders_of, matched, two_sets
from fourier_robust.report.changes import change_sections
from fourier_robust.report.collect import Found, collect
from fourier_robust.report.methods import methods_of
from fourier_robust.report.section import Section
from fourier_robust.report.selection import Selector

COLUMNS = [Selector.of(text) for text in ("clean:error", "clean:nll", "sensitivity:low")]


def sets(tmp_path: Path) -> tuple[list[Found], list[Found]]:
    """The rows below tmp_path/a and tmp_path/b."""
    places = [str(tmp_path / name) for name in "ab"]
    return two_sets(collect(places, COLUMNS).found, places[:1], places[1:])


def made(tmp_path: Path) -> dict[str, Section]:
    return {section.key: section for section in change_sections(*sets(tmp_path))}


def lines(section: Section) -> list[dict[str, str]]:
    assert section.table is not None
    return [dict(zip(section.table.columns, cells, strict=True)) for cells in section.table.rows]


def of_seeds(tmp_path: Path, a: dict[int, float], b: dict[int, float]) -> Difference:
    for name, values in (("a", a), ("b", b)):
        for seed, value in values.items():
            run(tmp_path / name / f"s{seed}", [row(value=value, seed=seed)])
    first, second = sets(tmp_path)
    return difference({one.row.seed: one for one in first}, {one.row.seed: one for one in second})


def of_images(tmp_path: Path, a: Sequence[int], b: Sequence[int]) -> Difference:
    for name, wrong in (("a", a), ("b", b)):
        results = run(tmp_path / name / "s0", [row(value=float(np.mean(wrong)), n=len(wrong))])
        outcomes(results, {"cifar10": wrong})
    first, second = sets(tmp_path)
    return difference({0: first[0]}, {0: second[0]})


def test_single_seeds_with_outcomes_take_mcnemar(tmp_path: Path) -> None:
    a, b = [1] * 20 + [0] * 80, [0] * 18 + [1] * 2 + [1] * 3 + [0] * 77
    found = of_images(tmp_path, a, b)
    assert found.test == "exact McNemar test over the same images"
    assert found.p == pytest.approx(binomtest(3, 21).pvalue)
    pairs = np.array(b) - np.array(a)
    half = t.ppf(0.975, 99) * pairs.std(ddof=1) / 10
    assert found.value == pytest.approx(-0.15)
    assert (found.low, found.high) == (pytest.approx(-0.15 - half), pytest.approx(-0.15 + half))


def test_outcomes_of_other_images_are_not_paired(tmp_path: Path) -> None:
    for name, wrong in (("a", [1, 0, 0, 0]), ("b", [0, 0, 0, 0])):
        results = run(tmp_path / name / "s0", [row(value=float(np.mean(wrong)), n=4)], data={"cifar10": name})
        outcomes(results, {"cifar10": wrong})
    first, second = sets(tmp_path)
    found = difference({0: first[0]}, {0: second[0]})
    assert found.p is None
    assert found.test == NO_IMAGES


def test_shared_seeds_are_paired_and_others_left_aside(tmp_path: Path) -> None:
    a, b = {0: 0.10, 1: 0.12, 2: 0.14, 7: 0.50}, {0: 0.11, 1: 0.125, 2: 0.153, 8: 0.9}
    found = of_seeds(tmp_path, a, b)
    pairs = [b[seed] - a[seed] for seed in (0, 1, 2)]
    assert found.test == "paired t-test over 3 shared seeds"
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.p == pytest.approx(ttest_1samp(pairs, 0).pvalue)
    interval = ttest_1samp(pairs, 0).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_other_seeds_take_welch(tmp_path: Path) -> None:
    a, b = {0: 0.10, 1: 0.12, 2: 0.15}, {3: 0.21, 4: 0.22}
    found = of_seeds(tmp_path, a, b)
    reference = ttest_ind(list(b.values()), list(a.values()), equal_var=False)
    assert found.test == "Welch's t-test over 3 and 2 seeds"
    assert found.p == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_seeds_without_spread_say_nothing(tmp_path: Path) -> None:
    found = of_seeds(tmp_path, {0: 0.1, 1: 0.2}, {0: 0.15, 1: 0.25})
    assert (found.p, found.low, found.test) == (None, None, NO_SPREAD)


def test_single_seeds_without_outcomes_take_the_intervals_of_the_rows(tmp_path: Path) -> None:
    run(tmp_path / "a" / "s0", [row(value=0.30, ci_low=0.27, ci_high=0.34)])
    run(tmp_path / "b" / "s0", [row(value=0.20, ci_low=0.17, ci_high=0.22)])
    first, second = sets(tmp_path)
    found = difference({0: first[0]}, {0: second[0]})
    assert found.p is None
    assert found.value == pytest.approx(-0.1)
    assert found.low == pytest.approx(-0.1 - math.hypot(0.03, 0.04))
    assert found.high == pytest.approx(-0.1 + math.hypot(0.02, 0.03))
    (line,) = lines(made(tmp_path)["changes"])
    assert line["change"] == "better by its interval"
    assert (line["A"], line["B"], line["B - A"]) == ("30.00", "20.00", "-10.00")
    assert line["95 % interval"] == "-15.00 to -6.39"


def test_without_anything_there_is_no_verdict(tmp_path: Path) -> None:
    run(tmp_path / "a" / "s0", [row(value=0.30)])
    run(tmp_path / "b" / "s0", [row(value=0.20)])
    (line,) = lines(made(tmp_path)["changes"])
    assert (line["95 % interval"], line["change"], line["test"]) == ("", "not tested", NO_IMAGES)
    assert "p" not in line


def test_p_is_corrected_for_all_tests_and_the_largest_change_comes_first(tmp_path: Path) -> None:
    """Three metrics of three seeds; error changes most beside its spread, nll hardly."""
    generator = np.random.default_rng(0)
    sizes = {"error": (0.1, 0.001), "nll": (0.001, 0.05), "low": (0.02, 0.002)}
    deltas = {
        metric: np.round(mean + spread * generator.standard_normal(3), 6) for metric, (mean, spread) in sizes.items()
    }
    ps = {metric: ttest_1samp(pairs, 0).pvalue for metric, pairs in deltas.items()}
    for seed in range(3):
        for name in "ab":
            values = {metric: 0.3 + (name == "b") * float(pairs[seed]) for metric, pairs in deltas.items()}
            folder = tmp_path / name / f"s{seed}"
            run(folder, [row(metric, values[metric], seed=seed) for metric in ("error", "nll")])
            run(folder, [row("low", values["low"], seed=seed, suite="sensitivity")], suite="sensitivity")
    section = made(tmp_path)["changes"]
    found = lines(section)
    assert [line["number"].split()[1] for line in found] == ["error", "low", "nll"]
    order = sorted(ps.values())
    expected = [3 * order[0], max(3 * order[0], 2 * order[1]), max(2 * order[1], order[2])]
    assert [float(line["p corrected"]) for line in found] == pytest.approx(expected, rel=0.06)  # two digits shown
    assert [line["change"] for line in found] == ["worse", "changed", "within chance"]
    assert "Of 3 numbers in both sets 3 could be tested, and 2 changed beyond chance" in section.notes[0]
    assert "0 better, 1 worse, 1 where neither" in section.notes[0]
    assert "p corrected: Holm's correction over the 3 tests of this table." in section.notes


@pytest.mark.parametrize(
    ("receipt", "said"),
    [
        ({"definitions": {"error": "another"}}, "the definition differs"),
        ({"data": {"cifar10": "fedcba9876543210"}}, "data abc against data fedcba987654"),
        ({"config": {"suite": {"_target_": "Suite", "images": 500}}}, "images=null against images=500"),
    ],
)
def test_numbers_that_mean_different_things_are_listed_not_compared(
    tmp_path: Path, receipt: dict[str, object], said: str
) -> None:
    run(tmp_path / "a" / "s0", [row(value=0.30, ci_low=0.27, ci_high=0.34)])
    results = run(tmp_path / "b" / "s0", [row(value=0.20, ci_low=0.17, ci_high=0.22)])
    edit(results / "eval.json", **receipt)
    sections = made(tmp_path)
    assert sections["changes"].table is None
    assert "1 not compared since they mean different things" in sections["changes"].notes[0]
    (line,) = lines(sections["changes-apart"])
    assert line["why"] == f"not compared: {said}"
    assert line["numbers"] == "clean: error cifar10"


def test_what_is_in_one_set_only_is_listed(tmp_path: Path) -> None:
    run(tmp_path / "a" / "x", [row(), row("nll", 1.0)])
    run(tmp_path / "b" / "x", [row()])
    run(tmp_path / "b" / "y", [row(aug="apr_sp")])
    sections = made(tmp_path)
    said = {(line["method"], line["why"], line["numbers"]) for line in lines(sections["changes-apart"])}
    assert said == {
        ("cifar10, speednet, standard, none", "only in A", "clean: nll cifar10"),
        ("cifar10, speednet, apr_sp, none", "only in B", "clean: error cifar10"),
    }
    assert "1 only in A, 1 only in B" in sections["changes"].notes[0]


def test_methods_are_matched_by_settings_first_then_by_name_where_one_is_left(tmp_path: Path) -> None:
    for name, epochs in (("a", (8, 16)), ("b", (16, 32))):
        for count in epochs:
            run(tmp_path / name / f"e{count}", [row(value=0.3, ci_low=0.2, ci_high=0.4)], count)
    a, b = sets(tmp_path)
    pairs = list(matched(methods_of(a)[0], methods_of(b)[0]))
    epochs = [tuple(one and next(iter(one.runs.values()))[0].shown[2:] for one in pair) for pair in pairs]
    assert epochs == [("e16", "e16"), ("e8", "e32")] or epochs == [("e8", "e32"), ("e16", "e16")]
    notes = made(tmp_path)["changes"].notes
    assert any("settings changed: trainer.epochs 8 to 32" in note for note in notes)
    run(tmp_path / "b" / "e64", [row(value=0.3)], 64)  # now two are left in B
    a, b = sets(tmp_path)
    assert sum(None in pair for pair in matched(methods_of(a)[0], methods_of(b)[0])) == 3


def test_a_precision_that_changed_is_named(tmp_path: Path) -> None:
    run(tmp_path / "a" / "s0", [row()])
    run(tmp_path / "b" / "s0", [row()], config={"precision": "bf16", "suite": {"_target_": "Suite", "images": None}})
    (line,) = lines(made(tmp_path)["changes"])
    assert line["number"] == "clean: error cifar10 (fp32 to bf16)"


def test_an_evaluation_in_both_sets_is_named(tmp_path: Path) -> None:
    run(tmp_path / "a" / "s0", [row()])
    run(tmp_path / "b" / "s0", [row()])
    places = [str(tmp_path / "a"), str(tmp_path / "*")]
    first, second = two_sets(collect(places, COLUMNS).found, places[:1], places[1:])
    section = change_sections(first, second)[0]
    assert any("1 evaluation stands in both sets" in note for note in section.notes)


@pytest.mark.parametrize(
    ("places_b", "said"),
    [
        ("nowhere", "runs_b: there is nothing at"),
        ("empty", "runs_b: no results.csv below"),
        ("a", "runs and runs_b hold the same results"),
    ],
)
def test_a_second_set_that_is_none_is_one_line(tmp_path: Path, places_b: str, said: str) -> None:
    run(tmp_path / "a" / "s0", [row()])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=said) as refused:
        folders_of([str(tmp_path / "a")], [str(tmp_path / places_b)])
    assert "\n" not in str(refused.value)


def test_sections_are_the_same_twice(tmp_path: Path) -> None:
    for name in "ab":
        for aug in ("standard", "apr_sp", "apr_s"):
            run(tmp_path / name / aug, [row(aug=aug, ci_low=0.05, ci_high=0.2), row("nll", 1.0, aug=aug)])
    assert made(tmp_path) == made(tmp_path)
