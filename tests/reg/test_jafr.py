"""JaFR against products written out, and the direction in which it pulls."""

from __future__ import annotations

import pytest
import torch
from reference.fourier_reg import jafr_reference
from reg.steps import error, gradients, network, step, views
from torch import nn
from torch.nn import functional

from fourier_robust.reg.jafr import JaFR, low_frequency_bias


@pytest.mark.parametrize("size", [8, 12, 32])
def test_equals_the_products_written_out(size: int, generator: torch.Generator) -> None:
    gradient = torch.randn(3, 3, size, size, dtype=torch.float64, generator=generator)
    assert float(low_frequency_bias(gradient)) == pytest.approx(float(jafr_reference(gradient)), abs=1e-10)


def test_weight_gradients_are_those_of_the_written_out_objective() -> None:
    batch = views(dtype=torch.float64)
    models = [network(nn.Softplus()).double() for _ in range(2)]
    figures = JaFR(lam=0.2).add_gradient(step(models[0], batch))
    pixels = batch.images[0].clone().requires_grad_()
    loss = functional.cross_entropy(models[1](pixels), batch.targets[0])
    bias = jafr_reference(torch.autograd.grad(loss, pixels, create_graph=True)[0])
    (loss - 0.2 * bias).backward()
    assert float(figures["penalty"]) == pytest.approx(-float(bias.detach()), abs=1e-10)
    assert error(gradients(models[0]), gradients(models[1])) < 1e-9


def test_smooth_gradients_have_more_of_it(generator: torch.Generator) -> None:
    noise = torch.randn(4, 3, 16, 16, generator=generator)
    smooth = functional.avg_pool2d(noise, 5, 1, 2)
    assert low_frequency_bias(smooth) > low_frequency_bias(noise) + 1
    assert low_frequency_bias(torch.zeros(1, 3, 8, 8)).isfinite()
