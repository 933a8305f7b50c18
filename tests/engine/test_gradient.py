"""Input gradients: whose, of what, at what; mode, parameters, precision, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fourier_robust.arch.normalize import Normalized
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.gradient import GradientOf, input_gradients
from fourier_robust.errors import UserError

STD = (0.5, 0.25, 0.2)


def some_split(n: int = 10) -> ResidentSplit:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 6, 6, 3), generator=generator, dtype=torch.uint8)
    return ResidentSplit(images, torch.arange(n) % 4)


def some_model() -> Normalized:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(80, 4)
    model = Normalized(nn.Sequential(*layers), (0.4, 0.5, 0.6), STD)
    model.net[1].running_mean.uniform_(-1, 1)
    return model


def gradients(model: nn.Module, batches: object, *wanted: str, **rest: str) -> torch.Tensor:
    return torch.cat([found.gradients for found in input_gradients(model, batches, GradientOf(*wanted), **rest)])


@pytest.mark.parametrize("scalar", ["loss", "predicted_loss", "logit", "margin"])
@pytest.mark.parametrize("where", ["normalised", "pixel"])
def test_each_image_by_central_differences(scalar: str, where: str) -> None:
    """In float64, along one random direction per image; no ReLU lies within 1e-6 of its kink here."""
    model, split = some_model().eval(), some_split()
    found = gradients(model, split.batches(4), scalar, where).double()
    model.double()
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value(images: torch.Tensor, label: int) -> float:
        logits = (model.net if where == "normalised" else model)(images[None])[0]
        others = torch.cat([logits[:label], logits[label + 1 :]])
        log_probability = logits.log_softmax(0)
        return {
            "loss": -log_probability[label],
            "predicted_loss": -log_probability.max(),
            "logit": logits[label],
            "margin": logits[label] - others.max(),
        }[scalar].item()

    (batch,) = split.batches(10)
    with torch.no_grad():
        for index in range(len(split)):
            image = batch.images[index].double()
            image = model.normalize(image[None])[0] if where == "normalised" else image
            step, label = 1e-6 * direction[index], int(batch.labels[index])
            slope = (value(image + step, label) - value(image - step, label)) / 2e-6
            assert slope == pytest.approx(float((found[index] * direction[index]).sum()), rel=1e-4, abs=1e-5)


def test_pixels_differ_by_the_standard_deviation() -> None:
    model, split = some_model(), some_split()
    normalised, pixel = (gradients(model, split.batches(10), "loss", where) for where in ("normalised", "pixel"))
    assert torch.allclose(pixel * torch.tensor(STD).view(3, 1, 1), normalised, rtol=1e-5, atol=1e-8)


def test_order_labels_and_size_of_batches() -> None:
    model, split = some_model(), some_split()
    whole = gradients(model, split.batches(10))
    order = torch.tensor([3, 1, 9])
    part = list(input_gradients(model, split.batches(2, order), GradientOf()))
    assert torch.equal(torch.cat([found.indices for found in part]), order)
    assert torch.equal(torch.cat([found.labels for found in part]), split.labels[order])
    assert torch.allclose(torch.cat([found.gradients for found in part]), whole[order], rtol=1e-4, atol=1e-7)


def test_mode_statistics_and_parameters_are_left_alone() -> None:
    model = some_model().train()
    model.net[5].bias.requires_grad_(False)
    before = [(parameter.clone(), parameter.requires_grad) for parameter in model.parameters()]
    running = model.net[1].running_mean.clone()
    with torch.no_grad():
        found = gradients(model, some_split().batches(4))
    assert found.abs().sum() > 0
    assert model.training
    assert torch.equal(model.net[1].running_mean, running)
    for (value, learns), parameter in zip(before, model.parameters(), strict=True):
        assert torch.equal(value, parameter)
        assert parameter.requires_grad == learns
        assert parameter.grad is None


def test_bf16_gives_float32_gradients_of_about_the_same_direction() -> None:
    model, split = some_model(), some_split()
    exact, rough = (gradients(model, split.batches(10), precision=name) for name in ("fp32", "bf16"))
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert torch.nn.functional.cosine_similarity(exact.flatten(1), rough.flatten(1)).min() > 0.98


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(108, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.detach().flatten(1))


class Wild(nn.Module):
    """sqrt(0) has no finite gradient."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - images[:, :, :1, :1]).abs().sqrt().flatten(1)[:, :4]


def test_refusals_are_one_line_and_leave_the_model_alone() -> None:
    for net, said in ((Cut(), "no gradient with respect to its input"), (Wild(), "is not finite: 4 images .* first 0")):
        model = Normalized(net, (0.5,) * 3, (0.5,) * 3)
        with pytest.raises(UserError, match=said) as refused:
            gradients(model, some_split().batches(4))
        assert "\n" not in str(refused.value)
        assert model.training
        assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="scalar must be one of loss, predicted_loss, logit, margin, got 'nll'"):
        GradientOf("nll")
    with pytest.raises(ValueError, match="input must be one of normalised, pixel"):
        GradientOf(input="raw")
