"""ResNet-20 with akamaster's weights: one published number, reproduced through our own code."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path

import pytest
import torch

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet20

WEIGHTS = "akamaster_resnet_cifar10/resnet20-12fca82f.th"
ERRORS = 827  # of 10,000 test images: the published 8.27 %
FIRST_2000 = 167


@pytest.fixture(scope="module")
def model(realdata: Path) -> Normalized:
    net = resnet20(10)
    with tarfile.open(realdata / "models_thirdparty.tar.xz") as archive:
        file = archive.extractfile(WEIGHTS)
        assert file is not None
        state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return Normalized(net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()


@pytest.fixture(scope="module")
def test_set(realdata: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """CIFAR-10 test: (10000,3,32,32) uint8 and labels (10000,)."""
    spec = importlib.util.spec_from_file_location("unpack_cifar10", realdata / "unpack_cifar10.py")
    assert spec is not None
    assert spec.loader is not None
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    pixels, labels, _ = unpack.read("test")
    return torch.from_numpy(pixels).view(-1, 3, 32, 32), torch.from_numpy(labels.astype(int))


def errors(model: Normalized, images: torch.Tensor, labels: torch.Tensor) -> int:
    with torch.inference_mode():
        predicted = torch.cat([model(chunk / 255).argmax(1) for chunk in images.split(128)])
    return int((predicted != labels).sum())


@pytest.mark.realdata
def test_first_images(model: Normalized, test_set: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The share of the published error that falls on the first 2,000 images, counted here once."""
    images, labels = test_set
    assert errors(model, images[:2000], labels[:2000]) == pytest.approx(FIRST_2000, abs=1)


@pytest.mark.realdata
@pytest.mark.slow
def test_published_error_on_the_whole_test_set(model: Normalized, test_set: tuple[torch.Tensor, torch.Tensor]) -> None:
    """10,000 images, 10 s on one core; one error more or fewer may be rounding, two are a bug."""
    assert errors(model, *test_set) == pytest.approx(ERRORS, abs=1)
