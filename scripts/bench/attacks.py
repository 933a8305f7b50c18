"""PGD-20 against the forward and backward passes that it can't do without, and with images that leave the batch.

    python scripts/bench/attacks.py [--rounds 5] [--images 32]

ResNet-20 in evaluation mode, one batch, 32 x 32, float32, one thread; gradients of the input alone. The passes are
timed inside the attack: on a shared machine, loops timed one after the other differ by more than what is asked for.
No image leaves there (eps 1e-6 on labels that the model predicts); in the last row half of them are wrong at the start.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from timing import compare, report

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet20
from fourier_robust.attack.band_pgd import BandPGD
from fourier_robust.attack.base import Attack
from fourier_robust.attack.pgd import PGD
from fourier_robust.engine.process import keep_big_blocks


class Clock:
    """CPU seconds within the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*arguments: Any, **rest: Any) -> Any:
            start = time.process_time()
            result = function(*arguments, **rest)
            self.seconds += time.process_time() - start
            return result

        return timed


def overhead(attack: Attack, model: Normalized, images: torch.Tensor, labels: torch.Tensor, rounds: int) -> float:
    """Median of: CPU time of the attack over that of its forward and backward passes."""
    clock, generator, ratios = Clock(), torch.Generator().manual_seed(0), []
    forward, backward = clock.around(model.forward), clock.around(torch.autograd.grad)
    with mock.patch.object(model, "forward", forward), mock.patch("torch.autograd.grad", backward):
        attack(model, images, labels, generator)
        for _ in range(rounds):
            clock.seconds, start = 0.0, time.process_time()
            attack(model, images, labels, generator)
            ratios.append((time.process_time() - start) / clock.seconds)
    return statistics.median(ratios)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_big_blocks()  # as fr-eval does on a CPU
    torch.manual_seed(0)
    model = Normalized(resnet20(num_classes=10), (0.5,) * 3, (0.25,) * 3).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(arguments.images, 3, 32, 32, generator=generator)
    with torch.no_grad():
        labels = model(images).argmax(1)
    half = labels.clone()
    half[::2] = (half[::2] + 1) % 10
    band = BandPGD(1e-6, "high")
    for name, attack, goal in (
        ("linf", PGD(1e-6), "<= 1.05"),
        ("l2", PGD(1e-6, "l2"), "<= 1.05"),
        ("band", band, "none"),
    ):
        ratio = overhead(attack, model, images, labels, arguments.rounds)
        report(f"PGD-20, {name} / its 20 forward and backward passes", ratio, goal)
    seconds = compare(
        {
            "all": lambda: PGD(1e-6)(model, images, labels, generator),
            "half": lambda: PGD(1e-6)(model, images, half, generator),
        },
        3,
    )
    report("PGD-20, half of the images wrong from the start / none", seconds["half"] / seconds["all"], "<= 0.60")


if __name__ == "__main__":
    main()
