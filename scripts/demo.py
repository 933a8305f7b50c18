"""The demo: standard against APR-SP on the embedded data set, each step as a user would type it.

    python scripts/demo.py [HYDRA_OVERRIDES...]

Overrides go to both trainings, e.g. ``seed=1`` or ``dataset.agreement=1``. Finished runs are reused.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

AUGS = ("standard", "apr_sp")
BIN = Path(sys.executable).parent


def call(command: str, *arguments: str) -> list[str]:
    """Run a console script, show what it prints, return its lines; a failure ends the demo with its exit code."""
    print(f"\n$ {command} {' '.join(arguments)}", flush=True)
    process = subprocess.Popen([BIN / command, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
        lines.append(line.strip())
    if process.wait() != 0:
        sys.exit(process.returncode)
    return lines


def folder_of(lines: list[str]) -> Path:
    """The run folder that fr-train named in its last line (``done: .../last.pt`` or ``already done: ...``)."""
    path = Path(lines[-1].split("done: ", 1)[1])
    return path.parent if path.suffix == ".pt" else path


def errors(folder: Path) -> dict[str, float]:
    """Clean and swapped error, mean error per corruption and over them, from the run's result tables."""
    found = {}
    for suite in ("clean", "corruptions"):
        with open(folder / "eval" / suite / "results.csv", newline="") as file:
            for row in csv.DictReader(file):
                if suite == "clean" and row["metric"] == "error":
                    found["clean" if row["dataset"] == "shapes" else "swapped amplitude"] = float(row["value"])
                elif row["metric"] == "mean_error":
                    group = row["corruption"].startswith(("common", "extra"))
                    found[("mean of " if group else "") + row["corruption"]] = float(row["value"])
    return found


def main(overrides: list[str]) -> None:
    """Train both, evaluate both, print and draw the comparison."""
    started = time.perf_counter()
    folders = {}
    for aug in AUGS:
        folders[aug] = folder_of(call("fr-train", "experiment=demo", f"aug={aug}", *overrides))
        for suite in ("clean", "corruptions"):
            call("fr-eval", f"ckpt={folders[aug]}/last.pt", f"suite={suite}")
    table = {aug: errors(folder) for aug, folder in folders.items()}

    from fourier_robust.report.figure import comparison_png
    from fourier_robust.run.atomic import write_bytes

    names = list(table["standard"])
    n = _n(folders["standard"])
    title = f"error on the embedded data set, one seed, {n} test images"
    picture = folders["standard"].parents[3] / "demo" / "comparison.png"
    write_bytes(picture, comparison_png(title, names, {aug: [table[aug][name] for name in names] for aug in AUGS}))
    width = max(map(len, names))
    print(f"\n{title}, %\n\n{'':<{width}}" + "".join(f"{aug:>12}" for aug in AUGS))
    for name in names:
        print(f"{name:<{width}}" + "".join(f"{100 * table[aug][name]:>12.1f}" for aug in AUGS))
    print(f"\ndrawn in {picture}; {time.perf_counter() - started:.0f} s in all")


def _n(folder: Path) -> str:
    with open(folder / "eval/clean/results.csv", newline="") as file:
        return next(csv.DictReader(file))["n"]


if __name__ == "__main__":
    main(sys.argv[1:])
