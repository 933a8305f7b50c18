"""Analyses over synthetic run folders: planted structure comes back, gaps are counted, too few runs are a line each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from report.synthetic import row, run

from fourier_robust.metric.effective_robustness import sigmoid
from fourier_robust.report.analysis import TooFew, logits_of, ranks, residual_correlations, robustness
from fourier_robust.report.analysis_section import analysis_sections
from fourier_robust.report.analysis_structure import groupings, redundancy, structure, telling
from fourier_robust.report.collect import collect
from fourier_robust.report.methods import methods_of
from fourier_robust.report.population import Population, populations_of
from fourier_robust.report.section import Section
from fourier_robust.report.selection import Selector

N = 100_000  # images, so that values of six decimals are as good as exact
BLUR = {"suite": "corruptions", "dataset": "cifar10_c", "corruption": "blur"}
NOISE = {"suite": "corruptions", "dataset": "cifar10_c", "corruption": "noise"}


def read(folder: Path) -> tuple[Population, list[Section]]:
    collected = collect([str(folder)], [Selector.of("*:*")])
    methods, _ = methods_of(collected.found)
    (population,) = populations_of(collected.found, methods)
    return population, analysis_sections(collected.found, methods)


def models(
    folder: Path,
    plain: int,
    others: int = 0,
    gain: float = 0.1,
    noise: Callable[[int], float] = lambda at: 0.0,
    without: tuple[int, ...] = (),
) -> None:
    """`plain` runs on a line of slope 0.8 between logits, and `others` (aug=apr_sp) `gain` above it under blur.

    Each is a method of its own by its epochs. Under noise, the logit is that of the line plus `noise` of the run.
    """
    for at in range(plain + others):
        logit = -0.5 + 3 * (at if at < plain else at - plain + 0.5) / max(plain, others)
        blurred = -0.4 + 0.8 * logit
        what = {"aug": "standard" if at < plain else "apr_sp", "n": N}
        rows = [row(value=float(1 - sigmoid(np.array(logit))), **what)]
        blur = float(sigmoid(np.array(blurred))) + (gain if at >= plain else 0.0)
        if at not in without:
            rows.append(row("mean_error", 1 - blur, **BLUR, **what))
        rows.append(row("mean_error", 1 - float(sigmoid(np.array(blurred + noise(at)))), **NOISE, **what))
        run(folder / f"r{at:02}", rows, epochs=at + 1)


def notes(sections: list[Section]) -> str:
    return "\n".join(note for section in sections for note in section.notes)


def test_planted_robustness_comes_back(tmp_path: Path) -> None:
    models(tmp_path, plain=8, others=3)
    population, _ = read(tmp_path)
    found = robustness(population, np.random.default_rng(0))
    assert found.fitted == "the 8 plainly trained runs"
    assert [one.metric.name for one in found.shifts] == ["corruptions: blur", "corruptions: noise"]
    blur = found.shifts[0]
    assert (blur.line.slope, blur.line.intercept) == pytest.approx((0.8, -0.4), abs=1e-4)
    assert blur.line.n == 8
    assert blur.beyond[population.plain] == pytest.approx(np.zeros(8), abs=1e-5)
    assert blur.beyond[~population.plain] == pytest.approx(np.full(3, 0.1), abs=1e-5)
    assert found.shifts[1].beyond == pytest.approx(np.zeros(11), abs=1e-5)
    assert blur.outside[~population.plain].all()


def test_few_plain_runs_mean_a_line_through_all_and_the_report_says_so(tmp_path: Path) -> None:
    models(tmp_path, plain=3, others=5)
    for seed in (1, 2):
        run(tmp_path / f"again{seed}", [row(value=0.3 + seed / 100, seed=seed)], epochs=1)
    population, sections = read(tmp_path)
    found = robustness(population, np.random.default_rng(0))
    assert population.plain.sum() == 5  # of three methods
    assert found.fitted == "all 10 runs"
    assert found.members.all()
    assert "The lines are fitted on all 10 runs" in notes(sections)
    assert "which needs 5 methods and 3 values of clean accuracy; there: 3 and 5." in notes(sections)


def test_a_missing_metric_is_counted_in_each_pair_and_named(tmp_path: Path) -> None:
    models(tmp_path, plain=8, without=(2, 5))
    population, sections = read(tmp_path)
    found = ranks(population, np.random.default_rng(0))
    names = [one.name for one in found.metrics]
    pair = found.pairs[names.index("clean: error")][names.index("corruptions: blur")]
    assert (pair.n, pair.value) == (6, pytest.approx(1))
    assert found.pairs[names.index("clean: error")][names.index("corruptions: noise")].n == 8
    (table,) = [section.table for section in sections if section.key == "analysis-cifar10-runs"]
    assert table is not None
    assert [line[-1] for line in table.rows] == [
        "corruptions: blur" if at in (2, 5) else "none" for at in range(8)
    ]  # fmt: skip
    assert "each pair over the runs that have both metrics (6 to 8)" in notes(sections)
    assert robustness(population, np.random.default_rng(0)).shifts[0].line.n == 6


def test_metrics_of_which_less_is_better_are_turned(tmp_path: Path) -> None:
    for at in range(6):
        run(tmp_path / f"r{at}", [row(value=0.1 * at), row("auroc", 1 - 0.1 * at, suite="ood", higher_is_better=True),
                                  row("low", 0.1 * at, suite="sensitivity")], epochs=at)  # fmt: skip
    population, _ = read(tmp_path)
    found = ranks(population, np.random.default_rng(0))
    place = {one.name: at for at, one in enumerate(found.metrics)}
    assert found.pairs[place["clean: error"]][place["ood: auroc"]].value == pytest.approx(1)
    assert found.pairs[place["clean: error"]][place["sensitivity: low"]].value == pytest.approx(-1)  # as it is


def test_seeds_are_drawn_with_their_method(tmp_path: Path) -> None:
    for at in range(5):
        for seed in range(3):
            value = 0.1 + 0.1 * at + 0.01 * seed
            rows = [row(value=value, seed=seed), row("mean_error", value * 1.3, **BLUR, seed=seed)]
            run(tmp_path / f"r{at}{seed}", rows, epochs=at)
    population, sections = read(tmp_path)
    assert population.method_of.tolist() == [at for at in range(5) for _ in range(3)]
    assert population.labels[1] == "standard, epochs=0, seed 1"
    assert "the 15 runs of 5 methods trained on cifar10" in notes(sections)


def seeds(folder: Path, methods: int, each: int) -> None:
    """`each` seeds of `methods` plain methods with clean error, blur and noise that go together but for noise."""
    generator = np.random.default_rng(0)
    for at in range(methods):
        for seed in range(each):
            clean = 0.1 + 0.02 * at + 0.01 * seed
            blur, noise = 1.5 * clean + generator.uniform(0, 0.03), 2 * clean + generator.uniform(0, 0.03)
            rows = [row(value=clean, seed=seed), row("mean_error", blur, **BLUR, seed=seed)]
            run(folder / f"r{at}-{seed}", [*rows, row("mean_error", noise, **NOISE, seed=seed)], epochs=at)


@pytest.mark.parametrize(("methods", "each"), [(1, 6), (2, 5), (4, 3), (5, 2)])
def test_an_interval_needs_five_methods(tmp_path: Path, methods: int, each: int) -> None:
    seeds(tmp_path, methods, each)
    population, sections = read(tmp_path)
    ranked = ranks(population, np.random.default_rng(0)).pairs[0][1]
    lines = robustness(population, np.random.default_rng(0)).shifts
    assert (len(lines), ranked.n) == (2, methods * each)
    assert not np.isnan([ranked.value, *(one.line.slope for one in lines)]).any()
    made = {section.key: section for section in sections}
    (rank_map,), table = made["analysis-cifar10-ranks"].pictures, made["analysis-cifar10-robustness"].table
    scatter = made["analysis-cifar10-robustness"].pictures[0]
    assert table is not None
    if methods == 5:
        assert ranked.low < ranked.high
        assert all(one.line.slope_low < one.line.slope < one.line.slope_high for one in lines)
        assert "No interval" not in notes(sections)
        assert "95 % band of the line" in scatter.svg
        return
    assert all(np.isnan([ranked.low, ranked.high, one.line.slope_low, one.line.slope_high]).all() for one in lines)
    assert not any(one.outside.any() for one in lines)
    assert {line[2:4] for line in rank_map.numbers.rows} == {("-", "-")}
    assert {line[3:5] for line in table.rows} == {("-", "-")}
    assert "*" not in str(scatter.numbers)
    assert "95 % band" not in scatter.svg
    assert "The band is" not in notes(sections)
    for what in ("No interval where the runs are", "No interval, band or star where the fitted runs are"):
        assert notes(sections).count(f"{what} of fewer than 5 methods: methods are drawn") == 1


def test_a_line_has_a_band_by_the_methods_of_its_own_shift(tmp_path: Path) -> None:
    for at in range(6):
        for seed in range(2):
            clean = 0.1 + 0.02 * at + 0.01 * seed
            rows = [row(value=clean, seed=seed), row("mean_error", 1.5 * clean**1.1, **BLUR, seed=seed)]
            if at < 3:
                rows.append(row("mean_error", 2 * clean + at * seed / 50, **NOISE, seed=seed))
            run(tmp_path / f"r{at}{seed}", rows, epochs=at)
    population, sections = read(tmp_path)
    blur, noise = robustness(population, np.random.default_rng(0)).shifts
    assert (blur.line.n, len(blur.line.drawn), noise.line.n, len(noise.line.drawn)) == (12, 1000, 6, 0)
    assert "The band is" in notes(sections)
    assert "No interval, band or star" in notes(sections)
    (scatter, _) = {section.key: section for section in sections}["analysis-cifar10-robustness"].pictures
    assert [("* outside" in column) for column in scatter.numbers.columns[-2:]] == [True, False]


def test_no_correlation_over_fewer_than_five_runs(tmp_path: Path) -> None:
    for at in range(10):
        rows = [row(value=0.1 + at / 50)]
        rows += [row("mean_error", 0.2 + at / 40 + (at * 3 % 5) / 70, **BLUR)] if at < 6 else []
        rows += [row("mean_error", 0.3 + at / 40 + (at * 2 % 7) / 70, **NOISE)] if at > 3 else []
        run(tmp_path / f"r{at}", rows, epochs=at)
    _, sections = read(tmp_path)
    made = {section.key: section for section in sections}
    (ranked,), (_, residual) = made["analysis-cifar10-ranks"].pictures, made["analysis-cifar10-robustness"].pictures
    assert ranked.numbers.rows[-1] == ("corruptions: blur and corruptions: noise", "-", "-", "-", "2")
    assert [line[-1] for line in ranked.numbers.rows] == ["6", "6", "2"]
    assert "No number for a pair over fewer than 5 runs." in notes(sections)
    assert residual.numbers.columns == ("pair", "residual correlation", "runs")
    assert list(residual.numbers.rows) == [("corruptions: noise and corruptions: blur", "-", "2")]
    assert "(2 to 2 of the 10); none is defined. No number for a pair over fewer than 5 runs." in residual.alternative
    assert "1.00" not in residual.alternative


def test_residual_correlation_is_that_of_what_was_planted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    planted = generator.normal(0, 0.3, (3, 40))
    planted[1] = planted[0] + 0.3 * planted[1]
    logits = generator.normal(1, 0.7, 40)
    for at in range(40):
        accuracy = [float(sigmoid(np.array(0.9 * logits[at] - 0.5 + one[at]))) for one in planted]
        rows = [row(value=float(1 - sigmoid(np.array(logits[at]))), n=N)]
        rows += [
            row("mean_error", 1 - value, suite="corruptions", corruption=name, n=N)
            for name, value in zip("abc", accuracy, strict=True)
        ]
        run(tmp_path / f"r{at:02}", rows, epochs=at)
    population, sections = read(tmp_path)
    names, found = residual_correlations(population)
    assert names == ("corruptions: a", "corruptions: b", "corruptions: c")
    free = np.eye(40) - (hat := np.column_stack([np.ones(40), logits])) @ np.linalg.pinv(hat)
    assert np.allclose([[pair.value for pair in line] for line in found], np.corrcoef(planted @ free), atol=1e-3)
    assert {pair.n for line in found for pair in line} == {40}
    beyond = structure(population, True, np.random.default_rng(0))
    assert beyond.n == 40
    assert beyond.parallel.factors == 1
    assert beyond.factors is not None
    assert beyond.factors.loadings[:2].min() > 0.8
    assert abs(beyond.factors.loadings[2, 0]) < 0.5
    rows_of = {section.key: section for section in sections}
    assert "fitted on the 40 runs that have all 3 metrics" in " ".join(rows_of["analysis-cifar10-factors-beyond"].notes)
    repeated = {name: others for name, _, others, _ in redundancy(population)}
    assert repeated["corruptions: a"] > repeated["corruptions: c"]


def test_a_metric_that_knows_the_method_is_found(tmp_path: Path) -> None:
    models(tmp_path, plain=12, others=12, gain=0.12)
    population, sections = read(tmp_path)
    (told,) = [one for one in telling(population) if one.grouping == "augmentation and regularizer"]
    assert told.groups == ("apr_sp", "standard")
    blur, noise = told.found.with_metric
    assert told.names == ("corruptions: blur", "corruptions: noise")
    assert blur > 0.9
    assert told.found.every - told.found.without_metric[0] > 0.3
    assert noise < 0.7
    assert told.found.clean < 0.7
    assert "augmentation and regularizer (apr_sp, standard): 24 runs, 10 folds" in notes(sections)


def test_groupings_are_settings_of_few_values_each_partition_once(tmp_path: Path) -> None:
    for at in range(8):
        run(tmp_path / f"r{at}", [row(value=0.1 + at / 100, aug=("standard", "apr_sp")[at % 2])], epochs=at)
        folder = tmp_path / f"r{at}"
        text = f"trainer: {{epochs: {4 + at // 4}, lr: {at}}}\naug: {{p: {at % 2}}}\n"
        (folder / "config.yaml").write_text(text)
    population, _ = read(tmp_path)
    found = dict(groupings(population, np.ones(8, dtype=bool)))
    assert set(found) == {"augmentation and regularizer", "trainer.epochs"}
    assert sorted(found["trainer.epochs"].tolist()) == ["4"] * 4 + ["5"] * 4


LACKS = {
    "rank correlation: needs two metrics that differ over 5 runs",
    "effective robustness: needs 5 runs with clean:error and a shift's accuracy",
    "factor analysis: needs 3 metrics that are shares of right answers",
    "informativeness: needs 5 methods in each of 2 groups",
    "redundancy: needs",
}


def test_too_few_runs_are_a_line_each(tmp_path: Path) -> None:
    models(tmp_path, plain=2, others=1)
    population, (only,) = read(tmp_path)
    said = [note for note in only.notes if note.startswith("Not done: ")]
    assert all(any(lack in note for note in said) for lack in LACKS)
    assert len(said) == 6
    assert all("; there: " in note and "\n" not in note for note in said)
    with pytest.raises(TooFew, match="there: 0 of 3 metrics, 3 runs"):
        ranks(population, np.random.default_rng(0))


def test_a_lack_says_what_is_there(tmp_path: Path) -> None:
    for at in range(10):
        run(tmp_path / "clean" / f"r{at}", [row(value=0.1 + at / 50)], epochs=at)
        rows = [row(value=0.2), row("mean_error", 0.3 + at / 50, **BLUR)]
        run(tmp_path / "alike" / f"r{at}", rows, epochs=at)
        rows = [row(value=0.1 + at / 50), *([row("mean_error", 0.3 + at / 50, **BLUR)] if at < 3 else [])]
        run(tmp_path / "short" / f"r{at}", rows, epochs=at)
    said = {name: notes(read(tmp_path / name)[1]) for name in ("clean", "alike", "short")}
    rank, line = "rank correlation: needs two metrics that differ over 5 runs; there: ", "a shift's accuracy; there: "
    left = "residual correlation: needs two shifts that differ over 5 runs beyond what clean:error explains; there: "
    assert all(part in said["clean"] for part in (f"{rank}1 of 1 metrics, 10 runs.", f"{line}no shift.",
                                                  f"{left}0 of 0 shifts, 10 runs."))  # fmt: skip
    assert f"{rank}1 of 2 metrics, 10 runs." in said["alike"]
    assert f"{line}10 of all 10 runs that do not differ in clean:error." in said["alike"]
    assert f"{line}3 of the 10 plainly trained runs." in said["short"]
    assert f"{left}0 of 1 shifts, 10 runs." in said["short"]


def test_a_factor_analysis_counts_runs_per_metric(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    models(tmp_path, plain=8, noise=lambda _: float(generator.normal(0, 0.4)))
    population, sections = read(tmp_path)
    with pytest.raises(TooFew, match="needs 9 runs that have all 3 metrics \\(3 per metric\\); there: 8 of 8"):
        structure(population, False, np.random.default_rng(0))
    keys = [section.key for section in sections]
    assert keys == ["analysis-cifar10-runs", "analysis-cifar10-ranks", "analysis-cifar10-robustness",
                    "analysis-cifar10-redundancy"]  # fmt: skip


def test_a_factor_analysis_leaves_out_runs_with_a_gap(tmp_path: Path) -> None:
    planted = np.random.default_rng(0).normal(0, 0.4, 11)
    models(tmp_path / "gaps", plain=11, noise=lambda at: float(planted[at]), without=(2, 10))
    models(tmp_path / "whole", plain=11, noise=lambda at: float(planted[at]))
    gaps, whole = (read(tmp_path / name)[0] for name in ("gaps", "whole"))
    found = structure(gaps, False, np.random.default_rng(0))
    assert found.n == 9
    kept = [at for at, run_of in enumerate(whole.runs) if run_of.folder.name not in ("r02", "r10")]
    logits = np.column_stack([logits_of(one)[kept] for one in whole.metrics])
    assert found.parallel.eigenvalues == pytest.approx(np.linalg.eigvalsh(np.corrcoef(logits.T))[::-1], abs=1e-9)
    told = redundancy(gaps)
    assert {n for *_, n in told} == {9}


def test_without_clean_error_the_ranks_go_on(tmp_path: Path) -> None:
    for at in range(6):
        run(tmp_path / f"r{at}", [row("mean_error", 0.1 + at / 50, **BLUR), row("mean_error", 0.2, **NOISE)], epochs=at)
        rows = [row("auroc", 0.5 + (at * 3 % 7) / 20, suite="ood", higher_is_better=True)]
        run(tmp_path / f"r{at}", rows, epochs=at, suite="ood")
    _, sections = read(tmp_path)
    assert [section.key for section in sections] == ["analysis-cifar10-runs", "analysis-cifar10-ranks"]
    assert "Left out, with fewer than 5 runs or without differences between them: corruptions: noise." in notes(
        sections
    )
    assert "effective robustness: needs 5 runs with clean:error; there: none" in notes(sections)


def test_a_run_without_a_metric_of_the_tables_is_not_counted(tmp_path: Path) -> None:
    models(tmp_path, plain=6)
    run(tmp_path / "other", [row("psnr", 3.0, suite="other")], epochs=99)
    collected = collect([str(tmp_path)], [Selector.of("c*:*")])
    methods, _ = methods_of([*collected.found, *collect([str(tmp_path)], [Selector.of("other:*")]).found])
    assert len(methods) == 7
    (population,) = populations_of(collected.found, methods)
    assert len(population.runs) == 6
    assert population.method_of.max() < 7


def test_a_mean_beside_its_parts_counts_once_where_metrics_are_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for at in range(15):
        clean, *errors = (0.1 + 0.02 * at + generator.uniform(0, 0.05, 5)).tolist()
        whole = row("mean_error", sum(errors) / 4, suite="corruptions", corruption="common4of15-severity3")
        parts = [
            row("mean_error", value, suite="corruptions", corruption=name)
            for name, value in zip("abcd", errors, strict=True)
        ]
        run(tmp_path / f"r{at:02}", [row(value=clean), whole, *parts], epochs=at)
    population, _ = read(tmp_path)
    assert len(population.shares) == 5
    every = ("clean: error", *(f"corruptions: {name}" for name in "abcd"))
    assert structure(population, False, np.random.default_rng(0)).names == every
    assert structure(population, True, np.random.default_rng(0)).names == every[1:]
    assert [name for name, *_ in redundancy(population)] == list(every[1:])
    assert len(residual_correlations(population)[0]) == 5
    alone = [one for one in population.metrics if one.aggregate or one.suite == "clean"]
    assert len(dataclasses.replace(population, metrics=tuple(alone)).parts) == 1  # without them it stays


def test_one_run_is_a_section_that_says_so(tmp_path: Path) -> None:
    models(tmp_path, plain=1)
    (only,) = read(tmp_path)[1]
    assert only.title == "What the metrics say about each other (cifar10)"
    assert list(only.notes) == ["Not done: needs runs to compare, 5 for most of it; there: one, r00."]


def test_sections_keep_their_contract(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    planted = generator.normal(0, 0.4, 30)
    models(tmp_path, plain=20, others=10, noise=lambda at: float(planted[at]))
    sections = read(tmp_path)[1]
    assert len({section.key for section in sections}) == len(sections) == 6
    for section in sections:
        assert re.fullmatch("[a-z0-9-]+", section.key)
        for table in (section.table, *(picture.numbers for picture in section.pictures)):
            assert table is None or {len(line) for line in table.rows} == {len(table.columns)}
        for picture in section.pictures:
            assert ElementTree.fromstring(picture.svg).tag == "{http://www.w3.org/2000/svg}svg"
            assert picture.alternative.endswith(".")
    again = read(tmp_path)[1]
    assert again == sections  # to the byte


def test_pictures_have_text_ink_and_every_run(tmp_path: Path) -> None:
    models(tmp_path, plain=8, others=3)
    sections = {section.key: section for section in read(tmp_path)[1]}
    scatter, residual = sections["analysis-cifar10-robustness"].pictures
    assert "clean accuracy (%)</text>" in scatter.svg
    assert "corruptions: blur</text>" in scatter.svg
    assert "currentColor" in scatter.svg
    assert "<style" not in residual.svg or "font-face" not in residual.svg
    assert len(scatter.numbers.rows) == 11
    assert "+10.0 points" in scatter.alternative
    identifiers = re.findall(r' id="([^"]+)"', scatter.svg)
    assert len(identifiers) == len(set(identifiers))
