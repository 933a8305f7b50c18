"""Bootstrap of many metrics over the same images: seconds and memory, beside one metric after another.

    python scripts/bench/bootstrap.py [--threads 1] [--images 10000] [--draws 1000] [--metrics 100]

Random errors, 0 or 1. All metrics share the drawn images. Beside it: indexing the images of each draw, a twentieth of
the draws, whose means must be the same up to rounding. CPU seconds are those of all threads.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

if "--threads" in sys.argv:  # before numpy's matrix product starts its threads
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[sys.argv.index("--threads") + 1]

import numpy as np
from timing import report

from fourier_robust.metric.bootstrap import bootstrap_means


def by_index(values: np.ndarray, generator: np.random.Generator, draws: int) -> np.ndarray:
    """(draws,M) means by taking each draw's images out of (M,N) values."""
    images = values.shape[1]
    return np.array([values[:, generator.integers(images, size=images)].mean(1) for _ in range(draws)])


def peak() -> float:
    """MiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print seconds, memory and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--metrics", type=int, default=100)
    arguments = parser.parse_args()
    values = (np.random.default_rng(0).random((arguments.metrics, arguments.images)) < 0.2).astype(np.float64)
    before = peak()
    clock, start = time.perf_counter(), time.process_time()
    found = bootstrap_means(values, np.random.default_rng(1), arguments.draws)
    seconds, spent = time.perf_counter() - clock, time.process_time() - start
    memory = peak() - before
    few = max(1, arguments.draws // 20)
    start = time.process_time()
    other = by_index(values, np.random.default_rng(1), few)
    theirs = (time.process_time() - start) * arguments.draws / few
    what = f"{arguments.images:,} images x {arguments.draws:,} draws x {arguments.metrics} metrics"
    report(f"{what}, seconds by the clock, {arguments.threads} thread(s)", seconds, "10 on 2 cores")
    report("the same, CPU seconds", spent, "-")
    report("the same / indexing the images of each draw", spent / theirs, "below 1")
    report("memory beside the values, MiB", memory, "below 200")
    report(
        "largest difference of a mean, in units of 1e-12", float(np.abs(found[:few] - other).max()) * 1e12, "below 1"
    )


if __name__ == "__main__":
    main()
