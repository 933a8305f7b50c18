"""Every CIFAR net: size, arithmetic, initialisation, and the contract of an architecture."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fourier_robust.arch.allconv import AllConv
from fourier_robust.arch.densenet import densenet40_12
from fourier_robust.arch.preact_resnet import PreActBlock, preact_resnet18
from fourier_robust.arch.resnet import OptionABlock, resnet18, resnet20, resnet32
from fourier_robust.arch.resnext import resnext29_4x32d
from fourier_robust.arch.speednet import SpeedNet
from fourier_robust.arch.wrn import wrn_40_2

Builder = Callable[[int], nn.Module]

# builder: parameters at 10 and at 100 classes (those of the APR code where it has the net), GFLOP forward per image
NETS: dict[str, tuple[Builder, int, int, float]] = {
    "allconv": (AllConv, 1_409_674, 1_427_044, 0.8057),
    "densenet40_12": (densenet40_12, 1_059_298, 1_100_428, 0.5658),
    "wrn_40_2": (wrn_40_2, 2_243_546, 2_255_156, 0.6552),
    "resnext29_4x32d": (resnext29_4x32d, 6_807_882, 6_900_132, 2.1427),
    "resnet18": (resnet18, 11_173_962, 11_220_132, 1.1108),
    "preact_resnet18": (preact_resnet18, 11_172_170, 11_172_170 + 90 * 513, 1.1108),
    "resnet20": (resnet20, 269_722, 269_722 + 90 * 65, 0.0811),
    "resnet32": (resnet32, 464_154, 464_154 + 90 * 65, 0.1377),
    "speednet": (SpeedNet, 569_656, 569_656 + 90 * 128, 0.1084),
}
HE_FAN_OUT = ("allconv", "densenet40_12", "wrn_40_2", "resnext29_4x32d", "resnet20", "resnet32")
CONF = Path(__file__).parents[2] / "conf" / "arch"


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", NETS)
def test_parameter_counts_are_exact(name: str) -> None:
    build, ten, hundred, _ = NETS[name]
    assert (count(build(10)), count(build(100))) == (ten, hundred)


@pytest.mark.parametrize("name", NETS)
def test_forward_arithmetic(name: str) -> None:
    """Strides, paddings and groups, none of which the parameter count can see."""
    build, _, _, gflop = NETS[name]
    with FlopCounterMode(display=False) as counter:
        build(10)(torch.rand(2, 3, 32, 32))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gflop, abs=5e-5)


@pytest.mark.parametrize("name", NETS)
def test_evaluation_is_per_image_and_changes_nothing(name: str) -> None:
    """In eval mode: a batch of 1 equals its row of a batch, buffers stay, the mode stays (the APR code flips it)."""
    net = NETS[name][0](7).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        rows, one = net(images), net(images[1:2])
        nhwc = net(images.contiguous(memory_format=torch.channels_last))
    assert rows.shape == (3, 7)
    torch.testing.assert_close(one, rows[1:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(nhwc, rows, rtol=1e-4, atol=1e-5)
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", NETS)
def test_training_reaches_every_trained_parameter(name: str) -> None:
    net = NETS[name][0](5)
    net(torch.randn(4, 3, 32, 32)).square().sum().backward()
    missing = [key for key, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # a bias just before a BatchNorm has gradient 0 up to rounding, so nothing is asked of AllConv's
    assert [key for key in missing if not (name == "allconv" and key.endswith("bias"))] == []
    assert all(module.num_batches_tracked == 1 for module in net.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("name", NETS)
def test_last_linear_makes_the_logits_from_the_features(name: str) -> None:
    """Features (B,D) are what enters the last nn.Linear; head(features) are the logits."""
    net = NETS[name][0](6).eval()
    head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    head.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    logits = net(torch.randn(1, 3, 32, 32))
    assert seen[0].shape == (1, head.in_features)
    scale = 1 / 9 if name == "speednet" else 1.0
    torch.testing.assert_close(F.linear(seen[0], head.weight, head.bias) * scale, logits)


@pytest.mark.parametrize("name", HE_FAN_OUT)
def test_he_initialisation(name: str) -> None:
    """Pooled over all convolutions, weight / sqrt(2 / (kH kW C_out)) is standard normal; 1e5 samples or more."""
    net = NETS[name][0](10)
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    pooled = torch.cat(
        [(c.weight.detach() / math.sqrt(2 / (math.prod(c.kernel_size) * c.out_channels))).flatten() for c in convs]
    )
    assert pooled.mean().item() == pytest.approx(0, abs=5 / math.sqrt(len(pooled)))
    assert pooled.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * len(pooled)))
    head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    assert not head.bias.any()


@pytest.mark.parametrize("net", [resnet18(10), preact_resnet18(10)], ids=["resnet18", "preact_resnet18"])
def test_torch_default_initialisation(net: nn.Module) -> None:
    """Convolutions are uniform within 1 / sqrt(fan_in)."""
    for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
        bound = 1 / math.sqrt(conv.weight[0].numel())
        assert 0.98 * bound < conv.weight.abs().max() <= bound


def test_allconv_mean_sees_the_top_left_of_its_last_map() -> None:
    """The map is 10 x 10, its gradient 1/64 in the top left 8 x 8 and 0 elsewhere."""
    net = AllConv(10).eval()
    head = net.features[:-1](torch.randn(1, 3, 32, 32)).detach().requires_grad_()
    net.features[-1](head).sum().backward()
    assert head.grad is not None
    expected = torch.zeros(10, 10)
    expected[:8, :8] = 1 / 64
    torch.testing.assert_close(head.grad, expected.expand(1, 192, 10, 10))
    with pytest.raises(ValueError, match="32 x 32"):
        net(torch.randn(1, 3, 64, 64))


def test_allconv_activation() -> None:
    x = torch.linspace(-5, 5, 101)
    expected = x * torch.sigmoid(1.702 * x)
    torch.testing.assert_close(AllConv(10).features[2](x), expected)


def test_preact_block_definition() -> None:
    """The shortcut takes the raw input where shapes agree, a projection of the activated input elsewhere."""
    x = torch.randn(2, 4, 8, 8)
    for outputs, stride in ((4, 1), (4, 2), (6, 1)):
        block = PreActBlock(4, outputs, stride).eval()
        bn = 1 / math.sqrt(1 + 1e-5)  # a fresh BatchNorm in eval mode
        active = (x * bn).relu()
        middle = (F.conv2d(active, block.conv1.weight, None, stride, 1) * bn).relu()
        inner = F.conv2d(middle, block.conv2.weight, None, 1, 1)
        skip = x if block.shortcut is None else F.conv2d(active, block.shortcut.weight, None, stride)
        torch.testing.assert_close(block(x), skip + inner, rtol=1e-4, atol=1e-5)
    assert PreActBlock(4, 4).shortcut is None


def test_option_a_shortcut() -> None:
    """With both convolutions at 0 the block is relu of every second pixel between two bands of zero channels."""
    block = OptionABlock(4, 8, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    out = block(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2].relu())
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_every_yaml_names_its_size() -> None:
    """The header of conf/arch/<net>.yaml gives the tested counts, and its target is the tested builder."""
    for name, (build, ten, hundred, _) in NETS.items():
        text = (CONF / f"{name}.yaml").read_text()
        assert f"{ten:,} parameters at 10 classes, {hundred:,} at 100" in text
        assert yaml.safe_load(text)["_target_"] == f"{build.__module__}.{build.__name__}"
