"""APGD and APGD-T against the package of their authors, and its checkpoints against the paper."""

from __future__ import annotations

import pytest
import torch
from attack.nets import generator, known, losses, trained, wrong

from fourier_robust.attack.apgd import APGD, APGDT, checkpoints
from fourier_robust.attack.loss import dlr, targeted_dlr
from fourier_robust.attack.pgd import PGD


def test_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9, 10]
    assert checkpoints(1) == [1]


def test_losses_by_hand() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, -2.0], [4.0, 1.0, 3.0, -2.0]])
    labels, targets = torch.tensor([0, 1]), torch.tensor([2, 0])
    assert dlr(logits, labels).tolist() == pytest.approx([(3 - 4) / (4 - 1), (4 - 1) / (4 - 1)])
    gap = 4 - (1 - 2) / 2
    assert targeted_dlr(logits, labels, targets).tolist() == pytest.approx([(3 - 4) / gap, (4 - 1) / gap])


@pytest.mark.parametrize(("norm", "theirs", "eps"), [("linf", "Linf", 3 / 255), ("l2", "L2", 0.25)])
def test_the_same_images_break_as_by_the_authors_code(norm: str, theirs: str, eps: float) -> None:
    """At 100 steps, where their checkpoints, rounded down, are the paper's."""
    package = pytest.importorskip("pyautoattack.autopgd_base", reason="the extra `attacks` is not installed")
    images, labels = known(24)
    settings = {"n_iter": 100, "norm": theirs, "n_restarts": 1, "eps": eps, "seed": 5, "device": "cpu"}
    for loss in ("ce", "dlr"):
        found = APGD(eps, norm, 100, loss=loss)(trained(), images, labels, generator(5))  # the same start
        torch.manual_seed(5)
        reference = package.APGDAttack(trained(), loss=loss, **settings)
        reference.init_hyperparam(images)
        best, accurate, *_ = reference.attack_single_run(images.clone(), labels.clone())
        resists = ~wrong(trained(), found, labels)
        assert 0 < resists.sum() < len(labels)
        assert torch.equal(resists, accurate > 0), loss
        mine, other = (losses(trained(), one[resists], labels[resists]) for one in (found, best))
        assert float(mine.mean()) == pytest.approx(float(other.mean()), rel=5e-5)
    images, labels = images[:12], labels[:12]
    found = APGDT(eps, norm, 100, 2)(trained(), images, labels, generator(5))
    reference = package.APGDAttack_targeted(trained(), n_target_classes=2, **settings)
    theirs_found = reference.perturb(images.clone(), labels.clone())
    count, their_count = (int(wrong(trained(), one, labels).sum()) for one in (found, theirs_found))
    assert abs(count - their_count) <= 1  # their later starts are drawn for the images left, ours for all


def test_at_least_as_strong_as_pgd() -> None:
    images, labels = known(24)
    for norm, eps in (("linf", 3 / 255), ("l2", 0.25)):
        pgd = wrong(trained(), PGD(eps, norm, 20)(trained(), images, labels, generator()), labels)
        apgd = wrong(trained(), APGD(eps, norm, 30)(trained(), images, labels, generator()), labels)
        targeted = wrong(trained(), APGDT(eps, norm, 30, 5)(trained(), images, labels, generator()), labels)
        assert pgd.any()
        assert apgd.sum() >= pgd.sum()
        assert targeted.sum() >= pgd.sum()
