"""An attack in a memory for few images: the same draws, and the images it finds with memory enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from attack.nets import generator, known, trained, wrong
from torch import nn

from fourier_robust.attack.apgd import APGD, APGDT
from fourier_robust.attack.autoattack import AutoAttack
from fourier_robust.attack.band_pgd import BandPGD
from fourier_robust.attack.base import Attack, Climb, attacking, climb, logits_of
from fourier_robust.attack.fgsm import FGSM
from fourier_robust.attack.pgd import PGD
from fourier_robust.attack.transfer import Transfer
from fourier_robust.dataset.base import Batch
from fourier_robust.errors import UserError
from fourier_robust.fourier.high_frequency import ChangeSpectrum
from fourier_robust.run import memory
from fourier_robust.suite.attacked import attack_batch

SAID = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"
EPS = 3 / 255
ATTACKS = {
    "fgsm": FGSM(EPS, random_start=True),
    "pgd": PGD(EPS, steps=5, restarts=2),
    "pgd, all steps": PGD(EPS, steps=3, early_exit=False),
    "pgd, l2": PGD(0.25, "l2", steps=5, restarts=2, loss="dlr"),
    "band_pgd": BandPGD(2 * EPS, "low", steps=5, restarts=2),
    "apgd": APGD(EPS, steps=6, restarts=2, loss="dlr"),
    "apgd_t": APGDT(EPS, steps=5, targets=3),
    "transfer": Transfer(EPS, steps=3, fit=3),
}


class Small(nn.Module):
    """In a memory for `most` images: backward too, which fails after the forward pass has gone well."""

    def __init__(self, net: nn.Module, most: int, backward: bool) -> None:
        super().__init__()
        self.net, self.most, self.backward_alone = net, most, backward
        self.tried: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.tried.append(len(images))
        found: torch.Tensor = self.net(images)
        if len(images) > self.most:
            if not (self.backward_alone and found.requires_grad):
                raise RuntimeError(SAID)
            found.register_hook(self._fail)
        return found

    def _fail(self, _: torch.Tensor) -> None:
        raise RuntimeError(SAID)


@pytest.fixture(autouse=True)
def _silent_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_said", False)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_in_halves_an_attack_finds_what_it_finds_as_a_whole(
    name: str, backward: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    attack: Attack = ATTACKS[name]
    images, labels = known(13)
    small, draws, as_whole = Small(trained(), 4, backward), generator(5), generator(5)
    whole = attack(trained(), images, labels, as_whole)
    parts = attack(small, images, labels, draws)
    assert torch.equal(draws.get_state(), as_whole.get_state())  # nothing was drawn twice, or for a part
    assert torch.equal(wrong(trained(), parts, labels), wrong(trained(), whole, labels))
    # a gradient next to 0 may change its sign by rounding, and what follows then moves a little
    assert ((parts - whole).abs() < 1e-5).float().mean() > 0.99
    assert 13 in small.tried
    assert min(small.tried) <= 4
    assert capsys.readouterr().err.count("out of memory with 13 images") == 1


def test_parts_do_not_hold_the_gradient_of_the_whole() -> None:
    images, labels = known(16)
    parts: list[int] = []

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, labels, reduction="none")

    def by_halves(work: Callable[[slice], Climb], first: int, last: int) -> list[Climb]:
        found = memory.by_halves(work, first, last)
        parts.extend(part.gradient.untyped_storage().nbytes() for part in found)
        return found

    with pytest.MonkeyPatch.context() as patch, attacking(small := Small(trained(), 2, False)):
        patch.setattr("fourier_robust.attack.base.by_halves", by_halves)
        whole = climb(small, images, labels, loss)
    assert len(parts) == 8
    assert sum(parts) == whole.gradient.untyped_storage().nbytes()


def test_pythons_own_error_says_nothing() -> None:
    def work(count: int) -> int:
        if count > 1:
            raise MemoryError
        return count

    assert memory.with_fewer(work, 4) == 1
    assert len(memory.by_halves(lambda rows: work(rows.stop - rows.start), 0, 4)) == 4
    with pytest.raises(UserError, match="single image: MemoryError"):
        memory.by_halves(lambda _: work(2), 0, 2)


def test_a_batch_of_the_suite_in_halves() -> None:
    images, labels = known(13)
    batch = Batch(images, labels, torch.arange(13))
    changes = [ChangeSpectrum(), ChangeSpectrum()]
    whole, parts = (
        attack_batch(model, PGD(EPS, steps=5), batch, generator(5), "fp32", change)
        for model, change in zip((trained(), Small(trained(), 4, True)), changes, strict=True)
    )
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one.double(), other.double(), atol=1e-4)
    assert torch.allclose(changes[0].mean_amplitude(), changes[1].mean_amplitude(), atol=1e-4)


def test_autoattack_begins_anew_with_fewer_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyautoattack", reason="the extra `attacks` is not installed")
    images, labels = known(6)
    small = Small(trained(), 3, False)
    attack = AutoAttack(3 * EPS)
    found = attack(small, images, labels, generator(5))
    alone = attack(trained(), images, labels, generator(5))
    assert torch.equal(wrong(trained(), found, labels), wrong(trained(), alone, labels))
    assert small.tried[:3] == [1, 6, 3]
    assert capsys.readouterr().err.count("out of memory with 6 images: begun anew with fewer") == 1


def test_other_errors_pass_and_a_single_image_is_the_end() -> None:
    images, _ = known(4)

    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(UserError, match=r"does not take images of .*mat1"):
        logits_of(Broken(), images)
    with pytest.raises(UserError, match=r"out of memory with a single image: .*DefaultCPUAllocator"):
        logits_of(Small(trained(), 0, False), images)
    with pytest.raises(UserError, match="out of memory with a single image"):
        memory.with_fewer(lambda count: logits_of(Small(trained(), 0, False), images[:count]), 4)
