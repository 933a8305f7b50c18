"""The Fourier penalties: closed forms, the published arithmetic, and what must not break them."""

from __future__ import annotations

import copy
import functools
import math
from typing import Any

import pytest
import torch
from reference.fourier_reg import penalty_reference, profile_reference
from reg.steps import error, gradients, loss_gradients, network, step, views
from torch import nn
from torch.nn import functional

from fourier_robust.aug.views import Views
from fourier_robust.errors import UserError
from fourier_robust.fourier.ring_power import RingPower
from fourier_robust.fourier.rings import num_rings, ring_counts, ring_index, ring_power
from fourier_robust.reg.fourier_sensitivity import ASF, HSF, LSF, MSF, FourierSensitivityPenalty, edges, profile

KINDS: dict[str, type[FourierSensitivityPenalty]] = {"lsf": LSF, "msf": MSF, "hsf": HSF, "asf": ASF}


@pytest.mark.parametrize("size", [28, 32, 64, 224])
def test_on_delta_profiles(size: int) -> None:
    low, high = edges(size)
    for k, delta in enumerate(torch.eye(num_rings(size, size)), start=1):
        assert LSF.functional(delta, size) == (0 if k <= low else 1)
        assert MSF.functional(delta, size) == (0 if low < k <= high else 1)
        assert HSF.functional(delta, size) == (0 if k > high else 1)
        assert ASF.functional(delta, size) == 0


def test_band_edges_are_those_of_the_authors_table() -> None:
    assert [edges(size) for size in (32, 64, 96, 224)] == [(5, 10), (10, 21), (16, 32), (37, 74)]


def test_images_too_small_for_three_bands_are_refused() -> None:
    with pytest.raises(UserError, match="4x4 pixels have no low band"):
        LSF().add_gradient(step(network(size=4), views(size=4)))


def test_the_three_sum_to_two_and_the_uniform_profile_has_all_the_bits(generator: torch.Generator) -> None:
    p = torch.rand(23, dtype=torch.float64, generator=generator)
    p = p / p.sum()
    total = sum(kind.functional(p, 32) for kind in (LSF, MSF, HSF))
    assert float(total) == pytest.approx(2, abs=1e-14)
    for size in (32, 224):
        uniform = torch.full((num_rings(size, size),), 0.01, dtype=torch.float64)
        assert float(ASF.functional(uniform, size)) == pytest.approx(-math.log2(size // 2), abs=1e-12)
    assert float(ASF.functional(torch.cat((p[:16], 9 * p[16:])), 32)) == pytest.approx(float(ASF.functional(p, 32)))


def test_profile_of_a_cosine_and_of_white_noise(generator: torch.Generator) -> None:
    grid = 2 * math.pi * torch.arange(32) / 32
    wave = torch.cos(3 * grid[:, None] + 4 * grid) + 7  # the mean has no effect
    p, zero = profile(torch.stack((wave, -1e-9 * wave)), torch.tensor([0.5, 0.5]))
    assert p[4] == pytest.approx(1, abs=1e-6)
    assert zero == 0
    p, _ = profile(torch.randn(500, 32, 32, generator=generator), torch.ones(500))
    assert (p - ring_counts(32, 32)[1:] / 1023).abs().max() < 2e-3
    ones = torch.ones(num_rings(9, 14), 9, 14)
    for k in range(1, num_rings(9, 14) + 1):  # odd and not square: a gradient of one coefficient is a delta
        spectrum = torch.zeros(9, 8, dtype=torch.complex64)
        row, column = (ring_index(9, 14) == k).nonzero()[0]
        spectrum[row, column] = 1
        ones[k - 1] = torch.fft.irfft2(spectrum, s=(9, 14))
    found = torch.stack([profile(one[None], torch.ones(1))[0] for one in ones])
    assert torch.allclose(found, torch.eye(len(ones)), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14), (6, 11)])
def test_ring_power_and_its_written_out_derivative(height: int, width: int, generator: torch.Generator) -> None:
    images = torch.randn(3, height, width, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.allclose(RingPower.apply(images), ring_power(images), rtol=1e-12)
    assert torch.autograd.gradcheck(RingPower.apply, images)


@pytest.mark.parametrize("name", KINDS)
def test_value_and_weight_gradients_are_those_of_the_published_arithmetic(name: str) -> None:
    batch = views(dtype=torch.float64)
    model = network(nn.Softplus()).double()
    other = copy.deepcopy(model)
    figures = KINDS[name](lam=0.7).add_gradient(step(model, batch))
    normalised = other.normalize(batch.images[0]).requires_grad_()
    loss = functional.cross_entropy(other.net(normalised), batch.targets[0])
    gradient = torch.autograd.grad(loss, normalised, create_graph=True)[0]
    p = profile_reference(gradient)
    penalty = penalty_reference(name, p, 12)
    (loss + 0.7 * penalty).backward()
    assert float(figures["penalty"]) == pytest.approx(float(penalty.detach()), abs=1e-9)
    assert [float(figures[band]) for band in ("low", "mid", "high")] == pytest.approx(
        [float(part.detach().sum()) for part in (p[:2], p[2:4], p[4:])], abs=1e-9
    )
    assert error(gradients(model), gradients(other)) < 1e-9
    model32 = network(nn.Softplus())
    KINDS[name](lam=0.7).add_gradient(step(model32, views()))
    assert error(gradients(model32), gradients(other)) < 1e-4


@pytest.mark.parametrize("name", KINDS)
def test_gradcheck(name: str) -> None:
    model = network(nn.Softplus(), norm=False, size=6).double()
    batch = views(batch=3, size=6, dtype=torch.float64)
    reg = KINDS[name]()

    def penalty(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        moved = {"net.0.weight": weight, "net.0.bias": bias}
        images = batch.images[0].clone().requires_grad_()
        logits = torch.func.functional_call(model, moved, (images,))
        loss = functional.cross_entropy(logits, batch.targets[0])
        gradient = torch.autograd.grad(loss, images, create_graph=True)[0]
        return reg.lam * reg._of_gradient(gradient, batch, model)[0]

    first = model.net[0]
    inputs = [tensor.detach().clone().requires_grad_() for tensor in (first.weight, first.bias)]
    assert torch.autograd.gradcheck(penalty, inputs)


@pytest.mark.parametrize("name", KINDS)
def test_relu_and_batch_norm_give_finite_gradients_that_lower_the_penalty(name: str) -> None:
    model, batch = network().double(), views(batch=16, dtype=torch.float64)
    reg = KINDS[name](lam=1.0)
    alone = loss_gradients(model, batch)
    before = reg.add_gradient(step(model, batch))["penalty"]
    change = gradients(model) - alone
    assert torch.isfinite(change).all()
    assert change.norm() > 0
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.nn.utils.vector_to_parameters(start - 1e-6 * change / change.norm(), model.parameters())
    assert reg.add_gradient(step(model, batch))["penalty"] < before


class Saturated(nn.Module):
    """A net whose logits ignore the images that are brighter than 2: their input gradient is exactly zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(nn.Softplus(), norm=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        live = (images.amax((1, 2, 3), keepdim=True) <= 2).to(images.dtype)
        return self.net(images * live)


@pytest.mark.parametrize("name", KINDS)
def test_an_image_without_gradient_is_left_out_and_counted(name: str) -> None:
    batch = views(batch=6)
    with_zero = batch._replace(images=batch.images.clone())
    with_zero.images[0, :2] = 3
    rest = batch._replace(images=batch.images[:, 2:], targets=batch.targets[:, 2:])
    reg = KINDS[name](lam=1.0)
    found = []
    for part in (with_zero, rest):
        model = Saturated()
        alone = loss_gradients(model, part)
        figures = reg.add_gradient(step(model, part))
        found.append((figures, gradients(model) - alone))
    assert found[0][0]["zero_gradient"] == pytest.approx(2 / 6)
    assert found[1][0]["zero_gradient"] == 0
    assert float(found[0][0]["penalty"]) == pytest.approx(float(found[1][0]["penalty"]), abs=1e-6)
    assert error(found[0][1], found[1][1]) < 1e-4
    model = Saturated()
    nothing = with_zero._replace(images=torch.full_like(batch.images, 3))
    alone = loss_gradients(model, nothing)
    figures = reg.add_gradient(step(model, nothing))
    assert (figures["penalty"], figures["zero_gradient"]) == (0, 1)
    assert torch.equal(gradients(model), alone)


def test_tiny_gradients_count_as_gradients_and_nan_stays_nan(generator: torch.Generator) -> None:
    noise = torch.randn(4, 8, 8, generator=generator)
    p, _ = profile(noise, torch.ones(4))
    small, zero = profile(noise * torch.tensor([1e-15, 1e-8, 1.0, 1e15])[:, None, None], torch.ones(4))
    assert torch.allclose(p, small, atol=1e-6)
    assert zero == 0
    noise[1, 0, 0] = torch.nan
    assert profile(noise, torch.ones(4))[0].isnan().all()
    flat, zero = profile(torch.full((1, 8, 8), 0.3), torch.ones(1))
    assert (flat.sum(), zero) == (0, 1)


def test_gradients_of_opposite_channels_cancel_after_normalisation() -> None:
    model = network(norm=False)
    reg = LSF()
    batch = views()
    gradient = torch.zeros(8, 3, 12, 12)
    gradient[:, 0, 0, 0], gradient[:, 1, 0, 0] = 0.25, -0.1  # times std 0.1 and 0.25
    _, figures = reg._of_gradient(gradient, batch, model)
    assert figures["zero_gradient"] == 1


def test_views_weigh_in_by_their_weight() -> None:
    batch = views(count=2)  # weights 1 and 2
    model = network(norm=False)
    both = LSF().add_gradient(step(model, batch))
    each = []
    for v in range(2):
        one = Views(batch.images[v, None], batch.targets[v, None], (1.0,))
        each.append(LSF().add_gradient(step(model, one)))
    expected = (each[0]["penalty"] + 2 * each[1]["penalty"]) / 3
    assert float(both["penalty"]) == pytest.approx(float(expected), abs=1e-6)
    ignored = LSF().add_gradient(step(model, batch._replace(weights=(1.0, 0.0))))
    assert float(ignored["penalty"]) == pytest.approx(float(each[0]["penalty"]), abs=1e-6)
    assert ignored["zero_gradient"] == 0


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile with its trace but without a C++ compiler, which would take minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("kind", "bn_mode", "count"), [(LSF, "train", 1), (ASF, "eval", 2)])
def test_compiled_is_exact(kind: type[FourierSensitivityPenalty], bn_mode: Any, count: int) -> None:
    batch = views(count=count)
    plain, found = loss_gradients(network(), batch), []
    for form in ("exact", "compiled"):
        model, reg = network(), kind(lam=3.0, form=form, bn_mode=bn_mode, fraction=0.5, every=2)
        model.net[0].bias.requires_grad_(False)
        before = copy.deepcopy(dict(model.named_buffers()))
        assert not reg.shares_pass(0)
        figures = reg.add_gradient(step(model, batch, joint=False))
        again = reg.add_gradient(step(model, batch, joint=False, number=1))
        assert again == {}
        found.append((gradients(model) - plain, figures))
        if form == "compiled":  # the loss's own two passes moved the statistics, the penalty's did not
            assert model.net[1].num_batches_tracked == before["net.1.num_batches_tracked"] + 2
    assert error(found[1][0], found[0][0]) < 1e-5
    for name, value in found[0][1].items():
        assert float(found[1][1][name]) == pytest.approx(float(value), abs=1e-6)


@pytest.mark.usefixtures("traced")
def test_compiled_refuses_what_it_cannot_trace() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.mean() > 0 else -x

    with pytest.raises(UserError, match=r"reg\.form=compiled: no trace of this network.*use reg\.form=exact"):
        LSF(form="compiled").add_gradient(step(network(Branching()), views(), joint=False))
    with pytest.raises(UserError, match="4x4 pixels have no low band"):
        LSF(form="compiled").add_gradient(step(network(size=4), views(size=4), joint=False))


@pytest.mark.parametrize(("joint", "bn_mode"), [(True, "train"), (False, "train"), (False, "eval")])
def test_finite_difference_of_a_smooth_network(joint: bool, bn_mode: Any) -> None:
    batch = views(dtype=torch.float64)
    found = []
    for form, width in (("exact", 1e-3), ("finite_difference", 1e-6)):
        model = network(nn.GELU()).double()
        figures = MSF(form=form, width=width, bn_mode=bn_mode).add_gradient(step(model, batch, joint))
        found.append((gradients(model), float(figures["penalty"])))
    plain = loss_gradients(network(nn.GELU()).double(), batch)
    assert found[1][1] == pytest.approx(found[0][1], abs=1e-12)
    assert error(found[1][0] - plain, found[0][0] - plain) < 1e-3
    model = network(nn.GELU())
    MSF(form="finite_difference", bn_mode=bn_mode).add_gradient(step(model, views(), joint))
    assert error(gradients(model) - plain, found[0][0] - plain) < 1e-2


@pytest.mark.parametrize(
    ("activation", "named"),
    [
        (nn.ReLU(), "Relu"),
        (nn.LeakyReLU(), "LeakyRelu"),
        (nn.PReLU(), "Prelu"),
        (nn.Hardtanh(), "Hardtanh"),
        (nn.Hardswish(), "Hardswish"),
        (nn.MaxPool2d(3, 1, 1), "MaxPool2DWithIndices"),
        (nn.Dropout(0.1), "dropout"),
    ],
)
def test_finite_difference_is_refused_for_networks_with_kinks(activation: nn.Module, named: str) -> None:
    with pytest.raises(UserError, match=named) as refused:
        LSF(form="finite_difference").add_gradient(step(network(activation), views()))
    assert "reg.form=exact" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("named", "value"),
    [
        ("lam", -1),
        ("lam", math.inf),
        ("fraction", 0),
        ("fraction", 1.1),
        ("every", 0),
        ("bn_mode", "no"),
        ("form", "no"),
        ("width", 0),
    ],
)
def test_bad_settings_are_named(named: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{named} "):
        LSF(**{named: value})
