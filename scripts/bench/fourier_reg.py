"""A step with Fourier regularization against the plain step and against the published way; the penalty alone.

    python scripts/bench/fourier_reg.py [--rounds 3] [--compiled]

ResNet-20 (batch 64) and ResNet-18 (batch 16), 32 x 32, float32, one thread. The published way is written out from its
arithmetic: whole centred spectra, a boolean mask per ring, a loop over the batch. `fast` is ``reg=lsf_fast``, the
penalty on a quarter of the batch at every fourth step: the mean of four steps; its plain part also in bf16 where the
processor has it. With --compiled also ``form=compiled`` of a quarter and of the whole batch (first calls: minutes).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import compare, report
from torch.nn import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet18, resnet20
from fourier_robust.aug.views import Views
from fourier_robust.engine.loss import views_loss
from fourier_robust.engine.predict import Precision, autocast
from fourier_robust.engine.process import bf16_pays
from fourier_robust.reg.fourier_sensitivity import LSF, profile
from fourier_robust.reg.none import NoRegularizer
from fourier_robust.reg.step import Step

CPU = torch.device("cpu")
SIZE, RINGS = 32, 23
LAM = 0.5


def masks() -> list[torch.Tensor]:
    """Of the centred spectrum, one per ring 1..23."""
    frequency = torch.arange(-SIZE // 2, SIZE // 2)
    radius = torch.sqrt((frequency[:, None] ** 2 + frequency**2).float()).round()
    return [radius == k for k in range(1, RINGS + 1)]


def published_penalty(gradient: torch.Tensor, rings: list[torch.Tensor]) -> torch.Tensor:
    """LSF of (B,3,32,32) input gradients; as published, each image's row is divided in place, one after the other."""
    power = torch.fft.fftshift(torch.fft.fft2(gradient.mean(1), norm="ortho"), dim=(1, 2)).abs() ** 2
    shares = torch.stack([power[:, ring].sum(1) for ring in rings], 1)
    totals = shares.sum(1)
    for image in range(len(shares)):
        shares[image] /= totals[image]
    return shares.mean(0)[SIZE // 6 :].sum()


def own_penalty(gradient: torch.Tensor) -> torch.Tensor:
    """The same by the project's code."""
    return LSF.functional(profile(gradient.mean(1), torch.ones(len(gradient)))[0], SIZE)


def differentiated(penalty: Callable[[torch.Tensor], torch.Tensor], gradient: torch.Tensor) -> Callable[[], Any]:
    """The penalty and its own backward pass, without any network."""
    return lambda: torch.autograd.grad(penalty(gradient), gradient)


class Steps:
    """Training steps of one network on one random batch; no augmentation, no learning rate."""

    def __init__(self, net: torch.nn.Module, batch: int) -> None:
        self.model = Normalized(net, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).train()
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(batch, 3, 8, 8, generator=generator)
        images = functional.interpolate(coarse, size=SIZE, mode="bilinear")
        labels = torch.randint(0, 10, (batch,), generator=generator)
        self.views = Views(images[None], labels[None], (1.0,))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0, momentum=0.9, fused=True)
        self.rings = masks()

    def ours(self, reg: Any, precision: Precision = "fp32", number: int = 0) -> None:
        """As the trainer does it."""
        joint = precision == "fp32" and reg.shares_pass(number)
        images = self.views.images[0].detach().requires_grad_(joint)
        with autocast(CPU, precision):
            logits = self.model(images)[None]
        loss = views_loss(logits, self.views)
        if not joint:
            loss.backward()
        generator = torch.Generator()
        reg.add_gradient(Step(number, self.model, self.views, images, logits, loss, views_loss, joint, generator))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def cycle(self, reg: Any, precision: Precision = "fp32") -> None:
        """As many steps as it takes for one with the penalty."""
        for number in range(reg.every):
            self.ours(reg, precision, number)

    def published(self) -> None:
        """Loss and penalty of the whole batch in one graph."""
        images = self.model.normalize(self.views.images[0]).requires_grad_()
        loss = functional.cross_entropy(self.model.net(images), self.views.targets[0])
        gradient = torch.autograd.grad(loss, images, create_graph=True)[0]
        (loss + LAM * published_penalty(gradient, self.rings)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measure(name: str, net: torch.nn.Module, batch: int, rounds: int, goal: tuple[str, str], compiled: bool) -> None:
    """Print one network's ratios; `goal` is that of the exact step's cost and of the fast step's gain."""
    steps, fast = Steps(net, batch), LSF(LAM, fraction=0.25, every=4)
    functions: dict[str, Callable[[], Any]] = {
        "plain": partial(steps.ours, NoRegularizer()),
        "exact": partial(steps.ours, LSF(LAM)),
        "quarter": partial(steps.ours, LSF(LAM, fraction=0.25)),
        "fast": partial(steps.cycle, fast),
        "published": steps.published,
    }
    if compiled:
        functions["whole, compiled"] = partial(steps.ours, LSF(LAM, form="compiled"))
        functions["quarter, compiled"] = partial(steps.ours, LSF(LAM, fraction=0.25, form="compiled"))
    if bf16_pays(CPU):
        functions |= {
            "plain, bf16": partial(steps.ours, NoRegularizer(), "bf16"),
            "fast, bf16": partial(steps.cycle, fast, "bf16"),
        }
    seconds = compare(functions, rounds=rounds)
    seconds |= {name: value / fast.every for name, value in seconds.items() if name in ("fast", "fast, bf16")}
    report(f"{name}: published step / plain step", seconds["published"] / seconds["plain"], "none")
    report(f"{name}: exact step / plain step", seconds["exact"] / seconds["plain"], f"at most {goal[0]}")
    report(f"{name}: exact step / published step", seconds["exact"] / seconds["published"], "at most 1.0")
    report(f"{name}: step with a quarter of the batch / plain step", seconds["quarter"] / seconds["plain"], "none")
    report(f"{name}: fast step / plain step", seconds["fast"] / seconds["plain"], "at most 1.8")
    report(f"{name}: published step / fast step", seconds["published"] / seconds["fast"], f"at least {goal[1]}")
    if compiled:
        report(
            f"{name}: compiled step, whole batch / plain step", seconds["whole, compiled"] / seconds["plain"], "none"
        )
        report(
            f"{name}: compiled step, a quarter of the batch / plain step",
            seconds["quarter, compiled"] / seconds["plain"],
            "none",
        )
    if "fast, bf16" in seconds:
        ratio = seconds["fast, bf16"] / seconds["plain, bf16"]
        report(f"{name}: fast step / plain step, both with the loss in bf16", ratio, "at most 1.8")
        ratio = seconds["published"] / seconds["fast, bf16"]
        report(f"{name}: published step / fast step with the loss in bf16", ratio, f"at least {goal[1]}")


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="also form=compiled")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    gradient = torch.randn(128, 3, SIZE, SIZE).requires_grad_()
    rings = masks()
    if not torch.allclose(own_penalty(gradient), published_penalty(gradient, rings), atol=1e-5):
        raise SystemExit("the two penalties differ: nothing to compare")
    functions = {
        "own": differentiated(own_penalty, gradient),
        "published": differentiated(lambda images: published_penalty(images, rings), gradient),
    }
    seconds = compare(functions, rounds=25)
    report("penalty alone, batch 128: published / own", seconds["published"] / seconds["own"], "at least 5")
    measure("ResNet-20", resnet20(10), 64, arguments.rounds, ("5.0", "3.3"), arguments.compiled)
    measure("ResNet-18", resnet18(10), 16, arguments.rounds, ("3.0", "2"), arguments.compiled)


if __name__ == "__main__":
    main()
