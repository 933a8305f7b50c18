"""The Jacobian penalty against closed forms and torch's own Jacobian."""

from __future__ import annotations

import pytest
import torch
from reg.steps import MEAN, STD, gradients, loss_gradients, network, step, views
from torch import nn

from fourier_robust.arch.normalize import Normalized
from fourier_robust.reg.jacobian import JacobianPenalty


def test_of_a_linear_network_it_is_half_the_squared_norm_of_its_weight() -> None:
    """And its gradient is the weight itself, however the pixels were normalised."""
    linear = nn.Linear(3 * 12 * 12, 5).double()
    model = Normalized(nn.Sequential(nn.Flatten(), linear), MEAN, STD).double()
    batch = views(dtype=torch.float64)
    plain = loss_gradients(model, batch)
    figures = JacobianPenalty(lam=0.3, projections=None).add_gradient(step(model, batch))
    assert float(figures["penalty"]) == pytest.approx(float(linear.weight.detach().square().sum()) / 2, rel=1e-6)
    change = (gradients(model) - plain)[: linear.weight.numel()].view_as(linear.weight)
    assert torch.allclose(change, 0.3 * linear.weight, atol=1e-7)


def test_exact_form_is_torchs_jacobian() -> None:
    model, batch = network(norm=False).double(), views(dtype=torch.float64)
    figures = JacobianPenalty(projections=None).add_gradient(step(model, batch))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda image: model.net(image[None])[0]))
    expected = jacobian(model.normalize(batch.images[0])).square().sum((1, 2, 3, 4)).mean() / 2
    assert float(figures["penalty"]) == pytest.approx(float(expected.detach()), rel=1e-9)


def test_random_projections_are_unbiased() -> None:
    model, batch = network(norm=False), views()
    exact = float(JacobianPenalty(projections=None).add_gradient(step(model, batch))["penalty"])
    many = JacobianPenalty(projections=400).add_gradient(step(model, batch))["penalty"]
    assert float(many) == pytest.approx(exact, rel=0.1)
    draws = []
    for seed in (0, 0, 1):
        made = step(model, batch, generator=torch.Generator().manual_seed(seed))
        draws.append(float(JacobianPenalty().add_gradient(made)["penalty"]))
    assert draws[0] == draws[1] != draws[2]


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"^projections "):
        JacobianPenalty(projections=0)
    with pytest.raises(ValueError, match=r"^lam "):
        JacobianPenalty(lam=-1)
