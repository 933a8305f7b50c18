"""Normalized: the constants, the memory format, the state dict, and what it passes on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fourier_robust.arch.normalize import Normalized

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 2.0)


class Recorder(nn.Module):
    """Returns its input, keeps what init_from_data gets."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def init_from_data(self, images: torch.Tensor) -> None:
        self.got = images


def test_closed_form_per_channel() -> None:
    images = torch.tensor([1.0, 0.5, 0.125]).view(1, 3, 1, 1).expand(2, 3, 4, 4).clone()
    before = images.clone()
    out = Normalized(nn.Identity(), MEAN, STD)(images)
    assert torch.equal(out, torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 4, 4))
    assert torch.equal(images, before)


def test_memory_format_is_kept() -> None:
    model = Normalized(nn.Identity(), MEAN, STD)
    images = torch.rand(2, 3, 8, 8)
    assert model(images).is_contiguous()
    assert model(images.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_constants_travel_in_the_state_dict() -> None:
    source, target = Normalized(nn.Identity(), MEAN, STD), Normalized(nn.Identity(), (0.0,) * 3, (1.0,) * 3)
    assert set(source.state_dict()) == {"mean", "std"}
    target.load_state_dict(source.state_dict())
    images = torch.rand(1, 3, 2, 2)
    assert torch.equal(source(images), target(images))


def test_input_gradient_is_in_pixel_units() -> None:
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    Normalized(nn.Identity(), MEAN, STD)(images).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, (1 / torch.tensor(STD)).view(1, 3, 1, 1).expand(1, 3, 2, 2))


def test_init_from_data_is_there_only_if_the_net_has_it() -> None:
    images = torch.rand(5, 3, 2, 2)
    assert not hasattr(Normalized(nn.Identity(), MEAN, STD), "init_from_data")
    recorder = Recorder()
    model = Normalized(recorder, MEAN, STD)
    model.init_from_data(images)
    assert torch.equal(recorder.got, model.normalize(images))


def test_a_copy_initialises_itself() -> None:
    model = Normalized(Recorder(), MEAN, STD)
    twin = copy.deepcopy(model)
    twin.init_from_data(torch.rand(1, 3, 2, 2))
    assert hasattr(twin.net, "got")
    assert not hasattr(model.net, "got")


@pytest.mark.parametrize("std", [(1.0, 1.0), (1.0, 1.0, 0.0)])
def test_bad_std(std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="std"):
        Normalized(nn.Identity(), MEAN, std)
