"""``make faults``: every fault the project is to survive, injected; a table of what became of each.

    python scripts/faults.py [--kills 50] [--only NAME ...] [--folder DIR] [--keep]

Exits with 1 if a verdict is bad. Cases: see `CASES`; those that need rights this user has not say so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
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
COLUMNS = ("fault", "injected how", "message (last line)", "exit code", "what was left", "verdict")


def lines_of(name: str, bench: Bench) -> list[Line]:
    """The lines of one case; an error of the case itself is a bad line."""
    found: list[Line] = []
    try:
        for line in CASES[name](bench):
            found.append(line)
    except Exception as error:
        traceback.print_exc()
        found.append(Line(name, "the case broke off", bad=[f"{type(error).__name__}: {error}"]))
    return found


def cells(line: Line, scratch: Path) -> list[str]:
    """One row of the table."""
    verdict = "BAD: " + "; ".join(line.bad) if line.bad else "good"
    row = [line.fault, line.how, line.message, line.code, line.left, verdict]
    return [cell.replace(f"{scratch}/", "").replace("|", "/").replace("\n", " ")[:300] for cell in row]


def main() -> None:
    """Inject, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="points at which each command is struck")
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--folder", type=Path, help="scratch folder (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="faults", dir=options.folder)).resolve()
    bad = total = 0
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    started = time.monotonic()
    try:
        with Server(scratch / "logs") as server:
            bench = Bench(scratch, server, options.kills)
            for name in options.only:
                for line in lines_of(name, bench):
                    print(f"| {' | '.join(cells(line, scratch))} |", flush=True)
                    bad, total = bad + bool(line.bad), total + 1
    finally:
        if not options.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{total} faults, {bad} bad, {time.monotonic() - started:.0f} s", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
