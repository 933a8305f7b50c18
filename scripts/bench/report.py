"""fr-report over many runs: seconds, peak memory, and the size of the page.

    python scripts/bench/report.py [--runs 500] [--seeds 5]

Each run is a copy of a kept one (outputs/reference, suite=all on CIFAR-10, about 2,000 rows) under an augmentation and
a seed of its own, its values moved by 10 % at random. The goal is 30 s and 2 GiB for 500 runs on two cores, and 5 MiB
for the page of 50.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "outputs/reference/cifar10_speednet_small_cpu_48epochs/apr_sp"
SUITES = ("clean", "corruptions", "corruptions_bar", "bands", "swap", "attacks", "sensitivity", "heatmap")
SOME = {"ood": 700, "calibration": 450}  # of their rows


def make(folder: Path, runs: int, seeds: int) -> int:
    """`runs` run folders, `seeds` per method; returns the rows of each."""
    kept = {}
    for suite in (*SUITES, *SOME):
        with (SOURCE / suite / "results.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        kept[suite] = head, rows[: SOME.get(suite)], json.loads((SOURCE / suite / "eval.json").read_text())
    config = (SOURCE / "config.yaml").read_text()
    for number in range(runs):
        method, seed = divmod(number, seeds)
        generator = random.Random(number)
        run = folder / f"m{method:03d}" / f"s{seed}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(config.replace("seed: 0", f"seed: {seed}"))
        for name in ("train.csv", "run.json"):
            shutil.copy(SOURCE / name, run / name)
        for suite, (head, rows, receipt) in kept.items():
            results = run / "eval" / suite
            results.mkdir(parents=True)
            receipt["checkpoint"] = {"path": "last.pt", "sha256": f"{number:064d}"}
            (results / "eval.json").write_text(json.dumps(receipt, indent=2))
            place = {name: at for at, name in enumerate(head)}
            with (results / "results.csv").open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(head)
                for row in rows:
                    value = float(row[place["value"]])
                    moved = max(0.0, value * (1 + 0.1 * generator.gauss(0, 1)))
                    changed = {"run": f"s{seed}", "aug": f"aug{method:03d}", "seed": str(seed)}
                    changed["value"] = f"{min(1.0, moved) if value <= 1 else moved:.6f}"
                    writer.writerow([changed.get(name, cell) for name, cell in zip(head, row, strict=True)])
            for arrays in (SOURCE / suite).glob("*.npz"):
                shutil.copy(arrays, results / arrays.name)
    return sum(len(rows) for _, rows, _ in kept.values())


def main() -> None:
    """Make the runs, time fr-report over them as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = make(Path(place) / "runs", arguments.runs, arguments.seeds)
        code = "import sys; sys.argv[0] = 'fr-report'; from fourier_robust.reporting import main; main()"
        command = [sys.executable, "-c", code, f"runs={place}/runs", f"out={place}/out"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = (Path(place) / "out/index.html").stat().st_size
        print(f"report {arguments.runs} runs x {rows} rows, {arguments.seeds} seeds per method")
        spent, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
        print(f"  {seconds:.1f} s ({spent:.1f} s of CPU), peak {peak:.2f} GiB")
        print(f"  index.html {page / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
