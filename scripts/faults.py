"""``make faults``: every fault the project is to survive, injected; a table of what became of each.

    python scripts/faults.py [--kills 50] [--minutes 15] [--processes 2] [--only NAME ...] [--table FILE] [--keep]

Cases run in processes of their own, as many at once as there are cores. Rows are printed, and the table written to a
file, as cases end. Exits with 1 if a verdict is bad. Cases: see `CASES`; those that need rights this user has not say
so.
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
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fault import damage, disk, kills, others
from fault.case import Bench, Line
from fault.launch import Ended, Server  # noqa: F401 (Ended: for the tests)

CASES = {
    "train_kill": kills.train_kill,
    "train_term": kills.train_term,
    "cold_start": others.cold_start,
    **{f"{name}_kill": partial(kills.suite_kill, name=name) for name in kills.SUITES},
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


def case(name: str, scratch: Path, strikes: int, minutes: float, started: float) -> list[list[str]]:
    """The rows of one case, injected below `scratch`; in a process of its own."""

    def say(text: str) -> None:
        print(f"[{(time.time() - started) / 60:.1f} min] {text.strip()}", file=sys.stderr, flush=True)

    say(f"{name} begins")
    folder = scratch / name
    with Server(folder / "logs") as server:
        bench = Bench(folder, server, strikes, minutes=minutes, say=say)
        return [cells(line, folder) for line in lines_of(name, bench)]


def main() -> None:
    """Inject, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="points at which each command is struck")
    parser.add_argument(
        "--minutes", type=float, default=15, help="for one command's kills; fewer kills than asked are bad"
    )
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="cases at once")
    parser.add_argument("--table", type=Path, default=TABLE, help=f"file that takes the table (default: {TABLE.name})")
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--folder", type=Path, help="scratch folder (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="faults", dir=options.folder)).resolve()
    found: dict[str, list[list[str]]] = {}
    started = time.time()

    def table(*below: str) -> None:
        rows = [row for name in options.only for row in found.get(name, [])]
        head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        write(options.table, [*head, *(f"| {' | '.join(row)} |" for row in rows), "", *below])

    try:
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
            asked = {
                pool.submit(case, name, scratch, options.kills, options.minutes, started): name for name in options.only
            }
            for count, done in enumerate(as_completed(asked), 1):
                name, error = asked[done], done.exception()
                found[name] = [[name, "the case broke off", "", "", "", f"BAD: {error!r}"]] if error else done.result()
                print(*(f"| {' | '.join(row)} |" for row in found[name]), sep="\n", flush=True)
                table(f"unfinished: {count} of {len(options.only)} cases")
    finally:
        if not options.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    rows = [row for name in options.only for row in found[name]]
    bad = sum(row[-1].startswith("BAD") for row in rows)
    summary = f"{len(rows)} faults, {bad} bad, {time.time() - started:.0f} s, {options.kills} kills each"
    table(summary)
    print(f"\n{summary}; the table: {options.table}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
