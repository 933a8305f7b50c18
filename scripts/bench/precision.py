"""bf16 channels_last against float32: a training step, and evaluation; our evaluation against a plain loop.

    python scripts/bench/precision.py [--rounds 5]

ResNet-18 at 32 x 32 with random weights, one thread. Whether bf16 moves accuracy is another question, asked of a
trained checkpoint with ``fr-eval precision=bf16``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from timing import compare, report
from torch.nn import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet18
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.predict import memory_format, predict

BATCH = 32
CPU = torch.device("cpu")


def network(layout: torch.memory_format) -> torch.nn.Module:
    """ResNet-18 behind its normalisation, in the given layout."""
    torch.manual_seed(0)
    return Normalized(resnet18(10), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).to(memory_format=layout)


def train_step(bf16: bool) -> Callable[[], Any]:
    """Forward, backward and fused SGD on one batch."""
    layout = torch.channels_last if bf16 else torch.contiguous_format
    net = network(layout).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    inputs, labels = torch.rand(BATCH, 3, 32, 32).contiguous(memory_format=layout), torch.arange(BATCH) % 10

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = net(inputs)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def plain_evaluation(split: ResidentSplit) -> Callable[[], Any]:
    """The loop everybody writes: float32, contiguous, accuracy at the end."""
    net = network(torch.contiguous_format).eval()

    def run() -> None:
        correct = 0
        with torch.inference_mode():
            for batch in split.batches(BATCH):
                correct += int((net(batch.images.contiguous()).argmax(1) == batch.labels).sum())

    return run


def our_evaluation(split: ResidentSplit, precision: Any) -> Callable[[], Any]:
    """`predict`, as fr-eval calls it."""
    net = network(memory_format(CPU, precision)).eval()
    return lambda: predict(net, split.batches(BATCH), precision)


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    step = compare({"fp32": train_step(False), "bf16": train_step(True)}, rounds=arguments.rounds)
    report(
        "training step, fp32 contiguous / bf16 channels_last, ResNet-18", step["fp32"] / step["bf16"], "at least 1.8"
    )
    pixels = torch.randint(0, 256, (4 * BATCH, 32, 32, 3), dtype=torch.uint8)
    split = ResidentSplit(pixels, torch.arange(4 * BATCH) % 10)
    functions = {
        "plain": plain_evaluation(split),
        "fp32": our_evaluation(split, "fp32"),
        "bf16": our_evaluation(split, "bf16"),
        "load": lambda: [batch.images for batch in split.batches(BATCH)],
    }
    seconds = compare(functions, rounds=arguments.rounds)
    report("evaluation fp32, plain loop / ours, ResNet-18", seconds["plain"] / seconds["fp32"], "at least 1.0")
    report("evaluation, plain fp32 / our bf16, ResNet-18", seconds["plain"] / seconds["bf16"], "at least 1.9")
    report("loading / evaluation wall time, fp32, ResNet-18", seconds["load"] / seconds["fp32"], "at most 0.02")


if __name__ == "__main__":
    main()
