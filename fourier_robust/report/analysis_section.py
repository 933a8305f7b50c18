"""What the metrics say about each other, as sections of a report: every result with the runs it was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fourier_robust.metric.rank_correlation import Correlation
from fourier_robust.report.analysis import (
    DRAWS,
    LEAST,
    Robustness,
    TooFew,
    methods_among,
    ranks,
    residual_correlations,
    robustness,
)
from fourier_robust.report.analysis_figures import PANELS, correlation_map, order_of, shift_panels
from fourier_robust.report.analysis_structure_section import (
    SEED,
    decimals,
    redundancy_section,
    structure_section,
    telling_section,
)
from fourier_robust.report.collect import Found
from fourier_robust.report.methods import Method
from fourier_robust.report.population import UNKNOWN, Population, populations_of
from fourier_robust.report.section import Numbers, Picture, Section

SAY = "What the metrics say about each other"
FEW = f"of fewer than {LEAST} methods: methods are drawn for it, and the seeds of one always together."


def analysis_sections(found: Sequence[Found], methods: Sequence[Method], asked: Sequence[str] = ()) -> list[Section]:
    """The sections of each training data set; of one with a single run, a section that says so.

    Args:
        found: the rows chosen for tables.
        methods: behind them.
        asked: globs of the names of the runs that lines are fitted on; none: the plainly trained ones, else all.

    Raises:
        UserError: one of `asked` fits no run.
    """
    return [
        section
        for population in populations_of(found, methods, asked)
        if population.runs
        for section in (sections_of(population) if len(population.runs) > 1 else [_alone(population)])
    ]


def _alone(population: Population) -> Section:
    note = f"Not done: needs runs to compare, {LEAST} for most of it; there: one, {population.runs[0].shown}."
    return Section(population.key("runs"), population.title(SAY), [note])


def sections_of(population: Population) -> list[Section]:
    """The sections of one population; an analysis that needs more runs is one line in the first of them."""
    made: list[Section] = []
    lacking: list[str] = []
    parts: tuple[Callable[[Population], Section], ...] = (
        _ranks,
        _robustness,
        lambda one: structure_section(one, False),
        lambda one: structure_section(one, True),
        telling_section,
        redundancy_section,
    )
    for part in parts:
        try:
            made.append(part(population))
        except TooFew as reason:
            lacking.append(f"Not done: {reason}.")
    return [_runs(population, lacking), *made]


def _runs(population: Population, lacking: Sequence[str]) -> Section:
    rows = []
    for place, run in enumerate(population.runs):
        gaps = [one.name for one in population.metrics if np.isnan(one.values[place])]
        rows.append(
            (str(place + 1), population.labels[place], run.shown, "yes" if population.plain[place] else "no",
             ", ".join(gaps) or "none")
        )  # fmt: skip
    notes = [
        f"{population.described}, with the metrics of the tables; these are the runs that the analyses below name.",
        "Plainly trained: augmentation none or standard, no regularizer. Seeds of one method are drawn together in "
        f"every interval ({DRAWS} draws, seed {SEED}).",
        *_unknown(population),
        *lacking,
    ]
    return Section(
        population.key("runs"),
        population.title(SAY),
        notes,
        table=Numbers(("run", "method", "folder", "plainly trained", "metrics missing"), rows),
    )


def _unknown(population: Population) -> list[str]:
    """Where the clean accuracy of models of others is from."""
    if population.train_dataset != UNKNOWN or population.clean is None:
        return []
    measured = int((~np.isnan(population.metrics[population.clean].values)).sum())
    return [
        f"What these were trained on is unknown. Their clean accuracy is that on {population.dataset}, the data set on "
        f"which clean:error was measured most often: for {measured} of {len(population.runs)} runs."
    ]


def _ranks(population: Population) -> Section:
    found = ranks(population, np.random.default_rng(SEED))
    matrix = np.array([[pair.value for pair in line] for line in found.pairs])
    order = order_of(matrix)
    names = [found.metrics[at].name for at in order]
    pairs = sorted(
        ((found.pairs[a][b], found.metrics[a].name, found.metrics[b].name) for a in order for b in order if a < b),
        key=lambda pair: (np.isnan(pair[0].value), -abs(pair[0].value)),
    )
    counts = [one.n for one, *_ in pairs]
    notes = [
        f"{population.described}; each pair over the runs that have both metrics ({min(counts)} to {max(counts)}).",
        "Spearman's rank correlation; errors and other metrics of which less is better are turned round, so 1 says "
        "that two metrics rank the models alike. Ties share the mean rank. 95 % percentile intervals over drawn "
        "methods stand with the numbers. A mean and what it is the mean of are alike by construction.",
        *_few_runs(counts),
        *([f"No interval where the runs are {FEW}"] if any(_bare(one.value, one.low) for one, *_ in pairs) else []),
        *_left_out(found.left_out),
    ]
    rows = [(f"{a} and {b}", _shown(one.value), _shown(one.low), _shown(one.high), str(one.n)) for one, a, b in pairs]
    said = f"Rank correlations of {len(names)} metrics over up to {max(counts)} runs{_lowest(pairs)}"
    picture = Picture(
        "Spearman's rank correlation of each pair of metrics",
        correlation_map(names, matrix[np.ix_(order, order)]),
        said + ".",
        Numbers(("pair", "rank correlation", "95 % low", "95 % high", "runs"), rows),
    )
    return Section(population.key("ranks"), population.title("Do the metrics rank models alike?"), notes, [picture])


def _robustness(population: Population) -> Section:
    found = robustness(population, np.random.default_rng(SEED))
    plain = population.plain & ~np.isnan(found.clean.values)
    notes = [
        f"{population.described}. The lines are fitted on {found.fitted}"
        + ("" if found.members.all() else "; the other runs are held against them")
        + ".",
        *(
            [
                f"No line of the plainly trained runs alone, which needs {LEAST} methods and 3 values of clean "
                f"accuracy; there: {methods_among(population, plain)} and {len(np.unique(found.clean.values[plain]))}."
            ]
            if found.fitted.startswith("all ")
            else []
        ),
        "Effective robustness: accuracy under the shift minus what a straight line on logit axes expects of a model of "
        "this clean accuracy. Accuracies are kept half an image away from 0 and 1.",
        *(
            ["The band is where the line may lie when methods are drawn anew, not where a single model may."]
            if any(len(one.line.drawn) for one in found.shifts)
            else []
        ),
        *(
            [f"No interval, band or star where the fitted runs are {FEW}"]
            if not all(len(one.line.drawn) for one in found.shifts)
            else []
        ),
        *(
            [
                "A set of a part of the classes is held against clean accuracy on those classes, by the same label "
                f"rule, where {LEAST} runs have it, else against that on all classes; the table says which."
            ]
            if any(one.metric.suite == "shift" for one in found.shifts)
            else []
        ),
        *_left_out(found.left_out),
    ]
    fits = [
        (one.metric.name, one.against.name, decimals(one.line.slope), _shown(one.line.slope_low),
         _shown(one.line.slope_high), decimals(one.line.intercept), f"{one.line.r2:.3f}", str(one.line.n))
        for one in found.shifts
    ]  # fmt: skip
    pictures = [_scatter(population, found), *_beyond(population)]
    return Section(
        population.key("robustness"),
        population.title("Robustness beyond clean accuracy"),
        notes,
        pictures,
        Numbers(("shift", "held against", "slope", "95 % low", "95 % high", "intercept", "R²", "runs fitted"), fits),
    )


def _scatter(population: Population, found: Robustness) -> Picture:
    rows = []
    against = list(dict.fromkeys([found.clean, *(one.against for one in found.shifts)]))
    for place, label in enumerate(population.labels):
        if all(np.isnan(one.values[place]) for one in against):
            continue
        fitted = "yes" if found.members[place] else "no"
        cells = [str(place + 1), label, fitted]
        for clean in against:
            assert clean.accuracy is not None
            cells.append("" if np.isnan(clean.accuracy[place]) else f"{100 * clean.accuracy[place]:.2f}")
        for one in found.shifts:
            assert one.metric.accuracy is not None
            beyond = one.beyond[place]
            mark = "*" if one.outside[place] else ""
            text = f"{100 * one.metric.accuracy[place]:.2f} ({100 * beyond:+.2f}{mark})"
            cells.append("" if np.isnan(beyond) else text)
        rows.append(cells)
    best = max(
        ((one.beyond[place], place, one) for one in found.shifts for place in np.flatnonzero(~np.isnan(one.beyond))),
        key=lambda three: three[0],
    )
    more = f" (the first {PANELS} of {len(found.shifts)} shifts)" if len(found.shifts) > PANELS else ""
    return Picture(
        f"Accuracy under each shift against clean accuracy, lines fitted on {found.fitted}{more}",
        shift_panels(found),
        f"The largest effective robustness is {100 * best[0]:+.1f} points, of run {best[1] + 1} "
        f"({population.labels[best[1]]}) under {best[2].metric.name}.",
        Numbers(
            ("run", "method", "in the fit", "clean accuracy (%)",
             *(f"{one.name}: accuracy in %" for one in against[1:]),
             *(f"{one.metric.name}: accuracy in % (effective robustness in points"
               f"{'; * outside the band' if len(one.line.drawn) else ''})" for one in found.shifts)),
            rows,
        ),
    )  # fmt: skip


def _beyond(population: Population) -> list[Picture]:
    """The map of residual correlations, or nothing where there is one shift alone."""
    try:
        names, found = residual_correlations(population)
    except TooFew:
        return []
    matrix = np.array([[pair.value for pair in line] for line in found])
    order = order_of(matrix)
    pairs = sorted(
        ((found[a][b], names[a], names[b]) for a in range(len(names)) for b in range(a)),
        key=lambda pair: (np.isnan(pair[0].value), -pair[0].value),
    )
    counts = [one.n for one, *_ in pairs]
    said = (
        f"Residual correlations of {len(names)} shifts, each pair over the runs that have both and clean accuracy "
        f"({min(counts)} to {max(counts)} of the {len(population.runs)}){_lowest(pairs)}."
    )
    return [
        Picture(
            "Correlation of what clean accuracy leaves unexplained, logits, all runs",
            correlation_map([names[at] for at in order], matrix[np.ix_(order, order)]),
            " ".join([said, *_few_runs(counts)]),
            Numbers(
                ("pair", "residual correlation", "runs"),
                [(f"{a} and {b}", _shown(one.value), str(one.n)) for one, a, b in pairs],
            ),
        )
    ]


def _lowest(pairs: Sequence[tuple[Correlation, str, str]]) -> str:
    """What is said of the lowest of the correlations that are defined."""
    there = [pair for pair in pairs if not np.isnan(pair[0].value)]
    if not there:
        return "; none is defined"
    one, a, b = min(there, key=lambda pair: pair[0].value)
    return f"; the lowest is {decimals(one.value)}, of {a} and {b}, over {one.n} runs"


def _few_runs(counts: Sequence[int]) -> list[str]:
    return [f"No number for a pair over fewer than {LEAST} runs."] if min(counts) < LEAST else []


def _bare(value: float, low: float) -> bool:
    """Whether a value has no interval."""
    return bool(np.isnan(low) and not np.isnan(value))


def _shown(value: float) -> str:
    return decimals(value) or "-"


def _left_out(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"Left out, with fewer than {LEAST} runs or without differences between them: {', '.join(names)}."]
