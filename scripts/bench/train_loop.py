"""Our training loop against a bare loop of the same step; an APR-P epoch against a plain one.

    python scripts/bench/train_loop.py [--rounds 5] [--steps 20]

ResNet-20, batch 128, 32 x 32, float32-stored images, bf16 where the processor has it; one thread.
The bare loop does what the step cannot do without: gather, augment, forward, backward, optimizer.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timing import compare, report
from torch.nn import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet20
from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.standard import CropFlip
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.job import Job
from fourier_robust.engine.process import bf16_pays
from fourier_robust.optim.sgd import SGD
from fourier_robust.reg.none import NoRegularizer
from fourier_robust.run.seed import derive

BATCH = 128
CPU = torch.device("cpu")


def images(steps: int) -> ResidentSplit:
    """`steps` batches of smooth random images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(BATCH * steps, 3, 8, 8, generator=generator)
    smooth = functional.interpolate(coarse, size=32, mode="bilinear").mul(255).byte()
    return ResidentSplit(smooth.permute(0, 2, 3, 1).contiguous(), torch.arange(BATCH * steps) % 10)


def model() -> torch.nn.Module:
    """The same initial weights every time."""
    torch.manual_seed(0)
    return Normalized(resnet20(10), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def fair_seed(aug: Chain, steps: int, mixed: int) -> int:
    """The first training seed whose coins make APR-P pair exactly `mixed` of `steps` batches."""
    generator = torch.Generator()
    for seed in range(1000):
        coins = 0
        for step in range(steps):
            generator.manual_seed(derive(seed, "aug", step))
            coins += aug.sample((BATCH, 3, 32, 32), generator)["views"]["mix"]
        if coins == mixed:
            return seed
    raise ValueError(f"no seed gives {mixed} of {steps}")


def ours(split: ResidentSplit, aug: Chain, seed: int = 0) -> Callable[[], Any]:
    """One epoch by the project's trainer, checkpoint and record left out on both sides."""

    def ignore(*_: Any) -> None:
        return None

    def run() -> None:
        job = Job(
            model=model(),
            train=split,
            val=None,
            aug=aug,
            reg=NoRegularizer(),
            optim=SGD(lr=0.01),
            seed=seed,
            device=CPU,
            channels_last=True,
            compiled=False,
            save=ignore,
            record=ignore,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # the line per epoch is work too, but not news here
            Trainer(epochs=1, batch_size=BATCH).fit(job)

    return run


def bare(split: ResidentSplit, aug: Chain, bf16: bool) -> Callable[[], Any]:
    """One epoch written out: no config, no meters, no progress, no seeds derived per step."""

    def run() -> None:
        net = model().to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(
            net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
        )
        generator = torch.Generator().manual_seed(0)
        for batch in split.batches(BATCH, torch.randperm(len(split), generator=generator)):
            views = aug.apply(batch.images, batch.labels, aug.sample(tuple(batch.images.shape), generator))
            inputs = views.images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = net(inputs)
            functional.cross_entropy(logits.float(), batch.labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def main() -> None:
    """Measure and print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    split, plain = images(arguments.steps), Chain(crop=CropFlip())
    paired = Chain(crop=CropFlip(), views=APRP(p=0.6))
    seed = fair_seed(paired, arguments.steps, mixed=round(0.6 * arguments.steps))
    functions: Mapping[str, Callable[[], Any]] = {
        "bare loop": bare(split, plain, bf16_pays(CPU)),
        "our loop": ours(split, plain),
        "our loop, APR-P p=0.6": ours(split, paired, seed),
    }
    seconds = compare(functions, rounds=arguments.rounds)
    report("our loop / bare loop", seconds["our loop"] / seconds["bare loop"], "at most 1.03")
    ratio = seconds["our loop, APR-P p=0.6"] / seconds["our loop"]
    report("APR-P epoch (p = 0.6) / plain epoch", ratio, "at most 1.65")


if __name__ == "__main__":
    main()
