"""TRADES against its objective written out, its search, both ways of passing, and what it leaves behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from reg.steps import criterion, error, gradients, loss_gradients, network, step, views
from reg.test_input_gradient import Run, StopAt
from torch import nn
from torch.nn import functional

from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.chain import Chain
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.reg.trades import Trades, divergence


def draws() -> torch.Generator:
    """As `steps.step` seeds it."""
    return torch.Generator().manual_seed(2)


def running(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for name, value in model.named_buffers() if "running" in name]


@pytest.mark.parametrize("joint", [True, False])
def test_gradient_is_that_of_the_objective_written_out(joint: bool) -> None:
    """Two views of weights 1 and 2; the images are found as the authors find them, from the same draw."""
    batch, model, other = views(count=2), network(), network()
    reg = Trades(beta=3.0, eps=0.05, step_size=0.02, steps=4)
    figures = reg.add_gradient(step(model, batch, joint))

    images = batch.images.flatten(0, 1)
    logits = other(images).unflatten(0, (2, 8))
    other.eval()
    moved = (images + 1e-3 * torch.randn(images.shape, generator=draws())).clamp(0, 1)
    for _ in range(4):
        moved.requires_grad_()
        kl = functional.kl_div(other(moved).log_softmax(1), other(images).softmax(1), reduction="sum")
        (gradient,) = torch.autograd.grad(kl, moved)
        moved = (moved.detach() + 0.02 * gradient.sign()).clamp(images - 0.05, images + 0.05).clamp(0, 1)
    other.train()
    others = other(moved).unflatten(0, (2, 8))
    penalty = sum(
        weight * functional.kl_div(others[v].log_softmax(1), logits[v].softmax(1), reduction="batchmean")
        for v, weight in enumerate(batch.weights)
    )
    (criterion(logits, batch) + 3.0 * penalty).backward()
    assert error(gradients(model), gradients(other)) < 1e-4
    assert float(figures["penalty"]) == pytest.approx(penalty.item(), rel=1e-4)
    assert penalty.item() > 0.01
    right = (others[0].argmax(1) == batch.targets[0]).float().mean()
    assert float(figures["robust_accuracy"]) == float(right)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(running(model), running(other), strict=True))


def test_the_search_keeps_its_bounds_and_leaves_the_model_as_it_was() -> None:
    batch, model = views(), network()
    model.net[0].bias.requires_grad_(False)
    images = batch.images[0].clone()
    images[:, :, :4] = images[:, :, :4].round()
    state = copy.deepcopy(model.state_dict())
    moved = Trades().search(model, images, draws())
    assert torch.equal(moved, Trades().search(model, images, draws()))
    assert (moved - images).abs().max() <= 0.031 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not moved.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["net.0.bias"]
    model.eval()
    with torch.no_grad():
        logits, found = model(images), divergence(model(images), model(moved))
        noise = (images + 0.031 * (2 * torch.rand(images.shape, generator=draws()) - 1)).clamp(0, 1)
        assert (found > 3 * divergence(logits, model(noise))).all()
    model.train()
    Trades().add_gradient(step(model, batch))
    assert model.net[0].bias.grad is None


def test_divergence_is_0_of_a_prediction_from_itself_and_torchs_otherwise() -> None:
    logits, others = torch.randn(2, 5, 7, generator=draws()).unbind()
    expected = functional.kl_div(others.log_softmax(1), logits.softmax(1), reduction="none").sum(1)
    assert torch.allclose(divergence(logits, others), expected, atol=1e-6)
    assert torch.equal(divergence(logits, logits), torch.zeros(5))


def test_beta_0_adds_nothing() -> None:
    batch, model = views(), network()
    plain = loss_gradients(model, batch)
    Trades(beta=0.0).add_gradient(step(model, batch, joint=False))
    assert error(gradients(model), plain) < 1e-6


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_equals_uninterrupted(precision: Any) -> None:
    trainer, reg = Trainer(epochs=2, batch_size=8, precision=precision), Trades(steps=3)
    whole = Run(reg)
    history = trainer.fit(whole.job)
    cut = Run(reg, Chain(crop=StopAt(3), views=APRP(p=0.5)))
    with pytest.raises(Interrupted):
        trainer.fit(cut.job)
    rest = Run(reg)
    torch.rand(5)
    again = trainer.fit(rest.job, cut.states[-1])
    assert all(torch.equal(value, rest.states[-1]["model"][name]) for name, value in whole.states[-1]["model"].items())
    assert list(history[0])[-2:] == ["reg_penalty", "reg_robust_accuracy"]
    for line, other in zip(history, again, strict=True):
        assert {key: line[key] for key in line if key.startswith(("reg_", "train_"))}.items() <= other.items()


def test_it_computes_in_the_precision_of_the_loss() -> None:
    """The forward passes of the penalty run in bf16 where the loss's did, and nowhere else."""
    seen: list[torch.dtype] = []
    for low in (False, True):
        model, batch = network(), views()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            made = step(model, batch, joint=False)
        seen.clear()
        handle = model.net[-1].register_forward_hook(lambda *passed: seen.append(passed[2].dtype))
        Trades(steps=2).add_gradient(made)
        handle.remove()
        assert seen == [torch.bfloat16 if low else torch.float32] * 5


def test_training_lowers_the_penalty() -> None:
    found = {}
    for beta in (0.0, 6.0):
        run = Run(Trades(beta=beta, eps=0.1, step_size=0.05, steps=3), Chain())
        found[beta] = Trainer(epochs=16, batch_size=8, precision="fp32").fit(run.job)[-1]
    assert found[6.0]["reg_penalty"] < 0.5 * found[0.0]["reg_penalty"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"beta": -1.0}, "beta must be finite and at least 0"),
        ({"beta": float("nan")}, "beta must be finite"),
        ({"eps": 0.0}, "eps must be finite and above 0"),
        ({"step_size": float("inf")}, "step_size must be finite"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_settings_out_of_range(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Trades(**bad)
