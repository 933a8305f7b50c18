"""How soon the commands answer: ``--help``, a wrong group choice, a wrong type. Wall seconds of whole processes.

python scripts/bench/startup.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from timing import report

COMMANDS = {
    "fr-train --help": (["fr-train", "--help"], 0),
    "fr-train aug=nothing": (["fr-train", "aug=nothing"], 2),
    "fr-train trainer.epochs=many": (["fr-train", "trainer.epochs=many"], 2),
    "fr-eval (no ckpt)": (["fr-eval"], 2),
}


def seconds(command: list[str], code: int, rounds: int) -> float:
    """Median wall seconds of `command`, which must exit with `code`."""
    found = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        done = subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], capture_output=True)
        found.append(time.perf_counter() - started)
        assert done.returncode == code, done.stderr.decode()
    return statistics.median(found[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for name, (command, code) in COMMANDS.items():
        report(f"{name}, seconds", seconds(command, code, rounds), "at most 0.5")


if __name__ == "__main__":
    main()
