"""What every attack keeps: its bounds, the model as it was, its draws, and one line for bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack.nets import SIZE, generator, known, trained, wrong
from torch import nn

from fourier_robust.attack.apgd import APGD, APGDT
from fourier_robust.attack.autoattack import AutoAttack
from fourier_robust.attack.band_pgd import BandPGD
from fourier_robust.attack.base import attacking
from fourier_robust.attack.fgsm import FGSM
from fourier_robust.attack.pgd import PGD
from fourier_robust.attack.transfer import Transfer
from fourier_robust.errors import UserError

KINDS: dict[str, Callable[..., Any]] = {
    "fgsm": FGSM,
    "fgsm random": lambda eps, norm: FGSM(eps, norm, 1.25 * eps or None, True),
    "pgd": lambda eps, norm: PGD(eps, norm, 5),
    "pgd twice": lambda eps, norm: PGD(eps, norm, 3, restarts=2, loss="margin"),
    "pgd all steps": lambda eps, norm: PGD(eps, norm, 3, restarts=2, loss="dlr", early_exit=False),
    "low": lambda eps, norm: BandPGD(eps, "low", norm, 5),
    "rings": lambda eps, norm: BandPGD(eps, [3, 4], norm, 5, restarts=2),
    "apgd": lambda eps, norm: APGD(eps, norm, 10, restarts=2),
    "apgd_t": lambda eps, norm: APGDT(eps, norm, 10, 3),
    "transfer": lambda eps, norm: Transfer(eps, norm, 3, 3),
}
EPS = {"linf": 8 / 255, "l2": 0.7}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_replay_and_the_model_as_it_was(kind: str, norm: str) -> None:
    images, labels = known(24)
    images[:, :, :4] = images[:, :, :4].round()  # pixels at both ends of the range
    before, model, eps = images.clone(), trained(), EPS[norm]
    model.train()
    model.zero_grad()
    model[0].bias.requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with torch.no_grad():
            found = KINDS[kind](eps, norm)(model, images, labels, generator())
        again = KINDS[kind](eps, norm)(model, images, labels, generator())
        assert model.training
        assert all(module.training for module in model.modules())
        flags = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        assert flags == ["0.bias"]
        assert all(parameter.grad is None for parameter in model.parameters())
    finally:
        model.eval()
        model[0].bias.requires_grad_(True)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(images, before)
    assert torch.equal(found, again)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1
    change = (found - images).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (size <= eps + 1e-6).all()
    assert size.mean() > 0.5 * eps
    assert size.min() > 0.03 * eps
    assert torch.equal(KINDS[kind](0.0, norm)(model, images, labels, generator()), images)
    nothing = KINDS[kind](eps, norm)(model, images[:0], labels[:0], generator())
    assert nothing.shape == (0, 3, SIZE, SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_one_image(kind: str) -> None:
    images, labels = known(24)
    found = KINDS[kind](EPS["linf"], "linf")(trained(), images[:1], labels[:1], generator())
    assert (found - images[:1]).abs().max() > 0


def test_draws_come_from_the_generator_alone() -> None:
    images, labels = known(24)
    for kind in set(KINDS) - {"fgsm"}:
        attack = KINDS[kind](EPS["linf"], "linf")
        torch.manual_seed(0)
        global_state = torch.get_rng_state()
        one = attack(trained(), images, labels, generator(1))
        assert torch.equal(torch.get_rng_state(), global_state), kind
        assert not torch.equal(one, attack(trained(), images, labels, generator(2))), kind


def test_the_model_is_put_back_after_an_error() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Flatten(), nn.Linear(7, 4))
    images, labels = known(24)
    model[1].eval()
    with pytest.raises(UserError, match=r"does not take images of \(3, 12, 12\)") as refused:
        PGD(0.1)(model, images, labels, generator())
    assert "\n" not in str(refused.value)
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(RuntimeError, match="own"), attacking(model):
        raise RuntimeError("own")
    assert model.training


class Cut(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.detach().flatten(1)[:, :6]


class Wild(nn.Module):
    """sqrt(0) has no finite gradient."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - images[:, :, :1, :1]).abs().sqrt().flatten(1)[:, :6]


def test_bad_input_is_one_line() -> None:
    images, labels = known(24)
    for kind in set(KINDS) - {"transfer"}:
        for net, said in ((Cut(), "no gradient with respect to its input"), (Wild(), "is not finite")):
            with pytest.raises(UserError, match=said):
                KINDS[kind](0.1, "linf")(net, images, labels, generator())
    for kind, build in {**KINDS, "autoattack": AutoAttack}.items():
        for eps in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=r"eps=.*must be finite and at least 0"):
                build(eps, "linf")
        with pytest.raises(ValueError, match="norm must be one of linf, l2, got 'l1'"):
            build(0.1, "l1")
        for bad, of, said in (
            (images[0], labels, r"\(B,C,H,W\) float32"),
            (images.double(), labels, "float32"),
            (images + 1, labels, r"must lie in \[0,1\]"),
            (images * torch.nan, labels, r"must lie in \[0,1\]"),
            (images, labels[1:], r"labels must be \(24,\) int64"),
            (images, labels.float(), "int64"),
        ):
            with pytest.raises(ValueError, match=said):
                build(0.1, "linf")(trained(), bad, of, generator())
        assert kind


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: PGD(0.1, steps=0), "steps=0"),
        (lambda: PGD(0.1, restarts=0), "restarts=0"),
        (lambda: PGD(0.1, step_size=0.0), "step_size=0.0"),
        (lambda: PGD(0.1, loss="nll"), "loss must be one of ce, margin, dlr, got 'nll'"),
        (lambda: FGSM(0.1, step_size=-1.0), "step_size=-1.0"),
        (lambda: BandPGD(0.1, "lower"), "band must be low, mid, high or"),
        (lambda: BandPGD(0.1, [1]), "band must be"),
        (lambda: APGDT(0.1, targets=0), "targets=0"),
        (lambda: Transfer(0.1, fit=0), "fit=0"),
    ],
)
def test_settings_out_of_range(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build()


def test_too_few_classes_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2))
    images, _ = known(24)
    labels = torch.zeros(len(images), dtype=torch.int64)
    with pytest.raises(UserError, match="apgd_t needs 4 classes or more, the model has 2"):
        APGDT(0.1)(model, images, labels, generator())
    with pytest.raises(UserError, match="the loss dlr needs 3 classes or more"):
        APGD(0.1, loss="dlr")(model, images, labels, generator())
    assert wrong(model, APGD(1.0)(model, images, labels, generator()), labels).all()
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(UserError, match=r"pip install 'fourier-robust\[attacks\]'"):
        AutoAttack(0.1).ready()
    with pytest.raises(UserError, match=r"pip install 'fourier-robust\[attacks\]'"):
        AutoAttack(0.1)(model, images, labels, generator())
