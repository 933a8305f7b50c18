"""OOD scores and metrics after the forward passes: CPU seconds of each score, of the metrics, and peak memory.

    python scripts/bench/ood.py [--threads 1] [--only knn mahalanobis]

10 sets of 10,000 images (the first is in-distribution), 512 features, 10 classes, 50,000 training images; random
numbers, clustered by class, behind a ReLU. The metrics are those of every score against each of the nine other sets,
with bootstrap intervals. odin is here without its passes through a model. CPU seconds are those of all threads.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import hydra
import torch
from omegaconf import OmegaConf
from timing import report

from fourier_robust.config import conf_dir
from fourier_robust.engine.process import keep_big_blocks
from fourier_robust.metric.detection import detection_intervals
from fourier_robust.score.base import Head, Outputs, fit

CLASSES, FEATURES, TRAIN, SETS, IMAGES = 10, 512, 50_000, 10, 10_000


def outputs(number: int, shift: float, head: Head, centres: torch.Tensor, generator: torch.Generator) -> Outputs:
    """`number` images; `shift` moves them from their class's centre towards no class."""
    labels = torch.randint(CLASSES, (number,), generator=generator)
    values = torch.randn(number, FEATURES, generator=generator).add_(centres[labels], alpha=1 - shift).relu_()
    return Outputs(values @ head.weight.T + head.bias, values, labels)


def main() -> None:
    """Print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="scores; default: all of conf/score")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_big_blocks()  # as fr-eval does on a CPU
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, FEATURES, generator=generator)
    head = Head(centres / FEATURES**0.5, torch.zeros(CLASSES))
    train = outputs(TRAIN, 0.0, head, centres, generator)
    sets = [outputs(IMAGES, index / SETS, head, centres, generator) for index in range(SETS)]
    names = arguments.only or sorted(path.stem for path in Path(conf_dir() / "score").glob("*.yaml"))
    total = measuring = 0.0
    begun = time.perf_counter()
    for name in names:
        score = hydra.utils.instantiate(OmegaConf.load(conf_dir() / "score" / f"{name}.yaml"))
        start = time.process_time()
        scorer = fit(score, train, head)
        fitted = time.process_time()
        scores = [scorer(one) for one in sets]
        scored = time.process_time()
        for other in scores[1:]:
            detection_intervals(scores[0], other, generator)
        measured = time.process_time()
        print(f"{name:<24}fit{fitted - start:>7.2f} s   scores{scored - fitted:>7.2f} s", flush=True)
        total, measuring = total + measured - start, measuring + measured - scored
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"metrics of all{measuring:>8.2f} s")
    report("OOD scores and metrics, CPU seconds", total, "at most 120")
    clock = time.perf_counter() - begun
    report(f"the same, seconds by the clock, {arguments.threads} thread(s)", clock, "60 on 2 cores")
    report("peak memory, GiB", peak, "below 4")


if __name__ == "__main__":
    main()
