"""BiT-HyperRule: the published steps, and the rates at them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support import compose_config

from fourier_robust.optim.bit_hyperrule import HyperRule, hyper_rule


@pytest.mark.parametrize(
    ("images", "steps", "mixup"),
    [(1000, 500, 0), (19_999, 500, 0), (20_000, 10_000, 0.1), (499_999, 10_000, 0.1), (500_000, 20_000, 0.1)],
)
def test_length_and_mixup(images: int, steps: int, mixup: float) -> None:
    assert hyper_rule(images).steps == steps
    assert hyper_rule(images).mixup == mixup


@pytest.mark.parametrize("images", [1000, 50_000, 1_281_167])
def test_rates(images: int) -> None:
    """Half way up at half the first support; a tenth, a hundredth, a thousandth behind the next three."""
    schedule, supports = HyperRule(images), hyper_rule(images).supports

    def at(step: float) -> float:
        return schedule(7 * step / supports[-1], 7.0)  # seven epochs, of any length

    assert at(0) == 0
    assert at(supports[0] / 2) == pytest.approx(0.5)
    for power, (begin, end) in enumerate(pairwise(supports)):
        assert at(begin + 0.5) == pytest.approx(0.1**power)
        assert at(end - 0.5) == pytest.approx(0.1**power)
    assert at(2 * supports[-1]) == pytest.approx(1e-3)


def test_epochs() -> None:
    """500 steps of 512 images are 256 epochs of 1,000 in steps of 500; whole batches only: 25 and not 26 of 10,240."""
    assert hyper_rule(1000).epochs(1000, 500) == 256
    assert hyper_rule(10_240).epochs(10_240) == 25
    assert hyper_rule(50_000).epochs(50_000) == 103


@pytest.mark.parametrize(("name", "images"), [("bit_hyperrule", 10_000), ("bit_hyperrule_cifar10", 50_000)])
def test_recipes_follow_the_rule(name: str, images: int) -> None:
    config, _ = compose_config("train", f"experiment=transfer/{name}", "paths.data_dir=none")
    rule, batch = hyper_rule(images), config["trainer"]["batch_size"]
    assert config["optim"]["schedule"]["images"] == images
    assert config["trainer"]["epochs"] == rule.epochs(images, batch)
    assert abs(config["trainer"]["epochs"] * (images // batch) / rule.steps - 1) < 0.02
    assert config["aug"].get("views", {"alpha": 0.0})["alpha"] == rule.mixup
    assert config["arch"]["size"] == config["aug"]["enlarge"]["size"]
    assert config["optim"]["lr"] * batch / config["optim"]["lr_batch"] == 0.003
    assert config["dataset"].get("num_train", images) == images


def test_refusal() -> None:
    with pytest.raises(ValueError, match="images must be at least 1"):
        HyperRule(0)
