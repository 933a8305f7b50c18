"""Adversarial training: bounds, the model as it was, replay and resume, weights as published, and that it helps."""

from __future__ import annotations

import contextlib
import copy
import signal
from typing import Any

import pytest
import torch
from attack.nets import SIZE, blobs, wrong
from engine.test_fit import Noise, Run, StopAt, equal, without_times
from torch import nn
from torch.nn import functional

from fourier_robust.attack.base import Attack
from fourier_robust.attack.fgsm import FGSM
from fourier_robust.attack.pgd import PGD
from fourier_robust.aug.adversarial import Adversarial, AttackedViews
from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.standard import CropFlip
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.engine.job import Job
from fourier_robust.errors import UserError
from fourier_robust.optim.sgd import SGD
from fourier_robust.reg.none import NoRegularizer

EPS = 8 / 255
FAST = FGSM(EPS, step_size=1.25 * EPS, random_start=True)
STEPS = PGD(EPS, steps=3, step_size=EPS / 2, early_exit=False)
SHAPE = (6, 3, SIZE, SIZE)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8 * 100, 6)).train()


def on(model: nn.Module, **settings: Any) -> AttackedViews:
    """Adversarial training of `model` in float32."""
    made: AttackedViews = Adversarial(**{"attack": FAST, **settings}).for_model(model, contextlib.nullcontext)
    return made


@pytest.mark.parametrize("bn_mode", ["train", "eval"])
@pytest.mark.parametrize("attack", [FAST, STEPS])
def test_bounds_replay_and_the_model_as_it_was(attack: Any, bn_mode: Any, generator: torch.Generator) -> None:
    images, labels = blobs(6, 1)
    images[:, :, :4] = images[:, :, :4].round()
    before, model = images.clone(), network()
    model[0].bias.requires_grad_(False)
    model[3].eval()
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    aug = on(model, attack=attack, bn_mode=bn_mode)
    params = aug.sample(SHAPE, generator)
    views = aug.apply(images, labels, params)
    change = (views.images[0] - images).abs()
    assert views.images.shape == (1, *SHAPE)
    assert views.images.min() >= 0
    assert views.images.max() <= 1
    assert 0.5 * EPS < change.mean() < change.max() <= EPS + 1e-6
    assert torch.equal(views.targets, labels[None])
    assert views.weights == (1.0,)
    assert not views.images.requires_grad
    assert torch.equal(images, before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["0.bias"]
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.rand(3)
    assert torch.equal(aug.apply(images, labels, params).images, views.images)
    assert not torch.equal(aug.apply(images, labels, aug.sample(SHAPE, generator)).images, views.images)


def test_the_step_is_along_the_gradient_of_the_net_in_the_mode_asked_for(generator: torch.Generator) -> None:
    """Fast adversarial training by hand, dropout off: BatchNorm by the batch's statistics, or by the running ones."""
    images, labels = blobs(6, 1)
    model = network()
    for bn_mode in ("train", "eval"):
        aug = on(model, bn_mode=bn_mode)
        params = aug.sample(SHAPE, generator)
        draw = torch.rand(SHAPE, generator=torch.Generator().manual_seed(params["attack"]))
        start = (images + EPS * (2 * draw - 1)).clamp(0, 1).requires_grad_()
        norm = model[1]
        hidden = functional.batch_norm(
            model[0](start),
            norm.running_mean.clone(),
            norm.running_var.clone(),
            norm.weight,
            norm.bias,
            bn_mode == "train",
        )
        loss = functional.cross_entropy(model[5](hidden.relu().flatten(1)), labels)
        (gradient,) = torch.autograd.grad(loss, start)
        moved = (start.detach() + 1.25 * EPS * gradient.sign()).clamp(images - EPS, images + EPS).clamp(0, 1)
        assert (moved - aug.apply(images, labels, params).images[0]).abs().max() < 1e-6


def test_the_chain_draws_as_it_does_alone_and_eps_0_is_the_chain(generator: torch.Generator) -> None:
    images, labels = blobs(6, 1)
    plain = Adversarial(FGSM(0.0), crop=CropFlip(padding=2), views=APRP(p=1.0))
    aug = plain.for_model(network(), contextlib.nullcontext)
    params = aug.sample(SHAPE, torch.Generator().manual_seed(4))
    torch.rand(3)
    assert params["attack"] == aug.sample(SHAPE, torch.Generator().manual_seed(4))["attack"]
    alone = plain.chain.sample(SHAPE, torch.Generator().manual_seed(4))
    expected, found = plain.chain.apply(images, labels, alone), aug.apply(images, labels, params)
    assert torch.equal(found.images, expected.images)
    assert found.weights == expected.weights == (1.0, 1.0)


@pytest.mark.parametrize(("p", "clean"), [(0.0, (2.0,)), (1.0, (1.0, 1.0))])
def test_upstream_is_the_mean_over_two_views(p: float, clean: tuple[float, ...], generator: torch.Generator) -> None:
    images, labels = blobs(6, 1)
    aug = on(network(), views=APRP(p=p))
    assert aug.apply(images, labels, aug.sample(SHAPE, generator)).weights == clean
    aug = on(network(), views=APRP(p=p, compat="upstream"), compat="upstream")  # out of [0,1] before the attack
    views = aug.apply(images, labels, aug.sample(SHAPE, generator))
    assert views.weights == (0.5, 0.5)
    assert torch.equal(views.targets, labels.expand(2, 6))
    assert not torch.equal(views.images[0], views.images[1])
    if p == 0:
        assert (views.images - images).abs().max() <= EPS + 1e-6
    none = on(network(), compat="upstream")
    assert none.apply(images, labels, none.sample(SHAPE, generator)).weights == (0.5, 0.5)


def test_refused() -> None:
    with pytest.raises(ValueError, match="bn_mode must be one of train, eval, got 'batch'"):
        Adversarial(FAST, bn_mode="batch")
    with pytest.raises(ValueError, match="compat must be one of clean, upstream"):
        Adversarial(FAST, compat="old")
    images, labels = blobs(6, 1)
    aug = on(network(), views=APRP(p=0.0))
    soft = functional.one_hot(labels, 6).float()
    with pytest.raises(UserError, match="one class per image") as refused:
        aug.apply(images, soft, aug.sample(SHAPE, torch.Generator()))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_equals_uninterrupted(precision: Any) -> None:
    trainer = Trainer(epochs=2, batch_size=8, precision=precision)

    def run(noise: Noise) -> Run:
        return Run(Adversarial(STEPS, "train", "upstream", views=APRP(p=0.5), noise=noise))

    whole, cut, rest = run(Noise()), run(StopAt(7, signal.SIGTERM)), run(Noise())
    trainer.fit(whole.job)
    with pytest.raises(Interrupted):
        trainer.fit(cut.job)
    torch.rand(5)
    trainer.fit(rest.job, cut.states[-1][2])
    assert equal(rest.job.model, whole.job.model)
    assert without_times(rest.history) == without_times(whole.history)


def test_the_attack_computes_in_the_trainers_precision_with_the_net_that_trains() -> None:
    """Two steps of the attack and one of training, five times an epoch; the weights move between them."""
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        run = Run(Adversarial(PGD(EPS, steps=2, early_exit=False)))
        seen: list[tuple[torch.dtype, bool]] = []
        watched = lambda net, _, logits, seen=seen: seen.append((logits.dtype, net.training))  # noqa: E731
        run.job.val = None
        run.job.model[-1].register_forward_hook(watched)
        Trainer(epochs=1, batch_size=8, precision=precision).fit(run.job)
        assert seen == [(dtype, False), (dtype, False), (dtype, True)] * 5


def two_features(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(count,3,8,8) and two classes: a patch that is plain to see and right for 90 %, a faint tint right for all."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    sign = (2 * labels - 1)[:, None, None, None]
    seen = torch.where(torch.rand(count, 1, 1, 1, generator=draw) < 0.9, sign, -sign)
    images = 0.5 + 0.02 * sign + 0.04 * torch.randn(count, 3, 8, 8, generator=draw)
    images[:, :, :4, :4] = 0.5 + 0.3 * seen
    return images, labels


def trained_with(attack: Attack) -> tuple[nn.Module, float]:
    """A small net after training under `attack`, and the accuracy of its last epoch."""
    images, labels = two_features(400, 1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    job = Job(
        model=model,
        train=ResidentSplit(images.mul(255).round().byte().permute(0, 2, 3, 1).contiguous(), labels),
        val=None,
        aug=Adversarial(attack),
        reg=NoRegularizer(),
        optim=SGD(lr=0.05),
        seed=0,
        device=torch.device("cpu"),
        channels_last=True,
        compiled=False,
        save=lambda *_: None,
        record=lambda _: None,
    )
    history = Trainer(epochs=8, batch_size=50, precision="fp32").fit(job)
    return model.eval(), history[-1]["train_accuracy"]


def test_training_with_pgd_makes_it_robust() -> None:
    """The attack can turn the faint tint, not the patch: who trusts the patch is wrong for 10 %, attacked or not.

    The attack here is stronger than that of training, and the images are others.
    """
    eps = 12 / 255
    images, labels = two_features(200, 2)
    lies = (images[:, 0, 0, 0] > 0.5) != (labels == 1)
    assert 0.05 < lies.float().mean() < 0.15
    errors = []
    for attack in (FGSM(0.0), PGD(eps, steps=3, step_size=eps / 2, early_exit=False)):
        model, accuracy = trained_with(attack)
        moved = PGD(eps, steps=15, early_exit=False)(model, images, labels, torch.Generator().manual_seed(0))
        errors.append(wrong(model, moved, labels))
    assert errors[0].float().mean() > 0.4  # 0.53; and 0.035 without attack
    assert (errors[1] != lies).float().mean() < 0.02
    assert accuracy == pytest.approx(0.9, abs=0.04)  # what train.csv shows is under the attack
