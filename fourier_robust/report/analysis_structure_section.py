"""Sections on what lies behind the metrics: factors, what each tells beyond clean accuracy, what each repeats."""

from __future__ import annotations

import numpy as np

from fourier_robust.report.analysis import DRAWS
from fourier_robust.report.analysis_structure import redundancy, structure, telling
from fourier_robust.report.population import Population
from fourier_robust.report.section import Numbers, Section

SEED = 0  # of the draws, so that a report has the same bytes each time


def structure_section(population: Population, beyond_clean: bool) -> Section:
    """Factors of the metrics, with clean accuracy or beyond it; raises `TooFew`."""
    found = structure(population, beyond_clean, np.random.default_rng(SEED))
    factors, parallel = found.factors, found.parallel
    eigenvalues = ", ".join(f"{a:.2f} ({b:.2f})" for a, b in zip(*parallel[:2], strict=True))
    what = "without what the clean logit explains" if beyond_clean else "clean accuracy among them"
    notes = [
        f"{population.described}; fitted on the {found.n} runs that have all {len(found.names)} metrics, {what}.",
        f"Eigenvalues of the correlation matrix of the logits, in brackets what the 95th percentile of {DRAWS} sets of "
        f"unrelated normal numbers reaches: {eigenvalues}. Factors above it (parallel analysis): {parallel.factors}.",
        "Maximum-likelihood factors, rotated by varimax; a loading is a correlation of metric and factor.",
    ]
    if factors is not None and not factors.converged:
        notes.append("The likelihood was still rising when the fit was stopped.")
    count = 0 if factors is None else factors.loadings.shape[1]
    rows = [
        (name, *(decimals(value) for value in factors.loadings[at]), f"{factors.unique[at]:.2f}")
        for at, name in enumerate(found.names)
        if factors is not None
    ]
    table = Numbers(("metric", *(f"factor {one + 1}" for one in range(count)), "its own share"), rows)
    name, title = ("factors-beyond", "beyond clean accuracy") if beyond_clean else ("factors", "in all")
    return Section(
        population.key(name),
        population.title(f"How many things do the metrics measure {title}?"),
        notes,
        table=table if rows else None,
    )


def telling_section(population: Population) -> Section:
    """What each metric tells of the groups that runs belong to; raises `TooFew`."""
    found = telling(population)
    notes = [
        f"{population.described}, those of them that have all metrics. Share of runs whose group a multinomial "
        "logistic classifier (logits, standardised, penalty 1) names right, trained on other methods' runs. Gain: this "
        "metric beside clean accuracy, over clean accuracy alone. Loss: all metrics, over all but this one. In points.",
        *(
            f"{one.grouping} ({', '.join(one.groups)}): {one.n} runs, {one.folds} folds; clean accuracy alone "
            f"{100 * one.found.clean:.1f} %, all metrics {100 * one.found.every:.1f} %, naming the most frequent "
            f"{100 * one.found.most_frequent:.1f} %."
            for one in found
        ),
        "One run more or less named right moves a number by "
        + " or ".join(dict.fromkeys(f"{100 / one.n:.1f}" for one in found))
        + " points; what lies within a few of those says nothing.",
    ]
    columns = [f"{one.grouping}: {what}" for one in found for what in ("gain", "loss")]
    rows = [
        (
            name,
            *(
                f"{100 * value:+.1f}"
                for one in found
                for value in (
                    one.found.with_metric[at] - one.found.clean,
                    one.found.every - one.found.without_metric[at],
                )
            ),
        )
        for at, name in enumerate(found[0].names)
    ]
    return Section(
        population.key("informativeness"),
        population.title("What does a metric tell beyond clean accuracy?"),
        notes,
        table=Numbers(("metric", *columns), rows),
    )


def redundancy_section(population: Population) -> Section:
    """How well each metric is predicted from the others; raises `TooFew`."""
    found = redundancy(population)
    notes = [
        f"{population.described}; the {found[0][3]} of them that have all metrics. Share of the variance of a "
        "metric's logit that is predicted for a run from all other runs (leave one out): by a line on the clean logit, "
        "and by a ridge on clean and all other shifts. Near 1: the metric repeats them. Below 0: the mean does better."
    ]
    rows = [(name, f"{clean:.3f}", f"{others:.3f}") for name, clean, others, _ in found]
    return Section(
        population.key("redundancy"),
        population.title("Which metrics repeat the others?"),
        notes,
        table=Numbers(("metric", "R² from clean accuracy", "R² from all others"), rows),
    )


def decimals(value: float) -> str:
    """Two of them; empty for NaN."""
    return "" if np.isnan(value) else f"{value:.2f}"
