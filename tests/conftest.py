"""Shared fixtures: one thread (two beside a busy process are slower than one), no user's environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY, compose_config

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


@pytest.fixture
def train_tiny(tmp_path: Path) -> Callable[..., Path]:
    """Trains a tiny net on 64 embedded images with the given overrides; returns the run folder."""
    from fourier_robust.run.folder import RunFolder
    from fourier_robust.train import train

    def run(*overrides: str) -> Path:
        config, names = compose_config("train", *TINY, f"paths.output_dir={tmp_path}/outputs", *overrides)
        folder = RunFolder.of(tmp_path / "outputs", names, config["seed"], config)
        train(config, names)
        return folder.path

    return run


@pytest.fixture
def evaluate_tiny(tmp_path: Path) -> Callable[..., Any]:
    """Runs fr-eval's front door on a checkpoint with the given overrides."""
    from fourier_robust.evaluate import evaluate

    def run(ckpt: Path, *overrides: str) -> Any:
        settings = (f"ckpt={ckpt}", f"paths.data_dir={tmp_path}/data", "device.name=cpu", "device.threads=1")
        return evaluate(*compose_config("eval", *settings, "device.keep_blocks=false", *overrides))

    return run
