"""SpeedNet: the whitening, the Dirac start, the frozen parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fourier_robust.arch.speednet import WHITENING_EPS, SpeedNet


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    """700 smooth colour images (more than one chunk): neighbours are correlated, channels too."""
    noise = torch.randn(700, 3, 12, 12, generator=generator)
    return F.avg_pool2d(noise, 3, 1) + 0.3 * noise[:, :1, 1:-1, 1:-1] + 0.2


def test_filters_whiten_the_patches(images: torch.Tensor) -> None:
    """The second moment of the 12 responses is diagonal: eigenvalue / (eigenvalue + eps), largest eigenvalue first."""
    net = SpeedNet(10)
    net.init_from_data(images)
    responses = net.whiten(images).transpose(0, 1).flatten(1).double()
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(1, 4, 5, 0, 2, 3).reshape(12, -1).double()
    values = torch.linalg.eigvalsh(patches @ patches.T / patches.shape[1]).flip(0)
    moment = responses[:12] @ responses[:12].T / responses.shape[1]
    torch.testing.assert_close(moment, torch.diag(values / (values + WHITENING_EPS)), rtol=0, atol=1e-4)
    assert torch.equal(net.whiten.weight[12:], -net.whiten.weight[:12])


def test_whitening_keeps_memory_format_and_needs_no_gradient(images: torch.Tensor) -> None:
    net, nhwc = SpeedNet(10), SpeedNet(10).to(memory_format=torch.channels_last)
    net.init_from_data(images)
    nhwc.init_from_data(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(net.whiten.weight, nhwc.whiten.weight.contiguous(), rtol=1e-3, atol=1e-3)
    assert nhwc.whiten.weight.is_contiguous(memory_format=torch.channels_last)
    assert not net.whiten.weight.requires_grad


def test_what_trains() -> None:
    """All but the whitening filters and the BatchNorm scales (6 x 2 names in all)."""
    frozen = {name for name, parameter in SpeedNet(10).named_parameters() if not parameter.requires_grad}
    norms = {f"groups.{group}.norm{i}.weight" for group in range(3) for i in (1, 2)}
    assert frozen == {"whiten.weight"} | norms


@pytest.mark.parametrize("widths", [(64, 128, 128), (16, 64, 64)])
def test_convolutions_start_as_a_copy_of_their_input(widths: tuple[int, int, int]) -> None:
    net = SpeedNet(10, widths)
    x = torch.randn(2, 24, 8, 8)
    shared = min(24, widths[0])
    out = F.conv2d(x, net.get_parameter("groups.0.conv1.weight"), None, 1, 1)
    assert torch.equal(out[:, :shared], x[:, :shared])
    assert out.shape[1] == widths[0]


def test_batchnorm_settings() -> None:
    norms = [module for module in SpeedNet(10).modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(norm.eps, norm.momentum) for norm in norms] == [(1e-12, 0.4)] * 6


def test_head_scale_multiplies_the_logits() -> None:
    net = SpeedNet(10, head_scale=1.0).eval()
    x = torch.randn(2, 3, 32, 32)
    whole = net(x)
    net.head_scale = 0.25
    assert torch.equal(net(x), whole * 0.25)


@pytest.mark.parametrize("bad", [{"widths": (64, 128)}, {"widths": (0, 1, 1)}, {"head_scale": 0.0}])
def test_bad_arguments(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        SpeedNet(10, **bad)
