"""What all penalties on the input gradient share: passes, cheaper settings, and how the trainer calls them."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from reg.steps import error, gradients, loss_gradients, network, step, views
from torch import nn

from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.standard import CropFlip
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.engine.job import Job
from fourier_robust.engine.loss import views_loss
from fourier_robust.errors import UserError
from fourier_robust.optim.sgd import SGD
from fourier_robust.reg.fourier_sensitivity import ASF, LSF
from fourier_robust.reg.input_gradient import InputGradientPenalty
from fourier_robust.reg.jacobian import JacobianPenalty
from fourier_robust.reg.jafr import JaFR

PENALTIES = [LSF, ASF, JacobianPenalty, JaFR]


@pytest.mark.parametrize("kind", PENALTIES)
def test_joint_and_own_pass_give_the_same(kind: type[InputGradientPenalty]) -> None:
    batch = views(count=2, dtype=torch.float64)
    models = network(nn.Softplus()).double(), network(nn.Softplus()).double()
    for model, joint in zip(models, (True, False), strict=True):
        kind(lam=0.3).add_gradient(step(model, batch, joint))
    assert error(gradients(models[1]), gradients(models[0])) < 1e-10
    assert all(torch.equal(one, other) for one, other in zip(models[0].buffers(), models[1].buffers(), strict=True))
    assert all(module.training for module in models[1].modules())


@pytest.mark.parametrize("kind", PENALTIES)
def test_fraction_is_the_penalty_of_the_first_images(kind: type[InputGradientPenalty]) -> None:
    batch, model = views(batch=8), network()
    part = batch._replace(images=batch.images[:, :2], targets=batch.targets[:, :2])
    changes = []
    for reg, used in ((kind(fraction=0.25), batch), (kind(), part)):
        plain = loss_gradients(model, used)
        reg.add_gradient(step(model, used, joint=False))
        changes.append(gradients(model) - plain)
        model.zero_grad()
    assert error(changes[0], changes[1]) < 1e-3
    assert not kind(fraction=0.25).shares_pass(0)


@pytest.mark.parametrize("kind", PENALTIES)
def test_eval_mode_uses_the_running_statistics(kind: type[InputGradientPenalty]) -> None:
    batch, model = views(), network()
    for layer in (model.net[1], model.net[4]):
        layer.momentum = 0.0
        layer.running_mean.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(0))
    reg = kind(bn_mode="eval")
    buffers = copy.deepcopy(list(model.buffers()))
    plain = loss_gradients(model, batch)
    reg.add_gradient(step(model, batch, joint=False))
    change = gradients(model) - plain
    assert model.net[1].training
    model.zero_grad()
    fixed = copy.deepcopy(model).eval()
    plain = loss_gradients(fixed, batch)
    kind().add_gradient(step(fixed, batch))
    assert error(change, gradients(fixed) - plain) < 1e-3
    for before, after in zip(buffers, model.buffers(), strict=True):
        assert torch.equal(before, after) or before.dtype == torch.int64


def test_every_other_step_with_twice_the_weight() -> None:
    batch, model = views(), network()
    plain = loss_gradients(model, batch)
    reg = LSF(lam=0.5, every=2)
    assert [reg.shares_pass(number) for number in range(4)] == [True, False, True, False]
    assert reg.add_gradient(step(model, batch, joint=False, number=1)) == {}
    assert torch.equal(gradients(model), plain)
    model.zero_grad()
    reg.add_gradient(step(model, batch, number=2))
    other = network()
    LSF(lam=1.0).add_gradient(step(other, batch))
    assert error(gradients(model), gradients(other)) < 1e-6


def test_frozen_weights_get_no_gradient() -> None:
    model = network()
    model.net[0].weight.requires_grad_(False)
    passed = step(model, views())
    LSF().add_gradient(passed)
    assert model.net[0].weight.grad is None
    assert passed.images.grad is None
    assert model.net[3].weight.grad is not None


class Cut(nn.Module):
    """Logits without a gradient to the images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images.detach())


class Once(torch.autograd.Function):
    """The identity, differentiable once."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor) -> torch.Tensor:
        return images * 1

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("derivative for some_kernel_backward is not implemented")


class Single(Cut):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(Once.apply(images))


@pytest.mark.parametrize(("model", "said"), [(Cut(), "does not depend"), (Single(), "differentiated twice")])
@pytest.mark.parametrize("kind", PENALTIES)
def test_networks_that_cannot_be_penalised(kind: type[InputGradientPenalty], model: nn.Module, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        kind().add_gradient(step(model, views()))
    assert "\n" not in str(refused.value)


class Run:
    """A job of five steps per epoch, and the states it saved."""

    def __init__(self, reg: InputGradientPenalty, aug: Chain | None = None) -> None:
        self.states: list[dict[str, Any]] = []
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (40, 12, 12, 3), generator=generator, dtype=torch.uint8)
        self.job = Job(
            model=network(),
            train=ResidentSplit(images, torch.randint(0, 5, (40,), generator=generator)),
            val=None,
            aug=aug or Chain(crop=CropFlip(padding=1), views=APRP(p=0.5)),
            reg=reg,
            optim=SGD(lr=0.01),
            seed=3,
            device=torch.device("cpu"),
            channels_last=True,
            compiled=False,
            save=self.save,
            record=lambda _: None,
        )

    def save(self, step: int, weights: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        self.states.append(copy.deepcopy({"model": dict(weights)} | dict(state)))


class StopAt(CropFlip):
    """Raises a real signal at the n-th draw."""

    def __init__(self, count: int) -> None:
        super().__init__(padding=1)
        self.count = count

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> dict[str, Any]:
        self.count -= 1
        if self.count == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().sample(shape, generator)


@pytest.mark.parametrize("reg", [LSF(), LSF(every=2), JacobianPenalty(fraction=0.5), JaFR(bn_mode="eval")])
def test_resumed_equals_uninterrupted(reg: InputGradientPenalty) -> None:
    trainer = Trainer(epochs=2, batch_size=8, precision="fp32")
    whole = Run(reg)
    history = trainer.fit(whole.job)
    cut = Run(reg, Chain(crop=StopAt(3), views=APRP(p=0.5)))
    with pytest.raises(Interrupted):
        trainer.fit(cut.job)
    rest = Run(reg)
    torch.rand(5)
    again = trainer.fit(rest.job, cut.states[-1])
    assert all(torch.equal(value, rest.states[-1]["model"][name]) for name, value in whole.states[-1]["model"].items())
    kept = [{key: value for key, value in line.items() if key.startswith(("reg_", "train_"))} for line in history]
    assert kept == [{key: line[key] for key in kept[0]} for line in again]
    assert all(line["reg_penalty"] is not None for line in history)


@pytest.mark.parametrize("kind", PENALTIES)
def test_under_bf16_the_penalty_is_that_of_float32(kind: type[InputGradientPenalty]) -> None:
    batch, models = views(), (network(nn.Softplus()), network(nn.Softplus()))
    changes = []
    for model, low in zip(models, (True, False), strict=True):
        plain = loss_gradients(model, batch)
        made = step(model, batch, joint=False)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            kind(lam=1.0).add_gradient(made)
        changes.append(gradients(model) - plain)
    assert torch.equal(*changes)


def test_training_reports_the_figures_and_lowers_the_penalty() -> None:
    for precision in ("fp32", "bf16"):
        history = Trainer(epochs=6, batch_size=8, precision=precision).fit(Run(LSF(lam=1.0)).job)
        assert list(history[0])[-5:] == ["reg_penalty", "reg_low", "reg_mid", "reg_high", "reg_zero_gradient"]
        assert history[-1]["reg_penalty"] < 0.8 * history[0]["reg_penalty"]
        for line in history:
            assert line["reg_low"] + line["reg_mid"] + line["reg_high"] == pytest.approx(1, abs=1e-5)
            assert line["reg_mid"] + line["reg_high"] == pytest.approx(line["reg_penalty"], abs=1e-5)
    rare = Trainer(epochs=3, batch_size=8, precision="fp32").fit(Run(LSF(every=7)).job)
    assert [line["reg_penalty"] is None for line in rare] == [False, False, False]
    rare = Trainer(epochs=3, batch_size=8, precision="fp32").fit(Run(LSF(every=11)).job)
    assert [line["reg_penalty"] is None for line in rare] == [False, True, False]


def _process(rank: int, folder: str) -> None:
    """One of two processes, each with half of the batch; leaves its averaged gradients in `folder`."""
    torch.set_num_threads(1)
    torch.compile = functools.partial(torch.compile, backend="aot_eager")  # the same trace, without a C++ compiler
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    batch = views()
    rows = slice(4 * rank, 4 * rank + 4)
    half = batch._replace(images=batch.images[:, rows], targets=batch.targets[:, rows])
    found = []
    for joint in (True, False):
        model = nn.parallel.DistributedDataParallel(network(nn.Softplus(), norm=False))
        with contextlib.nullcontext() if joint else model.no_sync():
            made = step(model, half, joint)
        LSF(lam=1.0).add_gradient(made)
        found.append(gradients(model))
    for form, joint in (("finite_difference", True), ("finite_difference", False), ("compiled", False)):
        model = nn.parallel.DistributedDataParallel(network(nn.Softplus(), norm=False))
        LSF(lam=1.0, form=form).add_gradient(step(model, half, joint))
        found.append(gradients(model))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_average_the_penalty(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    model = network(nn.Softplus(), norm=False)
    LSF(lam=1.0).add_gradient(step(model, views()))
    for rank in range(2):
        joint, apart, difference, difference_apart, compiled = torch.load(tmp_path / f"{rank}.pt")
        for found in (joint, apart, compiled):
            assert error(found, gradients(model)) < 1e-5
        for found in (difference, difference_apart):
            assert error(found, gradients(model)) < 1e-3


def test_the_trainers_loss_is_the_criterion_of_the_tests() -> None:
    made = step(network(), views(count=2))
    assert torch.equal(made.loss, views_loss(made.logits, made.views))
