"""Training in two processes against one: images per second, and what the exchange of gradients costs.

Setup: resnet20 (0.27 M parameters), synthetic CIFAR-shaped images, standard augmentation, batch 128 in all, one thread
per process, gloo. Both sides run in turns in the same two processes: alone, the first trains and the second waits. The
ratio of images per second is one of wall-clock times and wants two idle cores; that of CPU seconds per image does not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from timing import report
from train_loop import BATCH, CPU, images, model

from fourier_robust.aug.chain import Chain
from fourier_robust.aug.standard import CropFlip
from fourier_robust.engine.distributed import ALONE, Team, joined, launched
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.job import Job
from fourier_robust.optim.sgd import SGD
from fourier_robust.reg.none import NoRegularizer


def epoch(team: Team, steps: int) -> tuple[float, float]:
    """Seconds of one epoch by the clock, and CPU seconds of this process."""

    def ignore(*_: Any) -> None:
        return None

    job = Job(
        model=model(),
        train=images(steps),
        val=None,
        aug=Chain(crop=CropFlip()),
        reg=NoRegularizer(),
        optim=SGD(lr=0.01),
        seed=0,
        device=CPU,
        channels_last=True,
        compiled=False,
        save=ignore,
        record=ignore,
        team=team,
    )
    clock, work = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        Trainer(epochs=1, batch_size=BATCH).fit(job)
    return time.perf_counter() - clock, time.process_time() - work


def measure(rounds: int, steps: int) -> None:
    """In each of the processes; the first prints."""
    torch.set_num_threads(1)
    speed, cost = [], []
    with joined(CPU) as team:
        for number in range(rounds + 1):
            alone = epoch(ALONE, steps) if team.first else (0.0, 0.0)
            team.barrier()
            clock, work = epoch(team, steps)
            (together,) = team.sum([work])
            if team.first and number:  # the first round warms up
                speed.append(alone[0] / clock)
                cost.append(together / alone[1])
        if team.first:
            report(f"images/s, {team.size} processes / one", statistics.median(speed), f"{team.size} on idle cores")
            report("CPU seconds per image, all processes / one", statistics.median(cost), "at most 1.10")


def main() -> None:
    """Start the processes, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if launched()[1] > 1:
        measure(arguments.rounds, arguments.steps)
        return
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={arguments.processes}"]
    subprocess.run([*start, str(Path(__file__)), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
