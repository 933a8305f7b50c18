"""Find what evaluations left, and read the rows that a report shows, with the receipt of each.

A little over 200 lines: reading, and one clear line for each thing that can't be read.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fourier_robust.errors import UserError
from fourier_robust.report.selection import Selector, first_match
from fourier_robust.run.folder import LAUNCH_LEAVES, LAUNCH_SETTINGS
from fourier_robust.run.results import COLUMNS, Row

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NOT_RESULTS = {"outcomes", "predictions"}  # folders that hold nothing to read here, and many files


@dataclass(frozen=True, eq=False)
class Run:
    """One trained model, or somebody else's checkpoint.

    Attributes:
        folder: where it lies.
        shown: the same, below what all runs share.
        settings: dotted key -> value as JSON, of the training without seed, paths and device; None where unknown.
        config: its config.yaml as text, or empty.
        training: its run.json, or empty.
    """

    folder: Path
    shown: str
    settings: Mapping[str, str] | None
    config: str
    training: Mapping[str, Any]


@dataclass(eq=False)
class Receipt:
    """One evaluation.

    Attributes:
        run: what was measured.
        name: of its folder: the suite, and the data set where that is not the run's own.
        folder: where its files lie.
        content: of its eval.json.
        first: its first row, texts of the file; all rows name the same run, method and seed.
        rows: how many it has.
    """

    run: Run
    name: str
    folder: Path
    content: Mapping[str, Any]
    first: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True)
class Found:
    """A row, where it comes from, and the place in ``columns`` that chose it."""

    row: Row
    receipt: Receipt
    place: int


@dataclass
class Collected:
    """What a report is made of.

    Attributes:
        found: the rows chosen for tables.
        receipts: of all results read, in order.
        lines: all rows as they stand in the files, each behind the folder that holds it; for rows.csv.
        skipped: one sentence for each thing that was not read, and why.
    """

    found: list[Found] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def rows_csv(self) -> str:
        """All rows as one CSV."""
        return ",".join(("folder", *COLUMNS)) + "\n" + "".join(self.lines)


class Unreadable(Exception):
    """A file that is not as this project's suites write it; the message says where."""


def collect(places: Sequence[str], selectors: Sequence[Selector]) -> Collected:
    """All results below `places` (folders or globs), each folder once.

    Raises:
        UserError: a place is not there, or nothing readable lies below.
    """
    files = results_files(places)
    if not files:
        raise UserError(f"no results.csv below {', '.join(places)}: fr-eval leaves them in eval/<suite>/ of a run")
    folders = [path.parent for path in files]
    shared = Path(os.path.commonpath([run_folder(folder).parent for folder in folders]))
    runs: dict[Path, Run] = {}
    parsed: dict[str, Mapping[str, str]] = {}
    collected = Collected()
    chosen: dict[tuple[str, ...], int | None] = {}
    own = {(run_folder(folder), folder.name.split(".")[0]) for folder in folders}
    for path in files:
        folder = path.parent
        shown = folder.relative_to(shared).as_posix()
        try:
            content, where = _receipt(folder), run_folder(folder)
            # suite=all repeats the rows that lie beside it
            skip = {suite for run, suite in own if run == where} if "not_measured" in content else set()
            if where not in runs:
                runs[where] = _run(where, where.relative_to(shared).as_posix(), parsed)
            receipt = Receipt(runs[where], folder.name, folder, content)
            found, lines = _rows(path, shown, receipt, selectors, chosen, skip)
        except Unreadable as reason:
            collected.skipped.append(f"{shown}: {reason}; left out")
            continue
        collected.lines += lines
        if lines:
            collected.receipts.append(receipt)
            collected.found += found
    if not collected.receipts:
        raise UserError(f"nothing readable below {', '.join(places)}: {collected.skipped[0]}")
    return collected


def results_files(places: Sequence[str]) -> list[Path]:
    """Every results.csv below `places`, resolved, sorted, once.

    Raises:
        UserError: a place is not there.
    """
    found: set[Path] = set()
    for place in places:
        matches = glob.glob(place, recursive=True)
        if not matches:
            raise UserError(f"runs: there is nothing at {place}")
        for match in matches:
            path = Path(match)
            if path.is_file() and path.name == "results.csv":
                found.add(path.resolve())
            for base, below, names in os.walk(path):
                below[:] = sorted(set(below) - NOT_RESULTS)
                if "results.csv" in names:
                    found.add((Path(base) / "results.csv").resolve())
    return sorted(found)


def run_folder(folder: Path) -> Path:
    """The run that the results in `folder` are of: ``RUN/eval/SUITE``, or ``RUN/SUITE`` where they were kept so."""
    return folder.parent.parent if folder.parent.name == "eval" else folder.parent


def flatten(node: Any, path: str = "") -> dict[str, str]:
    """Dotted key -> value as JSON; lists are values."""
    if not isinstance(node, Mapping):
        return {path: json.dumps(node)}
    return {name: text for key, value in node.items() for name, text in flatten(value, _dotted(path, key)).items()}


def _dotted(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _receipt(folder: Path) -> dict[str, Any]:
    path = folder / "eval.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise Unreadable("no eval.json beside results.csv") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"eval.json is damaged ({error})") from None
    kinds = {"config": Mapping, "definitions": Mapping, "data": Mapping, "remarks": list, "git": Mapping}
    if not isinstance(content, dict):
        raise Unreadable("eval.json is damaged (it is no object)")
    for key, kind in kinds.items():
        if content.get(key) is not None and not isinstance(content[key], kind):
            raise Unreadable(f"eval.json is damaged ({key} is no {kind.__name__.lower()})")
    return content


def _run(folder: Path, shown: str, parsed: dict[str, Mapping[str, str]]) -> Run:
    """A run with its settings, where config.yaml says them; `parsed` remembers equal texts."""
    try:
        config = (folder / "config.yaml").read_text()
        if config not in parsed:
            content = yaml.load(config, LOADER)
            kept = {key: value for key, value in content.items() if key not in {*LAUNCH_SETTINGS, "seed"}}
            flat = flatten(kept)
            parsed[config] = {key: flat[key] for key in sorted(flat) if key.rsplit(".", 1)[-1] not in LAUNCH_LEAVES}
        settings: Mapping[str, str] | None = parsed[config]
    except FileNotFoundError:
        config, settings = "", None
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        raise Unreadable("config.yaml of the run is damaged") from None
    try:
        training = json.loads((folder / "run.json").read_text())
        training = training if isinstance(training, dict) else {}
    except (OSError, ValueError):
        training = {}
    return Run(folder, shown, settings, config, training)


def _rows(
    path: Path,
    shown: str,
    receipt: Receipt,
    selectors: Sequence[Selector],
    chosen: dict[tuple[str, ...], int | None],
    skip: set[str],
) -> tuple[list[Found], list[str]]:
    """The rows of one file that `selectors` take, and all its lines; those of the suites in `skip` in neither."""
    try:
        text = path.read_text()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise Unreadable(f"results.csv is damaged ({error})") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        given = ",".join(lines[0]) if lines else "none"
        raise Unreadable(f"results.csv has other columns than this version writes: {given}")
    found, kept = [], []
    suite, key_end = COLUMNS.index("suite"), COLUMNS.index("metric") + 1
    for number, cells in enumerate(lines[1:], 2):
        if len(cells) != len(COLUMNS):
            raise Unreadable(f"results.csv is damaged (line {number} has {len(cells)} of {len(COLUMNS)} fields)")
        if skip and cells[suite].split("-")[0] in {name.split("-")[0] for name in skip}:
            continue
        kept.append(cells)
        receipt.first = receipt.first or dict(zip(COLUMNS, cells, strict=True))
        key = tuple(cells[suite:key_end])
        if key not in chosen:
            chosen[key] = first_match(selectors, dict(zip(COLUMNS, cells, strict=True)))
        place = chosen[key]
        if place is not None:
            row = _row(cells, number)
            if math.isfinite(row.value):
                found.append(Found(row, receipt, place))
    receipt.rows = len(kept)
    if not skip and '"' not in text and "\r" not in text:
        prefix = _field(shown) + ","
        return found, [prefix + line + "\n" for line in text.split("\n")[1:] if line]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([shown, *cells] for cells in kept)
    return found, buffer.getvalue().splitlines(keepends=True)


def _field(text: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([text])
    return buffer.getvalue()


def _row(cells: Sequence[str], number: int) -> Row:
    named = dict(zip(COLUMNS, cells, strict=True))
    reader = {"severity": int, "eps": float, "value": float, "ci_low": float, "ci_high": float, "n": int, "seed": int}
    values: dict[str, Any] = {}
    for name, text in named.items():
        try:
            values[name] = reader[name](text) if name in reader and text else text or None
        except ValueError:
            raise Unreadable(f"results.csv is damaged (line {number}: {name} is {text!r})") from None
    for name in ("value", "n"):
        if values[name] is None:
            raise Unreadable(f"results.csv is damaged (line {number}: {name} is empty)")
    for name in ("run", "suite", "dataset", "metric", "train_dataset", "arch", "aug", "reg"):
        values[name] = values[name] or ""
    return Row(**{**values, "higher_is_better": named["higher_is_better"] == "true"})
