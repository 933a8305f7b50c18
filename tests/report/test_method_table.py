"""Means over seeds, marks of the best, empty cells, and definitions that are never mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.synthetic import ERROR, outcomes, row, run

from fourier_robust.report.collect import collect
from fourier_robust.report.method_table import Cell, Column, MethodTable, tables_of
from fourier_robust.report.methods import methods_of
from fourier_robust.report.selection import Selector


def tables(folder: Path, width: int = 10, alpha: float = 0.05) -> list[MethodTable]:
    collected = collect([str(folder)], [Selector.of("*:*")])
    return tables_of(collected.found, methods_of(collected.found)[0], width, alpha)


def only(folder: Path) -> MethodTable:
    (table,) = tables(folder)
    return table


def column(folder: Path, name: str = "error") -> Column:
    return next(one for one in only(folder).columns if one.name == name)


def seeds(folder: Path, aug: str, values: list[float], **changes: object) -> None:
    for seed, value in enumerate(values):
        run(folder / f"{aug}{seed}", [row(value=value, aug=aug, seed=seed)], **changes)  # type: ignore[arg-type]


def test_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    seeds(tmp_path, "standard", [0.1, 0.2, 0.6])
    ((cell,),) = only(tmp_path).cells
    assert cell is not None
    assert cell.mean == pytest.approx((0.1 + 0.2 + 0.6) / 3)
    assert cell.std == pytest.approx((((0.1 - 0.3) ** 2 + (0.2 - 0.3) ** 2 + (0.6 - 0.3) ** 2) / 2) ** 0.5)
    assert [(seed, value) for seed, value, _ in cell.values] == [(0, 0.1), (1, 0.2), (2, 0.6)]
    assert [receipt.run.shown for _, _, receipt in cell.values] == ["standard0", "standard1", "standard2"]


def test_one_seed_has_no_spread() -> None:
    assert Cell(((0, 0.3, None),)).std is None  # type: ignore[arg-type]


def test_runs_of_other_settings_are_another_method(tmp_path: Path) -> None:
    run(tmp_path / "a", [row(value=0.1)], epochs=8)
    run(tmp_path / "b", [row(value=0.3)], epochs=16)
    run(tmp_path / "c", [row(value=0.2, seed=1)], epochs=16)
    table = only(tmp_path)
    assert [method.variant for method in table.methods] == ["epochs=16", "epochs=8"]
    assert [len(cell.values) for (cell,) in table.cells if cell] == [2, 1]


def test_a_second_run_of_a_seed_is_no_second_seed(tmp_path: Path) -> None:
    run(tmp_path / "a", [row(value=0.1)])
    run(tmp_path / "b", [row(value=0.3)])
    table = only(tmp_path)
    assert [method.variant for method in table.methods] == ["a", "b"]
    assert [cell.mean for (cell,) in table.cells if cell] == [0.1, 0.3]


def test_a_copied_checkpoint_counts_once_and_brings_its_other_suites(tmp_path: Path) -> None:
    same = {"checkpoint": {"sha256": "one"}}
    run(tmp_path / "a", [row(value=0.1)], **same)
    run(tmp_path / "b", [row(value=0.1)], **same)
    run(tmp_path / "b", [row("mean_error", 0.7, suite="heatmap")], suite="heatmap", **same)
    table = only(tmp_path)
    ((error, heatmap),) = table.cells
    assert error is not None
    assert heatmap is not None
    assert [receipt.run.shown for _, _, receipt in error.values] == ["a"]
    assert heatmap.mean == 0.7
    collected = collect([str(tmp_path)], [Selector.of("*:*")])
    assert methods_of(collected.found)[1] == ["b: the checkpoint of a; numbers of both count once"]


def test_cells_without_data_are_empty(tmp_path: Path) -> None:
    run(tmp_path / "a", [row(value=0.0)])
    run(tmp_path / "b", [row("nll", 0.5, aug="apr_sp")])
    table = only(tmp_path)
    assert [one.name for one in table.columns] == ["error", "nll"]
    assert [[cell and cell.mean for cell in line] for line in table.cells] == [[0.0, None], [None, 0.5]]


def test_two_definitions_are_two_columns(tmp_path: Path) -> None:
    run(tmp_path / "a", [row(value=0.1)])
    run(tmp_path / "b", [row(value=0.2, aug="apr_sp")], definitions={"error": "1 - top-5 accuracy"})
    table = only(tmp_path)
    assert [(one.name, one.definition) for one in table.columns] == [
        ("error [a]", ERROR),
        ("error [b]", "1 - top-5 accuracy"),
    ]
    assert [[cell and cell.mean for cell in line] for line in table.cells] == [[0.1, None], [None, 0.2]]
    assert not any(cell.best for line in table.cells for cell in line if cell)


@pytest.mark.parametrize(
    ("changes", "apart"),
    [
        (
            {"config": {"precision": "fp32", "suite": {"_target_": "Suite", "images": 100}}},
            {"images=100", "images=null"},
        ),
        ({"data": {"cifar10": "other"}}, {"data abc", "data other"}),
    ],
)
def test_two_settings_or_data_are_two_columns(tmp_path: Path, changes: dict[str, object], apart: set[str]) -> None:
    run(tmp_path / "a", [row()])
    run(tmp_path / "b", [row(aug="apr_sp")], **changes)
    assert {one.apart for one in only(tmp_path).columns} == apart


def test_what_is_measured_beside_a_number_or_where_does_not_set_it_apart(tmp_path: Path) -> None:
    for name, root, aug in (("a", "/x", "standard"), ("b", "/y", "apr_sp")):
        suite = {"_target_": "Suite", "root": root, "corruptions": [name], "new_setting" + name: 1}
        run(tmp_path / name, [row(aug=aug)], config={"precision": name, "suite": suite})
    (one,) = only(tmp_path).columns
    assert one.mark == ""
    assert one.precisions == ("a", "b")


WRONG = {  # 12 images: apr_sp alone is right on 8 of them, standard on none
    "standard": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "apr_sp": [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
}


def paired(folder: Path, **data: str) -> None:
    for aug, wrong in WRONG.items():
        changes = {"data": {"cifar10": data[aug]}} if data else {}
        results = run(folder / aug, [row(value=round(sum(wrong) / 12, 6), n=12, aug=aug)], **changes)
        outcomes(results, {"cifar10": wrong})


def best(table: MethodTable) -> list[str]:
    return [
        method.aug
        for method, line in zip(table.methods, table.cells, strict=True)
        for cell in line
        if cell and cell.best
    ]


def test_mcnemar_where_predictions_are_there(tmp_path: Path) -> None:
    paired(tmp_path)
    one = column(tmp_path)
    assert one.p == pytest.approx(2 / 2**8)
    assert "exact McNemar test over the same images" in one.verdict
    assert best(only(tmp_path)) == ["apr_sp"]
    (strict,) = tables(tmp_path, alpha=0.007)
    assert best(strict) == []
    assert "none marked" in strict.columns[0].verdict


def test_a_third_method_doubles_p_and_must_be_beaten_too(tmp_path: Path) -> None:
    paired(tmp_path)
    close = [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]  # six images worse than apr_sp: 2 / 2^6 alone would be significant
    outcomes(run(tmp_path / "close", [row(value=round(7 / 12, 6), n=12, aug="apr_p")]), {"cifar10": close})
    assert best(only(tmp_path)) == []
    assert column(tmp_path).p == pytest.approx(2 * 2 / 2**6)


def test_outcomes_of_another_measurement_are_not_taken(tmp_path: Path) -> None:
    paired(tmp_path)
    outcomes(tmp_path / "standard/eval/clean", {"cifar10": [1] * 12})
    assert column(tmp_path).p is None
    assert "no predictions of the same images at hand, and only one seed" in column(tmp_path).verdict
    assert best(only(tmp_path)) == []


def test_over_seeds_by_welch_where_predictions_are_gone(tmp_path: Path) -> None:
    seeds(tmp_path, "standard", [0.30, 0.31, 0.32])
    seeds(tmp_path, "apr_sp", [0.10, 0.11, 0.12])
    one = column(tmp_path)
    assert "Welch's t-test over seeds" in one.verdict
    # t = 0.2 / sqrt(2 * 0.01^2 / 3) = 24.49 with 4 degrees of freedom
    assert one.p == pytest.approx(1.6484e-05, rel=1e-3)
    assert best(only(tmp_path)) == ["apr_sp"]


def test_an_insignificant_best_is_not_marked(tmp_path: Path) -> None:
    seeds(tmp_path, "standard", [0.1, 0.3, 0.5])
    seeds(tmp_path, "apr_sp", [0.1, 0.3, 0.4])
    assert best(only(tmp_path)) == []
    assert column(tmp_path).verdict.startswith("none marked, p ")


def test_higher_is_better_and_neither(tmp_path: Path) -> None:
    for aug, shift in (("standard", 0.0), ("apr_sp", 0.5)):
        for seed in range(3):
            value = 0.1 + 0.01 * seed + shift
            rows = [
                row("auroc", value, higher_is_better=True, aug=aug, seed=seed),
                row("low", value, aug=aug, seed=seed),
            ]
            run(tmp_path / f"{aug}{seed}", rows)
    table = only(tmp_path)
    assert [one.better for one in table.columns] == [1, 0]
    marks = {(method.aug, at) for method, line in zip(table.methods, table.cells, strict=True)
             for at, cell in enumerate(line) if cell and cell.best}  # fmt: skip
    assert marks == {("apr_sp", 0)}


def test_mean_error_is_paired_over_images_of_its_corruptions(tmp_path: Path) -> None:
    keys = [f"cifar10_c-{name}-{severity}" for name in ("fog", "snow") for severity in (1, 2)]
    data = {"cifar10": "abc", **{key: key for key in keys}, "cifar10_c-saturate-1": "z"}
    worse = dict(zip(keys, ([1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]), strict=True))
    better = dict(zip(keys, ([0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]), strict=True))
    for aug, wrong in (("standard", worse), ("apr_sp", better)):
        value = sum(map(sum, wrong.values())) / 16
        mean = row(
            "mean_error", value, suite="corruptions", dataset="cifar10_c", corruption="common2of15", n=4, aug=aug
        )
        results = run(tmp_path / aug, [mean], suite="corruptions", data=data)
        outcomes(results, {**wrong, "cifar10_c-saturate-1": [1, 1, 1, 1]})
    (one,) = only(tmp_path).columns
    # per image: standard 1, 3/4, 3/4, 3/4; apr_sp 0, 0, 0, 1/4; differences 1, 3/4, 3/4, 1/2: t = 0.75 / (0.2041 / 2)
    from scipy import stats

    assert one.p == pytest.approx(2 * stats.t.sf(0.75 / (((0.25**2 + 0.25**2) / 3) ** 0.5 / 2), 3), rel=1e-9)
    assert "paired t-test over the same images" in one.verdict


def test_wide_tables_go_on_between_suites(tmp_path: Path) -> None:
    rows = [row("error"), row("nll"), row("mean_error", suite="heatmap"), row("low", suite="sensitivity")]
    run(tmp_path / "a", rows)
    assert [[one.suite for one in table.columns] for table in tables(tmp_path, width=3)] == [
        ["clean", "clean", "heatmap"],
        ["sensitivity"],
    ]
    assert [len(table.columns) for table in tables(tmp_path, width=1)] == [1, 1, 1, 1]


def test_training_sets_are_apart(tmp_path: Path) -> None:
    run(tmp_path / "a", [row()])
    run(tmp_path / "b", [row(train_dataset="shapes")])
    assert [table.train_dataset for table in tables(tmp_path)] == ["cifar10", "shapes"]


@pytest.mark.parametrize(
    ("metric", "percent"),
    [
        *((name, True) for name in ("error", "error_masked", "mean_error", "top5_error", "error(3,4)", "error_rho0.5")),
        *((name, True) for name in ("error_5shot", "error_5shot_sd", "best_error", "best_error_masked", "worst_case")),
        *((name, True) for name in ("gap", "gap_masked", "flip_rate", "flip_rate(0.5)", "mfr", "mce", "drop", "gain")),
        *((name, True) for name in ("mean_accuracy", "balanced_accuracy", "accuracy(0.5)", "mean_ece")),
        *((name, False) for name in ("nll", "best_size", "best_size_masked", "temperature", "drop_slope", "mean_k")),
    ],
)
def test_shares_and_their_differences_are_printed_in_percent(tmp_path: Path, metric: str, percent: bool) -> None:
    run(tmp_path / "a", [row(metric, 0.5)])
    assert [one.percent for one in only(tmp_path).columns] == [percent]
