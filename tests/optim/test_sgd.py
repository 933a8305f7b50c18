"""One step of SGD by hand, the groups, the rule, and the speed run's conversion."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from fourier_robust.optim.schedule import Cosine, MultiStep
from fourier_robust.optim.sgd import SGD

CONF = Path(__file__).parents[2] / "conf" / "optim"


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def run(optimizer: torch.optim.Optimizer, rule: Any, parameter: torch.Tensor, gradients: list[float]) -> list[float]:
    """The parameter after each step, under given gradients."""
    values = []
    for step, gradient in enumerate(gradients):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * rule(step)
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        values.append(parameter.flatten()[0].item())
    return values


@pytest.mark.parametrize("nesterov", [True, False])
def test_two_steps_by_hand(nesterov: bool) -> None:
    """d = g + wd p;  b <- m b + d (b = d at first);  p <- p - lr (d + m b), or p - lr b without Nesterov."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer, rule = SGD(lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01).build(layer, 1, 2, 8)
    first_d = 0.5 + 0.01 * 2
    first = 2 - 0.1 * (first_d * 1.9 if nesterov else first_d)
    second_d = -1 + 0.01 * first
    second_b = 0.9 * first_d + second_d
    second = first - 0.1 * (second_d + 0.9 * second_b if nesterov else second_b)
    assert run(optimizer, rule, layer.weight, [0.5, -1.0]) == pytest.approx([first, second], rel=1e-6)


def test_bias_lr_scale_is_a_higher_rate_at_equal_decay() -> None:
    """A BatchNorm bias decays as without the scale; under a gradient it moves `scale` times as far."""
    for gradient, decay, factor in ((0.0, 0.01, 1.0), (1.0, 0.0, 64.0)):
        moved = []
        for scale in (1.0, 64.0):
            norm = nn.BatchNorm2d(3)
            nn.init.ones_(norm.bias)
            optimizer, rule = SGD(lr=1e-3, weight_decay=decay, bias_lr_scale=scale).build(norm, 1, 1, 8)
            moved.append(1 - run(optimizer, rule, norm.bias, [gradient])[0])
        assert moved[1] == pytest.approx(factor * moved[0], rel=1e-2)


def test_groups() -> None:
    net = small_net()
    net[3].bias.requires_grad_(False)
    optimizer, _ = SGD(lr=0.5, weight_decay=0.1, bias_lr_scale=10, no_decay_norm=True).build(net, 1, 1, 8)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = {
        (group["base_lr"], group["weight_decay"]): [names[id(parameter)] for parameter in group["params"]]
        for group in optimizer.param_groups
    }
    assert found == {
        (0.5, 0.1): ["0.weight", "0.bias", "3.weight"],
        (0.5, 0.0): ["1.weight"],
        (5.0, 0.0): ["1.bias"],
    }


def test_shared_parameters_are_stepped_once() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    optimizer, _ = SGD(lr=0.5).build(net, 1, 1, 8)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3


def test_rule_is_warm_up_times_schedule() -> None:
    _, rule = SGD(lr=1, warmup_epochs=2, schedule=MultiStep((3,), 0.1)).build(small_net(), 4, 5, 8)
    assert [rule(step) for step in (0, 4, 9, 10, 14, 15)] == pytest.approx([0.1, 0.5, 1, 1, 1, 0.1])
    _, rule = SGD(lr=1).build(small_net(), 4, 5, 8)
    assert {rule(step) for step in range(25)} == {1.0}
    _, rule = SGD(lr=1, schedule=Cosine()).build(small_net(), 4, 5, 8)
    assert rule(10) == pytest.approx(0.5)


def test_first_rate_is_set_by_build() -> None:
    optimizer, rule = SGD(lr=2, warmup_epochs=1).build(small_net(), 1, 4, 8)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * rule(0)) == pytest.approx(0.5)


def test_resume_needs_the_step_and_the_optimizer_state_only() -> None:
    settings = SGD(lr=0.1, warmup_epochs=1, schedule=Cosine())
    gradients = [0.3, -0.2, 0.5, 0.1]
    whole = nn.Linear(1, 1, bias=False)
    parted = copy.deepcopy(whole)
    straight = run(*settings.build(whole, 2, 2, 8), whole.weight, gradients)
    optimizer, rule = settings.build(parted, 2, 2, 8)
    run(optimizer, rule, parted.weight, gradients[:2])
    resumed, rule = settings.build(parted, 2, 2, 8)
    resumed.load_state_dict(optimizer.state_dict())
    assert run(resumed, lambda step: rule(step + 2), parted.weight, gradients[2:]) == straight[2:]


def test_lr_batch_scales_the_rate() -> None:
    optimizer, _ = SGD(lr=1.5, lr_batch=1024).build(small_net(), 1, 1, 512)
    assert optimizer.param_groups[0]["base_lr"] == 0.75


@pytest.mark.parametrize("batch", [1024, 512])
@pytest.mark.parametrize("norm_bias", [True, False])
def test_speed_run_equals_the_published_update(batch: int, norm_bias: bool) -> None:
    """Three steps of a summed loss with airbench93's own settings equal sgd_triangle's on the mean loss."""
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    lr, decay = 11.5 / kilostep, 0.0153 * batch / kilostep
    lr *= 64 if norm_bias else 1
    theirs = nn.Parameter(torch.ones(3))
    published = torch.optim.SGD([theirs], lr=lr, weight_decay=decay / lr, momentum=0.85, nesterov=True)
    ours = nn.BatchNorm2d(3)
    parameter = ours.bias if norm_bias else ours.weight
    nn.init.ones_(parameter)
    settings = instantiate(OmegaConf.load(CONF / "sgd_triangle.yaml"))
    optimizer, rule = settings.build(ours, 11, 48, batch)
    mean_gradients = [1e-2, -3e-2, 2e-2]
    moved = run(optimizer, rule, parameter, mean_gradients)
    for step, gradient in enumerate(mean_gradients):
        published.param_groups[0]["lr"] = lr * rule(step)
        theirs.grad = torch.full_like(theirs, gradient * batch)
        published.step()
        assert moved[step] == pytest.approx(theirs[0].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "corners"),
    [
        ("sgd", {0: 0.1, 59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008, 199: 0.00016}),
        ("sgd_cosine", {0: 0.1, 100: 0.05, 200: 0.0}),
        ("sgd_imagenet", {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 90: 0.0001}),
        ("sgd_triangle", {0: 0.3, 46: 1.5, 200: 0.105}),
    ],
)
def test_yaml_rates_at_the_start_of_epochs(name: str, corners: dict[int, float]) -> None:
    """Of 200 epochs, at batch 1024 (which matters to sgd_triangle only)."""
    optimizer, rule = instantiate(OmegaConf.load(CONF / f"{name}.yaml")).build(small_net(), 200, 391, 1024)
    base = optimizer.param_groups[0]["base_lr"]
    assert {epoch: base * rule(epoch * 391) for epoch in corners} == pytest.approx(corners)


@pytest.mark.parametrize(
    "bad",
    [
        {"lr": 0.0},
        {"lr": 0.1, "momentum": 1.0},
        {"lr": 0.1, "momentum": 0.0},
        {"lr": 0.1, "weight_decay": -1.0},
        {"lr": 0.1, "warmup_epochs": -1.0},
        {"lr": 0.1, "bias_lr_scale": 0.0},
        {"lr": 0.1, "lr_batch": 0},
    ],
)
def test_bad_arguments(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=list(bad)[-1]):
        SGD(**bad)


def test_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="no parameter"):
        SGD(lr=0.1).build(nn.Flatten(), 1, 1, 1)
