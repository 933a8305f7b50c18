"""Find what evaluations left, and read the rows that a report shows, with the receipt of each.

Above 300 lines: reading, and one clear line for each thing that can't be read.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fourier_robust.errors import UserError
from fourier_robust.report.selection import Selector, first_match
from fourier_robust.report.units import locale_hint, wrong_unit
from fourier_robust.run.folder import LAUNCH_LEAVES, LAUNCH_SETTINGS, slug
from fourier_robust.run.results import COLUMNS, Row

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FIRST, LAST = COLUMNS.index("suite"), COLUMNS.index("metric") + 1
KEY = COLUMNS[FIRST:LAST]
KEY_OF = itemgetter(*range(FIRST, LAST))
NOT_RESULTS = {"outcomes", "predictions", "superseded"}  # folders of files not to read, or of models before


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
    """A row, where it comes from, and the place in ``columns`` that chose it; -1 where it is in no table."""

    row: Row
    receipt: Receipt
    place: int


@dataclass
class Collected:
    """What a report is made of.

    Attributes:
        found: the rows chosen for tables.
        also: the rows chosen for what stands below the tables; those of `found` may be among them.
        receipts: of all results read, in order.
        lines: a text per file: its rows as they stand there, each behind the folder that holds it; for rows.csv.
        skipped: one sentence for each thing that was not read, and why.
    """

    found: list[Found] = field(default_factory=list)
    also: list[Found] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def rows_csv(self) -> str:
        """All rows as one CSV."""
        return "".join([",".join(("folder", *COLUMNS)) + "\n", *self.lines])


class Unreadable(Exception):
    """A file that is not as this project's suites write it; the message says where."""


def collect(places: Sequence[str], selectors: Sequence[Selector], also: Sequence[Selector] = ()) -> Collected:
    """All results below `places` (folders or globs), each folder once.

    Args:
        places: where to look.
        selectors: of the rows for tables.
        also: of the rows for what stands below the tables.

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
    choice = Choice(selectors, also)
    own = {(run_folder(folder), folder.name.split(".")[0]) for folder in folders}
    for path in files:
        folder = path.parent
        shown = folder.relative_to(shared).as_posix()
        try:
            content, where = _receipt(folder), run_folder(folder)
            _of_last(content, folder, where)
            # suite=all repeats the rows that lie beside it
            skip = {suite for run, suite in own if run == where} if "not_measured" in content else set()
            if where not in runs:
                runs[where] = _run(where, where.relative_to(shared).as_posix(), parsed)
            receipt = Receipt(runs[where], folder.name, folder, content)
            found, others, lines = _rows(path, shown, receipt, choice, skip)
        except Unreadable as reason:
            collected.skipped.append(f"{shown}: {reason}; left out")
            continue
        if lines:
            collected.lines.append(lines)
            collected.receipts.append(receipt)
            collected.found += found
            collected.also += others
        elif not skip:
            collected.skipped.append(f"{shown}: results.csv has no rows; left out")
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


def _of_last(content: Mapping[str, Any], folder: Path, run: Path) -> None:
    """Pass over what was measured on another checkpoint of a run: its numbers are not those of the run."""
    subject = content.get("checkpoint")
    file = Path(str(subject.get("path", "last.pt"))) if isinstance(subject, Mapping) else Path("last.pt")
    if file.name != "last.pt" and folder.name.endswith(f".{slug(file.stem)}") and (run / "last.pt").exists():
        raise Unreadable(f"measured on {file.name}, not on the run's last.pt")


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


class Choice:
    """Which rows are wanted, asked once per kind of row.

    Args:
        selectors: of the rows for tables.
        also: of further rows.
    """

    def __init__(self, selectors: Sequence[Selector], also: Sequence[Selector]) -> None:
        self._selectors, self._also = selectors, also
        self._known: dict[tuple[str, ...], Chosen | None] = {}

    def of(self, keys: Sequence[tuple[str, ...]]) -> list[Chosen | None]:
        """What becomes of rows of `keys` (texts of ``suite`` to ``metric``); None where nothing asks for them."""
        for key in dict.fromkeys(keys):
            if key not in self._known:
                row = dict(zip(KEY, key, strict=True))
                place, also = first_match(self._selectors, row), first_match(self._also, row) is not None
                self._known[key] = Chosen(place, also, _fields(key)) if also or place is not None else None
        return list(map(self._known.__getitem__, keys))


class Chosen(NamedTuple):
    """The place of the selector of a table or None, whether `also`, and the fields; None where they can't be read."""

    place: int | None
    also: bool
    fields: tuple[Any, ...] | None


def _fields(key: tuple[str, ...]) -> tuple[Any, ...] | None:
    suite, dataset, corruption, severity, attack, eps, score, metric = key
    try:
        level, size = int(severity) if severity else None, float(eps) if eps else None
    except ValueError:
        return None
    return suite, dataset, corruption or None, level, attack or None, size, score or None, metric


def _rows(
    path: Path, shown: str, receipt: Receipt, choice: Choice, skip: set[str]
) -> tuple[list[Found], list[Found], str]:
    """The rows of one file that are wanted, in tables and also, and all its lines; without the suites in `skip`."""
    try:
        text = path.read_text()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise Unreadable(f"results.csv is damaged ({error})") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        given = ",".join(lines[0]) if lines else "none"
        hint = locale_hint(lines[0]) if lines else ""
        raise Unreadable(f"results.csv has other columns than this version writes: {given}{hint}")
    kept = lines[1:]
    if not set(map(len, kept)) <= {len(COLUMNS)}:
        number, bad = next((at, cells) for at, cells in enumerate(kept, 2) if len(cells) != len(COLUMNS))
        what = f"line {number} has {len(bad)} of {len(COLUMNS)} fields{locale_hint(bad)}"
        raise Unreadable(f"results.csv is damaged ({what})")
    skipped = {name.split("-")[0] for name in skip}
    numbers: Sequence[int] = range(2, len(kept) + 2)
    if skipped:
        numbers = [at for at, cells in enumerate(kept, 2) if cells[FIRST].split("-")[0] not in skipped]
        kept = [kept[at - 2] for at in numbers]
    found, others = [], []
    for number, cells, chosen in zip(numbers, kept, choice.of(list(map(KEY_OF, kept))), strict=True):
        if chosen is None:
            continue
        row = _row(cells, number, chosen.fields)
        if math.isfinite(row.value):
            if not 0 <= row.value <= 1 and (wrong := wrong_unit(row.metric, row.value)):
                raise Unreadable(f"results.csv is damaged (line {number}: {wrong})")
            one = Found(row, receipt, -1 if chosen.place is None else chosen.place)
            if chosen.place is not None:
                found.append(one)
            if chosen.also:
                others.append(one)
    receipt.rows = len(kept)
    if kept:
        receipt.first = dict(zip(COLUMNS, kept[0], strict=True))
    if kept and not skip and '"' not in text and "\r" not in text:
        prefix = _field(shown) + ","
        return found, others, prefix + text.split("\n", 1)[1].rstrip("\n").replace("\n", "\n" + prefix) + "\n"
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([shown, *cells] for cells in kept)
    return found, others, buffer.getvalue()


def _field(text: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([text])
    return buffer.getvalue()


def _row(cells: Sequence[str], number: int, fields: tuple[Any, ...] | None) -> Row:
    """A row, its key read before; texts that many rows share are kept once."""
    run, tail = cells[0], cells[LAST:]
    if fields is not None and run and all(tail[5:9]):
        value, low, high, n, better, train_dataset, arch, aug, reg, seed = tail
        try:
            numbers = float(value), float(low) if low else None, float(high) if high else None, int(n), better == "true"
            return Row(sys.intern(run), *(*fields, *numbers, *map(sys.intern, (train_dataset, arch, aug, reg)),
                                          int(seed) if seed else None))  # fmt: skip
        except ValueError:
            pass
    return _slow_row(cells, number)


def _slow_row(cells: Sequence[str], number: int) -> Row:
    """The same, saying what can't be read."""
    named = dict(zip(COLUMNS, cells, strict=True))
    reader = {"severity": int, "eps": float, "value": float, "ci_low": float, "ci_high": float, "n": int, "seed": int}
    values: dict[str, Any] = {}
    for name, text in named.items():
        try:
            values[name] = reader[name](text) if name in reader and text else text or None
        except ValueError:
            raise Unreadable(
                f"results.csv is damaged (line {number}: {name} is {text!r}{locale_hint([text])})"
            ) from None
    for name in ("value", "n"):
        if values[name] is None:
            raise Unreadable(f"results.csv is damaged (line {number}: {name} is empty)")
    for name in ("run", "suite", "dataset", "metric", "train_dataset", "arch", "aug", "reg"):
        values[name] = values[name] or ""
    return Row(**{**values, "higher_is_better": named["higher_is_better"] == "true"})
