"""Shared fixtures: one thread (two beside a busy process are slower than one), no user's environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
for _name in ("FR_DATA", "FR_OUTPUTS", "FR_DEBUG"):
    os.environ.pop(_name, None)


@pytest.fixture
def generator() -> torch.Generator:
    """A CPU generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real images (``FR_REALDATA``, else ``../shared/data``); skips where it is absent."""
    folder = Path(os.environ.get("FR_REALDATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "cifar10_test.tar").exists():
        pytest.skip("no real images here (FR_REALDATA)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
