"""Training curves: what train.csv of each run says, over the epochs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence

from fourier_robust.report.collect import Run
from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.series import Material, Point
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section

SHOWN = {"train_loss": "training loss", "train_accuracy": "training accuracy (%)", "val_error": "validation error (%)"}
MOST, LISTED = 100, 12  # epochs drawn of a curve, and in the numbers
Curves = Mapping[str, Mapping[int, Point]]


def sections(material: Material) -> list[Section]:
    """One section per training data set with a training on record."""
    found = []
    for train_dataset in dict.fromkeys(method.train_dataset for method in material.methods):
        curves: dict[Method, Curves] = {}
        for method in material.methods:
            if method.train_dataset == train_dataset:
                logs = [log for runs in method.runs.values() if (log := _read(material, runs[0]))]
                if logs:
                    curves[method] = _curves(logs)
        if curves:
            found.append(_section(material, train_dataset, curves))
    return found


def _section(material: Material, train_dataset: str, every: Mapping[Method, Curves]) -> Section:
    drawn_of = list(every)[: material.limit]
    drawn, rows = [], []
    for name, title in SHOWN.items():
        scale = 100 if title.endswith("(%)") else 1
        lines = []
        for method in drawn_of:
            of = every[method].get(name, {})
            if not of:
                continue
            points = [
                (float(epoch), scale * of[epoch].mean, None if of[epoch].std is None else scale * (of[epoch].std or 0))
                for epoch in thinned(list(of), MOST)
            ]
            lines.append(Line(material.looks[method], points, marks=False))
            said = ", ".join(f"{epoch}: {of[epoch].text(scale)}" for epoch in thinned(list(of), LISTED))
            rows.append((material.looks[method].name, title, said))
        if lines:
            drawn.append(Panel(title, lines))
    last = "; ".join(
        f"{material.looks[method].name} {of[max(of)].text()} after {max(of)} epochs"
        for method in drawn_of
        if (of := every[method].get("train_accuracy", {}))
    )
    notes = [
        "Of the augmented images that were trained on, as train.csv of each run has it: losses and accuracies of "
        "different augmentations can't be compared; an augmentation that mixes images or trains on several views has "
        "another loss. Means over seeds, bands: one standard deviation.",
    ]
    left = len(every) - len(drawn_of)
    notes += [f"{len(drawn_of)} of {len(every)} methods are drawn, the first of the table."] if left else []
    return Section(
        f"training-{''.join(one if one.isascii() and one.isalnum() else '-' for one in train_dataset.lower())}",
        f"Training on {train_dataset}",
        notes,
        [
            Picture(
                "Training curves",
                panels(drawn, [material.looks[method] for method in drawn_of], "", "epoch", 3, 170, own=True),
                f"Training accuracy in percent at the end: {last}.",
                Numbers(("method", "what", "epoch: value"), rows),
            )
        ],
    )


def thinned(every: Sequence[int], most: int) -> list[int]:
    """At most `most`, evenly spaced, the first and the last among them."""
    if len(every) <= most:
        return list(every)
    return [every[round(at * (len(every) - 1) / (most - 1))] for at in range(most)]


def _read(material: Material, run: Run) -> dict[int, dict[str, float]]:
    """Epoch -> name -> value of a run's train.csv; empty without one, with a line where it is damaged."""
    path = run.folder / "train.csv"
    try:
        with path.open(newline="") as file:
            found: dict[int, dict[str, float]] = {}
            for line in csv.DictReader(file, strict=True):
                values = {name: float(line[name]) for name in SHOWN if line.get(name)}
                found[int(line["epoch"])] = {name: one for name, one in values.items() if math.isfinite(one)}
            return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        material.skipped.append(f"{run.shown}: train.csv is damaged ({error}); not drawn")
        return {}


def _curves(logs: Sequence[Mapping[int, Mapping[str, float]]]) -> Curves:
    """Over the epochs that every seed has."""
    epochs = sorted(set.intersection(*(set(log) for log in logs)))
    return {
        name: {
            epoch: Point.of([log[epoch][name] for log in logs])
            for epoch in epochs
            if all(name in log[epoch] for log in logs)
        }
        for name in SHOWN
    }
