"""Gaussian noise of random strength."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fourier_robust.aug.gaussian_noise import GaussianNoise


def test_adds_sigma_times_noise_and_clips(generator: torch.Generator) -> None:
    images = torch.rand(6, 3, 8, 8, generator=generator)
    before = images.clone()
    step = GaussianNoise(sigma=0.3, per="image")
    params = step.sample((6, 3, 8, 8), generator)
    found = step.apply(images, params)
    for index, image in enumerate(images):
        expected = image + float(params["sigma"][index]) * params["noise"][index]
        assert torch.allclose(found[index], expected.clip(0, 1), atol=1e-7)
    assert torch.equal(found, step.apply(images, params))
    assert torch.equal(images, before)
    assert found.min() == 0
    assert found.max() == 1


def test_sigma_zero_is_the_identity(generator: torch.Generator) -> None:
    images = torch.rand(4, 3, 8, 8, generator=generator)
    step = GaussianNoise(sigma=0.0)
    assert torch.equal(step.apply(images, step.sample((4, 3, 8, 8), generator)), images)


def test_strengths_are_uniform_and_shared_as_asked(generator: torch.Generator) -> None:
    sigma = GaussianNoise(0.1, "image").sample((40_000, 1, 1, 1), generator)["sigma"]
    assert sigma.min() >= 0
    assert sigma.max() <= 0.1
    assert float(sigma.mean()) == pytest.approx(0.05, abs=5 * 0.1 / math.sqrt(12 * 40_000))
    assert float(sigma.std()) == pytest.approx(0.1 / math.sqrt(12), rel=0.02)
    batches = [GaussianNoise().sample((5, 1, 2, 2), generator)["sigma"] for _ in range(2)]
    assert all(len(one) == 5 and len(one.unique()) == 1 for one in batches)
    assert batches[0][0] != batches[1][0]


@pytest.mark.parametrize(("named", "value"), [("sigma", -0.1), ("sigma", math.nan), ("per", "x")])
def test_bad_settings_are_named(named: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{named} "):
        GaussianNoise(**{named: value})
