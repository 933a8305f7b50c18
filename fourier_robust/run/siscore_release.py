"""Composed SI-Score images on disk in the release's layout: finished values are kept, half-written ones made again."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fourier_robust.errors import UserError
from fourier_robust.run.atomic import write_bytes, write_text
from fourier_robust.run.folder import RunFolder, slug
from fourier_robust.run.pool import spread, usable_cores
from fourier_robust.run.provenance import provenance

NAME = "siscore.json"
Unit = tuple[str, str]  # factor and value: what is made by one worker and becomes visible in the metadata at once


@dataclass(frozen=True)
class SIScoreRelease:
    """What is to be written, and how it is made.

    Attributes:
        folder: where; each factor gets a folder below.
        units: (factor, value), in the order of the metadata.
        columns: of the metadata.
        make: unit -> its files (path below the factor's folder, bytes, line of the metadata); can be pickled.
        tables: name below `folder` -> text: the tables of classes and backgrounds.
        facts: what decides the images, for the receipt.
    """

    folder: Path
    units: tuple[Unit, ...]
    columns: tuple[str, ...]
    make: Callable[[Unit], Iterable[tuple[str, bytes, Mapping[str, Any]]]]
    tables: Mapping[str, str]
    facts: Mapping[str, Any]


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What decided the images in `folder`; None where there is no receipt, as in a published release.

    Raises:
        UserError: it is damaged.
    """
    try:
        facts = json.loads((folder / NAME).read_text())["facts"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        facts = None
    if not isinstance(facts, dict):
        raise UserError(f"{folder / NAME} is damaged, so nobody knows what lies there: give another folder")
    return facts


def write_siscore(release: SIScoreRelease, workers: int | None = None) -> str:
    """Write what is not there yet; returns a line that says what was done.

    Args:
        release: what to write.
        workers: processes of one thread each; None takes one per core this process may use, 0 or 1 none but this one.

    Raises:
        UserError: the folder holds something else, is in use, or can't be written; or a worker died.
    """
    try:
        with RunFolder(release.folder).claimed():
            return _write(release, workers)
    except BrokenProcessPool:
        raise UserError(
            f"a process that makes images for {release.folder} died (out of memory?); the same command goes on, with "
            "suite.workers=1 it needs least memory"
        ) from None
    except OSError as error:
        raise UserError(f"writing {release.folder} stopped: {error}; what is finished is kept") from error


def _write(release: SIScoreRelease, workers: int | None) -> str:
    started, receipt = time.perf_counter(), release.folder / NAME
    facts = json.loads(json.dumps(release.facts))
    found = read_facts(release.folder)
    if found is not None:
        odd = [key for key in {**facts, **found} if facts.get(key) != found.get(key)]
        if odd:
            raise UserError(f"{release.folder} holds images made with another {odd[0]}: give another suite.save")
    elif any(not item.name.startswith((".claim", ".lock")) for item in release.folder.iterdir()):
        raise UserError(f"{release.folder} holds files, but no {NAME} of ours: give suite.save a new folder")
    about = {"facts": facts} | provenance(torch.device("cpu"))
    write_text(receipt, json.dumps(about | {"state": "writing"}, indent=2) + "\n")
    left = [unit for unit in release.units if not _part(release, unit).exists()]
    processes = max(1, min(usable_cores() if workers is None else workers, len(left)))
    bars = tqdm(total=len(left), unit="value", disable=None)
    with bars as bar, closing(spread(partial(_store, release), left, processes)) as done:
        for unit in done:
            bar.set_description(" ".join(unit), refresh=False)
            bar.update()
    for name, text in release.tables.items():
        write_text(release.folder / name, text)
    header = _csv(release.columns, [])
    for factor in dict.fromkeys(factor for factor, _ in release.units):
        parts = [_part(release, unit).read_text() for unit in release.units if unit[0] == factor]
        write_text(release.folder / factor / "metadata.csv", header + "".join(parts))
    write_text(receipt, json.dumps(about | {"state": "done"}, indent=2) + "\n")
    seconds = f"{time.perf_counter() - started:.1f} s by {processes} process{'es' * (processes > 1)}"
    return f"{release.folder}: {len(release.units)} factor values, {len(left)} of them made in {seconds}"


def _store(release: SIScoreRelease, unit: Unit) -> None:
    """The images of a value, then its lines of the metadata, which say that it is finished."""
    lines = []
    for path, content, line in release.make(unit):
        target = release.folder / unit[0] / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        lines.append(line)
    write_bytes(_part(release, unit), _csv(release.columns, lines).removeprefix(_csv(release.columns, [])).encode())


def _part(release: SIScoreRelease, unit: Unit) -> Path:
    return release.folder / unit[0] / ".parts" / f"{slug(unit[1])}.csv"


def _csv(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
