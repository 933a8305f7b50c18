"""FGSM and PGD: closed forms on linear models, steps, restarts, and images that leave the batch."""

from __future__ import annotations

import pytest
import torch
from attack.nets import generator, known, linear, losses, trained, wrong
from torch import nn

from fourier_robust.attack.apgd import APGD
from fourier_robust.attack.fgsm import FGSM
from fourier_robust.attack.pgd import PGD


def toy(classes: int = 2) -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear model, images away from 0 and 1, labels, and the direction that raises the other class's logit."""
    model = linear(classes)
    images = 0.3 + 0.4 * torch.rand(8, 3, 6, 6, generator=generator(1))
    labels = torch.arange(8) % 2
    weight = model[1].weight.detach().view(classes, 3, 6, 6)
    return model, images, labels, weight[1 - labels] - weight[labels]


@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_one_step_on_a_linear_model_is_the_closed_form(loss: str) -> None:
    model, images, labels, direction = toy()
    found = FGSM(0.1, loss=loss)(model, images, labels, generator())
    assert torch.allclose(found, images + 0.1 * direction.sign(), atol=1e-6)
    found = FGSM(0.5, "l2", loss=loss)(model, images, labels, generator())
    length = direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(found, images + 0.5 * direction / length, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_many_steps_on_a_linear_model_reach_the_optimum(norm: str) -> None:
    """The largest margin of logits within eps is that of the image plus eps times the dual norm of the direction."""
    model, images, _, _ = toy()
    labels = torch.zeros(8, dtype=torch.int64)
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([20.0, 0.0]))  # never wrong, so no image leaves the batch
    direction = (model[1].weight[1] - model[1].weight[0]).detach()
    eps, dual = (0.1, direction.norm(p=1)) if norm == "linf" else (0.5, direction.norm())

    def margins(points: torch.Tensor) -> torch.Tensor:
        logits = model(points).detach()
        return logits[:, 1] - logits[:, 0]

    optimum = margins(images) + eps * dual
    assert (optimum < 0).all()
    for attack in (
        PGD(eps, norm, 20, step_size=eps, loss="margin"),
        PGD(eps, norm, 20, step_size=eps, loss="margin", restarts=2),
        PGD(eps, norm, 20, step_size=eps, loss="margin", random_start=False, early_exit=False),
        APGD(eps, norm, 50, loss="margin"),
    ):
        found = margins(attack(model, images, labels, generator()))
        assert torch.allclose(found, optimum, atol=1e-3 * eps * float(dual)), attack


def test_more_steps_raise_the_loss() -> None:
    images, labels = known()
    for norm, eps in (("linf", 4 / 255), ("l2", 0.3)):
        reached = [
            losses(trained(), PGD(eps, norm, steps, early_exit=False)(trained(), images, labels, generator()), labels)
            for steps in (1, 4, 16)
        ]
        means = [float(one.mean()) for one in reached]
        assert means == sorted(means)
        assert means[2] > 1.05 * means[0]


@pytest.mark.parametrize("early_exit", [True, False])
def test_restarts_never_lose_an_image(early_exit: bool) -> None:
    images, labels = known()
    broken = []
    for restarts in (1, 4, 16):
        attack = PGD(16 / 255, steps=1, step_size=2 / 255, restarts=restarts, early_exit=early_exit)
        broken.append(wrong(trained(), attack(trained(), images, labels, generator()), labels))
    assert (broken[1] >= broken[0]).all()
    assert (broken[2] >= broken[1]).all()
    assert broken[2].sum() > broken[0].sum()


class Counting(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        return self.net(images)


def test_wrong_images_leave_the_batch_and_stay_as_they_are() -> None:
    images, labels = known(24)
    labels[:10] = (labels[:10] + 1) % 6  # wrong from the start
    model = Counting(trained())
    found = PGD(1 / 2550, random_start=False, steps=5)(model, images, labels, generator())
    assert model.seen[0] == 24
    assert model.seen[1:] == [14] * 4
    assert torch.equal(found[:10], images[:10])
    assert not torch.equal(found[10:], images[10:])
    model.seen.clear()
    PGD(1 / 2550, random_start=False, steps=5, early_exit=False)(model, images, labels, generator())
    assert model.seen == [24] * 5
    model.seen.clear()
    APGD(1 / 2550, steps=5)(model, images, labels, generator())
    assert model.seen == [24] + [14] * 5


def test_who_leaves_changes_nothing_for_those_who_stay() -> None:
    images, labels = known()
    early, late = (PGD(4 / 255, early_exit=early)(trained(), images, labels, generator()) for early in (True, False))
    resists = ~wrong(trained(), early, labels)
    assert 0 < resists.sum() < len(labels)
    assert torch.allclose(early[resists], late[resists], atol=1e-6)
    assert (wrong(trained(), early, labels) >= wrong(trained(), late, labels)).all()


def test_starts_fill_the_ball() -> None:
    images, labels = known(24)
    for norm, eps in (("linf", 0.05), ("l2", 0.5)):
        found = PGD(eps, norm, steps=1, step_size=1e-9)(trained(), images, labels, generator())
        change = (found - images).flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        assert (size <= eps + 1e-6).all()
        assert size.max() > 0.9 * eps
        if norm == "linf":
            inner = change[((images > eps) & (images < 1 - eps)).flatten(1)]
            assert inner.abs().mean() == pytest.approx(eps / 2, rel=0.03)
