"""Fourier sensitivity against one plain forward and backward pass over the same images.

    python scripts/bench/sensitivity.py [--rounds 5] [--images 512]

ResNet-20 in evaluation mode, batches of 128, 32 x 32, float32, one thread. Two plain passes: one with gradients of the
input alone, the least a sensitivity needs, and one with gradients of the parameters, as in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timing import compare, report
from torch.nn import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet20
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.gradient import input_gradients
from fourier_robust.suite.base import Condition
from fourier_robust.suite.sensitivity import Sensitivity

BATCH = 128


def images(number: int) -> ResidentSplit:
    """`number` smooth random images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(number, 3, 8, 8, generator=generator)
    smooth = functional.interpolate(coarse, size=32, mode="bilinear").mul(255).byte()
    return ResidentSplit(smooth.permute(0, 2, 3, 1).contiguous(), torch.arange(number) % 10)


def plain(model: Normalized, split: ResidentSplit, of_input: bool) -> None:
    """Forward and backward over all images; gradients of the input, or of the parameters."""
    for parameter in model.parameters():
        parameter.requires_grad_(not of_input)
    for batch in split.batches(BATCH):
        inputs = model.normalize(batch.images.contiguous()).requires_grad_(of_input)
        loss = functional.cross_entropy(model.net(inputs), batch.labels, reduction="sum")
        torch.autograd.grad(loss, inputs if of_input else list(model.parameters()))


def sensitivity(model: Normalized, split: ResidentSplit) -> None:
    """Gradients, shares of power, and all rows."""
    suite = Sensitivity()
    power = suite.observe(input_gradients(model, split.batches(BATCH), suite.gradient))
    suite.measure({Condition("images"): power})


def main() -> None:
    """Print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Normalized(resnet20(10), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    split = images(arguments.images)
    functions: Mapping[str, Callable[[], Any]] = {
        "input": lambda: plain(model, split, of_input=True),
        "parameters": lambda: plain(model, split, of_input=False),
        "sensitivity": lambda: sensitivity(model, split),
    }
    seconds = compare(functions, rounds=arguments.rounds)
    what = f"sensitivity of {arguments.images} images / forward + backward"
    report(f"{what} to the input", seconds["sensitivity"] / seconds["input"], "at most 1.15")
    report(f"{what} to the parameters", seconds["sensitivity"] / seconds["parameters"], "at most 1.15")


if __name__ == "__main__":
    main()
