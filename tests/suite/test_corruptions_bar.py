"""The other group of corruptions: which ten, what the set is called, which means."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import compose_config

from fourier_robust.cli import build
from fourier_robust.corruption.names import CIFAR_BAR, IMAGENET_BAR
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.metric.outcome import Outcome
from fourier_robust.suite.base import Condition
from fourier_robust.suite.corruptions_bar import CorruptionsBar


class Two:
    """Two grey test images."""

    name, num_classes, val_size, mean, std, class_names = "cifar10", 2, 0, (0.5,) * 3, (0.5,) * 3, ("a", "b")

    def __init__(self, size: int) -> None:
        self.size = size

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        return ResidentSplit(torch.full((2, self.size, self.size, 3), 90, dtype=torch.uint8), torch.arange(2))


def configured(tmp_path: Path, *overrides: str) -> CorruptionsBar:
    config, _ = compose_config("eval", "ckpt=x", "suite=corruptions_bar", f"paths.data_dir={tmp_path}", *overrides)
    suite = build(config, "suite")
    assert isinstance(suite, CorruptionsBar)
    return suite


@pytest.mark.parametrize(("size", "ten"), [(32, CIFAR_BAR), (224, IMAGENET_BAR)])
def test_the_ten_of_the_size(size: int, ten: tuple[str, ...], tmp_path: Path) -> None:
    suite = configured(tmp_path)
    conditions = suite.conditions(Two(size))
    assert {condition.corruption for condition in conditions[1:]} == set(ten)
    assert {condition.dataset for condition in conditions[1:]} == {"cifar10_c_bar_generated"}
    assert not any("PARTIAL" in remark or "table" in remark for remark in suite.remarks())
    outcomes = {
        one: Outcome(*(torch.tensor(values) for values in ([0, 1], [0, 0], [1.0, 1.0], [0.0, 0.0])))
        for one in conditions
    }
    means = {found.condition: found.estimate.value for found in suite.measure(outcomes) if found.metric == "mean_error"}
    assert means[Condition("cifar10_c_bar_generated", "bar10")] == 0.5


def test_one_of_the_other_benchmark_can_be_named(tmp_path: Path) -> None:
    suite = configured(tmp_path, "suite.corruptions=[ripple,perlin_noise]", "suite.severities=[2]")
    assert [condition.corruption for condition in suite.conditions(Two(32))] == [None, "ripple", "perlin_noise"]
    said = "\n".join(suite.remarks())
    assert "PARTIAL SET: 1 of the 10 bar corruptions" in said
    assert "parameters of the 224-pixel table, the nearest to 32 pixels" in said
    source = suite.source(Two(32), Condition("cifar10_c_bar_generated", "perlin_noise", 2), torch.device("cpu"), 2)
    assert source.n == 2


def test_a_release_is_read_from_its_folder(tmp_path: Path) -> None:
    import numpy as np

    folder = tmp_path / "CIFAR-10-C-bar"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(np.arange(2, dtype=np.uint8), 5))
    np.save(folder / "ripple.npy", np.zeros((10, 32, 32, 3), np.uint8))
    conditions = configured(tmp_path).conditions(Two(32))
    assert conditions[1:] == [Condition("cifar10_c_bar", "ripple", severity) for severity in range(1, 6)]
