"""Run folders as trainings and evaluations leave them, with numbers chosen by a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourier_robust.run.results import OutcomeStore, Row, write_receipt, write_rows

ERROR = "1 - top-1 accuracy"


def row(metric: str = "error", value: float = 0.1, **changes: Any) -> Row:
    """A row of a run trained on cifar10, of suite clean where nothing else is said."""
    plain: dict[str, Any] = dict.fromkeys(Row.__dataclass_fields__)
    plain |= {"run": "r", "suite": "clean", "dataset": "cifar10", "n": 100, "higher_is_better": False, "seed": 0}
    plain |= {"train_dataset": "cifar10", "arch": "speednet", "aug": "standard", "reg": "none"}
    return Row(**{**plain, "metric": metric, "value": value, **changes})


def run(folder: Path, rows: Sequence[Row], epochs: int | None = 8, suite: str = "clean", **receipt: Any) -> Path:
    """One run with one evaluation; `epochs` is its only setting beside the seed, None writes no config.yaml."""
    if epochs is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(
            f"seed: {rows[0].seed}\npaths:\n  x: {folder}\ntrainer:\n  epochs: {epochs}\n"
        )
    results = folder / "eval" / suite
    content = {
        "checkpoint": {"path": "last.pt", "sha256": str(folder)},
        "config": {"precision": "fp32", "suite": {"_target_": "Suite", "images": None}},
        "subject": {},
        "conditions_wanted": 1,
        "conditions_measured": 1,
        "remarks": [],
        "definitions": {"error": ERROR, "nll": "nats", "auroc": "area", "low": "neither high nor low is better"},
        "data": {"cifar10": "abc"},
        "wall_seconds": 1.5,
        "fourier_robust": "0.1.0",
        "git": {"commit": "c" * 40, "dirty": False},
        "command": ["fr-eval", "suite=clean"],
    }
    write_receipt(results / "eval.json", {**content, **receipt})
    write_rows(results / "results.csv", rows)
    return results


def outcomes(results: Path, wrong: Mapping[str, Sequence[int]]) -> None:
    """Per-image outcomes: condition -> 1 for each wrong image; all labels are 0."""
    for key, values in wrong.items():
        label = np.zeros(len(values), dtype=np.int64)
        OutcomeStore(results / "outcomes").save(key, "x", {"label": label, "prediction": np.array(values)})


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
