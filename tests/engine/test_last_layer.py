"""Logits, the features behind them and the logits of moved images, from one pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.last_layer import LastLinear, last_layer, last_linear
from fourier_robust.errors import UserError
from fourier_robust.score.odin import ODIN


def net(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    middle = nn.Linear(48, 6)
    return nn.Sequential(nn.Flatten(), middle, nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3, bias=bias))


def split(count: int = 10) -> ResidentSplit:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 4, 4, 3), generator=generator, dtype=torch.uint8)
    return ResidentSplit(pixels, torch.arange(count) % 3)


@pytest.mark.parametrize("bias", [False, True])
def test_the_head_of_the_features_gives_the_logits(bias: bool) -> None:
    model = net(bias).train()
    (images, _, _) = next(split().batches(10))
    linear = last_linear(model, images[:2])
    assert linear is not None
    assert (linear.layer, linear.scale) == (model[4], 1.0)
    parts = list(last_layer(model, split().batches(4), linear))
    features = torch.cat([part.features for part in parts if part.features is not None])
    logits = torch.cat([part.logits for part in parts])
    assert features.shape == (10, 6)
    weight, offset = linear.head()
    torch.testing.assert_close(logits, features @ weight.T + offset)
    torch.testing.assert_close(logits, model.eval()(images).detach())
    assert torch.cat([part.labels for part in parts]).tolist() == [place % 3 for place in range(10)]


def test_a_network_that_scales_its_logits() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net(images) / 9

    model = Scaled()
    linear = last_linear(model, next(split().batches(2)).images)
    assert linear is not None
    assert linear.layer is model.net[4]
    (part,) = last_layer(model, split().batches(10), linear)
    assert part.features is not None
    weight, offset = linear.head()
    torch.testing.assert_close(part.logits, part.features @ weight.T + offset)


def test_mode_gradients_and_hooks_are_as_before() -> None:
    model = net().train()
    model[1].weight.requires_grad_(False)
    list(last_layer(model, split().batches(4), LastLinear(model[4], 1.0), [ODIN()]))
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model[4]._forward_pre_hooks


def test_there_is_none() -> None:
    (images, _, _) = next(split().batches(2))
    assert last_linear(nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.ReLU()), images) is None
    assert last_linear(nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten()), images) is None
    assert next(iter(last_layer(net(), split().batches(10)))).features is None


def test_moved_images_by_hand() -> None:
    """Two movers share a forward pass; each image is moved by its own gradient, whatever the batch."""
    model, movers = net().eval(), [ODIN(1000.0, 0.1), ODIN(1.0, 0.2)]
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    parts = list(last_layer(model, split().batches(5), None, movers))
    assert len(passes) == 2 * 3
    for place, batch in enumerate(split().batches(1)):
        for mover, moved in zip(movers, parts[place // 5].moved, strict=True):
            image = batch.images.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy(model(image) / mover.temperature, model(image).argmax(1))
            (gradient,) = torch.autograd.grad(loss, image)
            step = torch.where(gradient >= 0, -mover.noise, mover.noise)
            torch.testing.assert_close(moved[place % 5], model(batch.images + step)[0].detach(), rtol=1e-4, atol=1e-5)


def test_no_gradient_is_said() -> None:
    class Cut(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.detach().flatten(1)

    with pytest.raises(UserError, match="no gradient with respect to its input"):
        list(last_layer(Cut(), split().batches(5), None, [ODIN()]))
