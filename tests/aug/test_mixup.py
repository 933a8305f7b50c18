"""MixUp by hand, its replay, and the law of the share."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.aug.mixup import MixUp, beta
from fourier_robust.engine.loss import views_loss


def test_by_hand(generator: torch.Generator) -> None:
    images, labels = torch.rand(4, 3, 2, 2, generator=generator), torch.tensor([0, 1, 2, 2])
    before = images.clone()
    views = MixUp(1.0, 3).apply(images, labels, {"share": 0.75, "partner": torch.tensor([1, 0, 3, 2])})
    assert views.weights == (1.0,)
    for row, other in enumerate((1, 0, 3, 2)):
        torch.testing.assert_close(views.images[0, row], 0.75 * before[row] + 0.25 * before[other])
    expected = torch.tensor([[[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 1], [0, 0, 1]]])
    torch.testing.assert_close(views.targets, expected)
    assert torch.equal(images, before)


def test_the_loss_is_that_of_both_labels(generator: torch.Generator) -> None:
    logits = torch.randn(1, 5, 3, generator=generator)
    labels, partner = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([3, 4, 0, 1, 2])
    views = MixUp(0.2, 3).apply(torch.rand(5, 3, 2, 2), labels, {"share": 0.6, "partner": partner})
    cross = torch.nn.functional.cross_entropy
    expected = 0.6 * cross(logits[0], labels) + 0.4 * cross(logits[0], labels[partner])
    torch.testing.assert_close(views_loss(logits, views), expected)


def test_a_draw_is_replayed_and_of_each_batch() -> None:
    step = MixUp(0.4, 3)
    one, same, other = (step.sample((6, 3, 2, 2), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one["share"] == same["share"] != other["share"]
    assert torch.equal(one["partner"], same["partner"])
    assert sorted(one["partner"].tolist()) == list(range(6))


def test_no_mixing(generator: torch.Generator) -> None:
    step, images, labels = MixUp(0, 3), torch.rand(3, 3, 2, 2, generator=generator), torch.tensor([2, 0, 1])
    views = step.apply(images, labels, step.sample((3, 3, 2, 2), generator))
    assert torch.equal(views.images[0], images)
    assert torch.equal(views.targets[0].argmax(1), labels)
    soft = torch.tensor([[0.5, 0.5, 0.0]])
    assert torch.equal(step.apply(images[:1], soft, step.sample((1, 3, 2, 2), generator)).targets[0], soft)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 2.0])
def test_the_share_is_beta_distributed(alpha: float) -> None:
    """Against SciPy's law, by Kolmogorov and Smirnov: a right law fails once in 10,000; 0.1 also draws 0 and 1."""
    from scipy import stats

    generator = torch.Generator().manual_seed(0)
    drawn = [beta(alpha, generator) for _ in range(6000)]
    assert 0 <= min(drawn) <= max(drawn) <= 1
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("alpha", "classes", "said"), [(-0.1, 3, "alpha"), (5, 3, "alpha"), (1, None, "num_classes"), (1, 1, "num_classes")]
)
def test_refusals(alpha: float, classes: int | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MixUp(alpha, classes)
