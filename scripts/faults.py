"""``make faults``: every fault the project is to survive, injected; a table of what became of each.

    python scripts/faults.py [--kills 50] [--minutes 15] [--only NAME ...] [--table FILE] [--folder DIR] [--keep]

Rows are printed, and the table written to a file, as they come. Exits with 1 if a verdict is bad. Cases: see `CASES`;
those that need rights this user has not say so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fault import damage, disk, kills, others
from fault.case import Bench, Line
from fault.launch import Ended, Server  # noqa: F401 (Ended: for the tests)

CASES = {
    "train_kill": kills.train_kill,
    "train_term": kills.train_term,
    "cold_start": others.cold_start,
    "suites_kill": kills.suites_kill,
    "checkpoint_resume": damage.checkpoint_resume,
    "checkpoint_eval": damage.checkpoint_eval,
    "results": damage.results,
    "release": damage.release,
    "full": disk.full,
    "read_only": disk.read_only,
    "data_vanishes": others.data_vanishes,
    "loss_diverges": others.loss_diverges,
    "worker_dies": others.worker_dies,
    "clock_jumps": others.clock_jumps,
    "many_at_once": others.many_at_once,
    "two_trainings": others.two_trainings,
}
TABLE = Path(__file__).parents[1] / "outputs" / "faults.md"
COLUMNS = ("fault", "injected how", "message (last line)", "exit code", "what was left", "verdict")


def lines_of(name: str, bench: Bench) -> Iterator[Line]:
    """The lines of one case as they come; an error of the case itself is a bad line."""
    try:
        yield from CASES[name](bench)
    except Exception as error:
        traceback.print_exc()
        yield Line(name, "the case broke off", bad=[f"{type(error).__name__}: {error}"])


def cells(line: Line, scratch: Path) -> list[str]:
    """One row of the table."""
    verdict = "BAD: " + "; ".join(line.bad) if line.bad else "skipped" if line.left.startswith("SKIPPED") else "good"
    row = [line.fault, line.how, line.message, line.code, line.left, verdict]
    return [cell.replace(f"{scratch}/", "").replace("|", "/").replace("\n", " ")[:300] for cell in row]


def write(path: Path, rows: list[str]) -> None:
    """The table so far, whole at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.tmp")
    half.write_text("\n".join(rows) + "\n")
    os.replace(half, path)


def main() -> None:
    """Inject, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="points at which each command is struck")
    parser.add_argument(
        "--minutes", type=float, default=15, help="for one command's kills; fewer kills than asked are bad"
    )
    parser.add_argument("--table", type=Path, default=TABLE, help=f"file that takes the table (default: {TABLE.name})")
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--folder", type=Path, help="scratch folder (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="faults", dir=options.folder)).resolve()
    rows, bad, started = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"], 0, time.monotonic()
    print("\n".join(rows), flush=True)

    def say(text: str) -> None:
        print(f"[{(time.monotonic() - started) / 60:.1f} min] {text}", file=sys.stderr, flush=True)

    try:
        with Server(scratch / "logs") as server:
            bench = Bench(scratch, server, options.kills, minutes=options.minutes, say=say)
            for count, name in enumerate(options.only, 1):
                say(f"case {count} of {len(options.only)}: {name}")
                for line in lines_of(name, bench):
                    rows.append(f"| {' | '.join(cells(line, scratch))} |")
                    bad += bool(line.bad)
                    print(rows[-1], flush=True)
                    write(options.table, [*rows, "", f"unfinished: case {count} of {len(options.only)}"])
    finally:
        if not options.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    summary = f"{len(rows) - 2} faults, {bad} bad, {time.monotonic() - started:.0f} s, {options.kills} kills each"
    write(options.table, [*rows, "", summary])
    print(f"\n{summary}; the table: {options.table}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
