"""Models of timm and torchvision by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fourier_robust import arch
from fourier_robust.arch.timm_model import timm_model
from fourier_robust.arch.torchvision_model import torchvision_model


def test_resnet50_is_torchvisions_size() -> None:
    assert sum(parameter.numel() for parameter in timm_model("resnet50", 1000).parameters()) == 25_557_032


def test_number_of_classes() -> None:
    assert timm_model("resnet10t", 7).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 7)


def test_torchvisions_classifiers() -> None:
    assert torchvision_model("squeezenet1_0", 7).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 7)
    with pytest.raises(ValueError, match=r"no classifier 'squeezenet'.*squeezenet1_1"):
        torchvision_model("squeezenet", 10)
    with pytest.raises(ValueError, match="no classifier 'fcn_resnet50'"):
        torchvision_model("fcn_resnet50", 10)


def test_unknown_name_lists_close_ones() -> None:
    with pytest.raises(ValueError, match=r"no model 'resnet5O'.*resnet50"):
        timm_model("resnet5O", 10)


def test_building_blocks_load_only_when_used() -> None:
    """Importing every architecture imports neither timm nor torchvision."""
    modules = sorted(path.stem for path in Path(arch.__path__[0]).glob("[a-z]*.py"))
    assert "resnext" in modules
    lines = [f"import fourier_robust.arch.{module}" for module in modules]
    code = "\n".join(["import sys", *lines, "assert not {'timm', 'torchvision'} & set(sys.modules)"])
    subprocess.run([sys.executable, "-c", code], check=True)
