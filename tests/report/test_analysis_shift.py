"""Analyses over rows of suite=shift and of models of others: which clean accuracy a shift is held against, on whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report.synthetic import row, run
from support import compose_config

from fourier_robust.errors import UserError
from fourier_robust.metric.effective_robustness import sigmoid
from fourier_robust.report.analysis import TooFew, residual_correlations, robustness
from fourier_robust.report.analysis_figures import _panels
from fourier_robust.report.analysis_section import analysis_sections
from fourier_robust.report.analysis_structure import redundancy, structure
from fourier_robust.report.collect import collect
from fourier_robust.report.methods import methods_of
from fourier_robust.report.population import Population, populations_of
from fourier_robust.report.selection import Selector
from fourier_robust.reporting import report

N = 100_000  # images, so that values of six decimals are as good as exact
RUNS = 20
OF_A = "imagenet_of_imagenet_a"


def read(folder: Path, asked: Sequence[str] = ()) -> tuple[Population, str]:
    """The one population below `folder`, and all notes of its sections."""
    collected = collect([str(folder)], [Selector.of("*:*")])
    methods, _ = methods_of(collected.found)
    (population,) = populations_of(collected.found, methods, asked)
    sections = analysis_sections(collected.found, methods, asked)
    return population, "\n".join(note for section in sections for note in section.notes)


def models(folder: Path, of_classes: int = RUNS, others: int = 0, **who: Any) -> dict[str, np.ndarray]:
    """Runs with rows as suite=shift leaves them, and the logits behind: of the clean images, of those of A's classes.

    ImageNet-A lies on the line 0.9 x - 1 of the second, masked 0.7 x - 0.5; V2 and Sketch on lines of the first, but
    for noise. The last `others` runs are of aug=apr_sp. The first `of_classes` have clean images of A's classes.
    """
    generator = np.random.default_rng(0)
    clean = np.linspace(-0.5, 2.5, RUNS)
    subset = {"error": 0.5 * clean + np.sin(np.arange(RUNS)), "error_masked": 1 + 0.4 * clean + np.cos(np.arange(RUNS))}
    noise = generator.normal(0, 0.3, (2, RUNS))
    shown = {
        ("error", "imagenet"): clean,
        ("error", "imagenet_a"): 0.9 * subset["error"] - 1,
        ("error_masked", "imagenet_a"): 0.7 * subset["error_masked"] - 0.5,
        ("error", "imagenet_v2_matched"): 0.95 * clean - 0.5 + noise[0],
        ("error", "imagenet_sketch"): 1.1 * clean - 2 + noise[1],
    }
    for at in range(RUNS):
        aug = "apr_sp" if at >= RUNS - others else "standard"
        what = {"train_dataset": "imagenet", "aug": aug, "n": N, "arch": f"net{at}", **who}
        logits = {**shown, **({(rule, OF_A): subset[rule] for rule in subset} if at < of_classes else {})}
        rows = [
            row(metric, float(sigmoid(-values[at])), suite="shift", dataset=dataset, **what)
            for (metric, dataset), values in logits.items()
        ]
        place, epochs = folder / f"net{at:02}", None if who else 8
        run(place, [row("error", float(sigmoid(-clean[at])), dataset="imagenet", **what)], epochs=epochs)
        run(place, rows, epochs=epochs, suite="shift", data={"imagenet": "abc"})
    return {"clean": clean, **subset}


def shifts(population: Population) -> dict[tuple[str, str], Any]:
    found = robustness(population, np.random.default_rng(0))
    return {(one.metric.row.metric, one.metric.row.dataset): one for one in found.shifts}


def test_clean_images_are_no_shift(tmp_path: Path) -> None:
    models(tmp_path)
    population, notes = read(tmp_path)
    named = [(one.row.metric, one.row.dataset) for one in population.shares]
    sets = ["imagenet_a", "imagenet_sketch", "imagenet_v2_matched"]
    assert sorted(named) == [*(("error", name) for name in sets), ("error_masked", "imagenet_a")]
    assert structure(population, True, np.random.default_rng(0)).n == RUNS
    assert len(structure(population, False, np.random.default_rng(0)).names) == 5
    assert len(redundancy(population)) == 4
    assert "needs metrics that differ" not in notes


def test_a_repeated_clean_error_under_another_name_leaves_the_rest_to_analyse(tmp_path: Path) -> None:
    logits = models(tmp_path)
    for at, logit in enumerate(logits["clean"]):
        what = {"train_dataset": "imagenet", "arch": f"net{at}", "n": N}
        again = row("error", float(sigmoid(-logit)), suite="resolution", dataset="imagenet@224", **what)
        run(tmp_path / f"net{at:02}", [again], suite="resolution", data={"imagenet": "abc"})
    population, _ = read(tmp_path)
    assert "resolution: error imagenet@224" in {one.name for one in population.shares}
    assert "resolution: error imagenet@224" not in residual_correlations(population)[0]
    assert len(structure(population, True, np.random.default_rng(0)).names) == 4


def test_a_set_of_some_classes_is_held_against_clean_images_of_those_by_its_rule(tmp_path: Path) -> None:
    models(tmp_path)
    population, notes = read(tmp_path)
    found = shifts(population)
    for rule, slope, intercept in (("error", 0.9, -1), ("error_masked", 0.7, -0.5)):
        one = found[rule, "imagenet_a"]
        assert (one.against.row.metric, one.against.row.dataset) == (rule, OF_A)
        assert (one.line.slope, one.line.intercept) == pytest.approx((slope, intercept), abs=1e-3)
        assert one.line.r2 > 0.9999
        assert one.beyond == pytest.approx(np.zeros(RUNS), abs=1e-4)
    assert found["error", "imagenet_sketch"].against is population.metrics[population.clean or 0]
    assert "held against clean accuracy on those classes, by the same label rule" in notes


@pytest.mark.parametrize("having", [0, 4])
def test_without_enough_clean_images_of_its_classes_it_is_held_against_all(tmp_path: Path, having: int) -> None:
    models(tmp_path, of_classes=having)
    population, _ = read(tmp_path)
    for rule in ("error", "error_masked"):
        one = shifts(population)[rule, "imagenet_a"]
        assert (one.against.suite, one.against.row.dataset, one.line.n) == ("clean", "imagenet", RUNS)


def test_numbers_and_axes_name_what_a_shift_is_held_against(tmp_path: Path) -> None:
    models(tmp_path)
    collected = collect([str(tmp_path)], [Selector.of("*:*")])
    made = {one.key: one for one in analysis_sections(collected.found, methods_of(collected.found)[0])}
    section = made["analysis-imagenet-robustness"]
    assert section.table is not None
    against = {line[0]: line[1] for line in section.table.rows}
    assert against["shift: error_masked imagenet_a"] == f"shift: error_masked {OF_A}"
    assert against["shift: error imagenet_sketch"] == "clean: error"
    picture = section.pictures[0]
    assert picture.svg.count("clean accuracy (%)</text>") == 2
    assert picture.svg.count("clean accuracy, its classes (%)</text>") == 2
    assert f"shift: error {OF_A}: accuracy in %" in picture.numbers.columns
    assert {len(line) for line in picture.numbers.rows} == {len(picture.numbers.columns)}


def test_a_panel_has_its_shifts_own_clean_accuracy_across(tmp_path: Path) -> None:
    logits = models(tmp_path)
    found = robustness(read(tmp_path)[0], np.random.default_rng(0))
    for one, axes in zip(found.shifts, _panels(found).axes, strict=False):
        own = one.metric.row.metric if one.metric.row.dataset == "imagenet_a" else "clean"
        across = np.sort(np.asarray(axes.collections[-1].get_offsets())[:, 0])
        assert across == pytest.approx(np.sort(logits[own]), abs=1e-3)


def test_models_of_unknown_training_have_the_clean_accuracy_of_their_commonest_data_set(tmp_path: Path) -> None:
    unknown: dict[str, Any] = {"train_dataset": "unknown", "aug": "unknown", "reg": "unknown", "seed": None}
    models(tmp_path, **unknown)
    for at in range(3):  # another data set, first by its name
        run(tmp_path / f"small{at}", [row(value=0.1 + at / 10, dataset="cifar10", **unknown)], epochs=None)
    population, notes = read(tmp_path)
    assert len(population.runs) == RUNS + 3
    assert population.dataset == "imagenet"
    found = shifts(population)
    assert set(found) == {("error", "imagenet_a"), ("error_masked", "imagenet_a"), ("error", "imagenet_v2_matched"),
                          ("error", "imagenet_sketch")}  # fmt: skip
    assert found["error", "imagenet_a"].against.row.dataset == OF_A
    assert len(residual_correlations(population)[0]) == 4
    assert len(redundancy(population)) == 4
    assert "on imagenet, the data set on which clean:error was measured most often: for 20 of 23 runs." in notes
    assert "of unknown training" in notes
    assert "Not done: effective robustness" not in notes


def test_lines_are_fitted_on_the_runs_that_are_named(tmp_path: Path) -> None:
    models(tmp_path, others=8)
    named, notes = read(tmp_path, ["net0[0-4]", "net19"])
    found = robustness(named, np.random.default_rng(0))
    assert found.fitted == "the 6 runs of population=[net0[0-4],net19]"
    chosen = {run.shown for run, member in zip(named.runs, found.members, strict=True) if member}
    assert chosen == {*(f"net0{at}" for at in range(5)), "net19"}
    assert {one.line.n for one in found.shifts} == {6}
    assert f"The lines are fitted on {found.fitted}; the other runs are held against them." in notes
    assert "plainly trained runs that differ" not in notes
    assert robustness(read(tmp_path)[0], np.random.default_rng(0)).fitted == "the 12 plainly trained runs"


def test_too_few_named_runs_are_a_line_and_none_is_a_mistake(tmp_path: Path) -> None:
    models(tmp_path)
    population, notes = read(tmp_path, ["net00", "net1[0-2]"])
    who = "population=[net00,net1[0-2]]"
    lack = f"effective robustness: needs 5 runs of {who} with 3 values of clean:error; there: 4 with 4"
    assert f"Not done: {lack}." in notes
    with pytest.raises(TooFew, match="there: 4"):
        robustness(population, np.random.default_rng(0))
    with pytest.raises(UserError, match=r"^population: res\* fits no run; there are net00, net01, net02 and 17 more$"):
        read(tmp_path, ["net*", "res*"])


def test_which_metrics_are_shares_of_right_answers(tmp_path: Path) -> None:
    for at in range(5):
        few = [row(f"error_{k}shot", 0.1 + at / 10, suite="fewshot", dataset=name)
               for k, name in ((5, "dtd"), (5, "pets"), (10, "dtd"), (5, "mean_of_2_sets"))]  # fmt: skip
        few.append(row("error_5shot_sd", 0.01, suite="fewshot", dataset="dtd"))
        scenes = [
            row(metric, 0.9 - at / 10, suite="siscore", dataset="size", higher_is_better=metric != "flip_rate")
            for metric in ("mean_accuracy", "balanced_accuracy", "worst_accuracy", "flip_rate")
        ]
        moved = [row("error", 0.2, suite="shift", dataset="imagenet_r", corruption=kind) for kind in (None, "art")]
        moved += [row(metric, 0.2, suite="shift", dataset="imagenet_r") for metric in ("gap", "error_masked")]
        moved += [row("flip_rate", 0.2, suite="shift", dataset="cifar10_p", corruption="common10")]
        run(tmp_path / f"r{at}", [*few, *scenes, *moved], epochs=at)
    population, _ = read(tmp_path)
    shares = {(one.row.metric, one.row.dataset, one.row.corruption): one for one in population.shares}
    assert set(shares) == {
        ("error_5shot", "dtd", None), ("error_5shot", "pets", None), ("error_10shot", "dtd", None),
        ("error_5shot", "mean_of_2_sets", None),
        *((f"{kind}_accuracy", "size", None) for kind in ("mean", "balanced", "worst")),
        ("error", "imagenet_r", None), ("error", "imagenet_r", "art"), ("error_masked", "imagenet_r", None),
    }  # fmt: skip
    few_shot, scenes_of = shares["error_5shot", "dtd", None], shares["worst_accuracy", "size", None]
    assert few_shot.accuracy == pytest.approx(1 - few_shot.values)
    assert scenes_of.accuracy == pytest.approx(scenes_of.values)
    twice = {shares["error_5shot", "mean_of_2_sets", None].name, shares["error", "imagenet_r", "art"].name}
    assert {one.name for one in population.shares} - {one.name for one in population.parts} == twice


def test_the_default_report_shows_and_analyses_shifts(tmp_path: Path) -> None:
    models(tmp_path / "runs", train_dataset="unknown", aug="unknown", reg="unknown", seed=None)
    report(*compose_config("report", f"runs={tmp_path}/runs", f"out={tmp_path}/out", "population=net*", "drawn=0"))
    text = (tmp_path / "out" / "tables.md").read_text().replace("\\", "")
    assert "shift: error imagenet_a (%, lower is better)" in text
    assert "shift: error_masked imagenet_a (%, lower is better)" in text
    assert "The lines are fitted on the 20 runs of population=[net*]." in text
