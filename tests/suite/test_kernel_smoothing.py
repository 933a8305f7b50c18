"""Smoothed first kernels: the arithmetic by hand, the model put back, the numbers in their rows, what is refused."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fourier_robust.dataset.shapes import Shapes
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome
from fourier_robust.run.checkpoint import read
from fourier_robust.suite.bands import Bands
from fourier_robust.suite.kernel_smoothing import KernelSmoothing, first_kernels, smoothed

CPU = torch.device("cpu")


def suite(rhos: list[float] | None = None, **settings: object) -> KernelSmoothing:
    return KernelSmoothing(Bands(radii=[8], noise_bands=[[9, 12]]), rhos, **settings)  # type: ignore[arg-type]


def data() -> Shapes:
    return Shapes(num_train=4, num_val=0, num_test=4)


def test_three_by_three_by_hand() -> None:
    kernel = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    weight = torch.stack([kernel, 10 * kernel])[None]  # (1,2,3,3): planes do not mix
    found = smoothed(weight, 0.5)
    centre = 5 + 0.5 * (45 - 5)
    corner = 1 + 0.5 * (1 + 1 + 2 + 1 + 2 + 4 + 4 + 5)  # beyond the edge its weights again
    edge = 4 + 0.5 * (1 + 1 + 2 + 4 + 5 + 7 + 7 + 8)
    assert (found[0, 0, 1, 1], found[0, 0, 0, 0], found[0, 0, 1, 0]) == (centre, corner, edge)
    assert torch.equal(found[0, 1], 10 * found[0, 0])
    assert torch.equal(smoothed(weight, 0.5, normalise=True), found / 5)


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (4, 1, 2, 2), (1, 1, 7, 5)])
def test_against_the_sum_over_clamped_neighbours(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    height, width = shape[2:]
    wanted = weight.numpy().copy()
    for i in range(height):
        for j in range(width):
            for down, across in {(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)} - {(0, 0)}:
                near = weight[..., np.clip(i + down, 0, height - 1), np.clip(j + across, 0, width - 1)]
                wanted[..., i, j] += 0.3 * near.numpy()
    assert np.abs(smoothed(weight, 0.3).numpy() - wanted).max() < 1e-12
    assert torch.equal(smoothed(weight, 0.0), weight)
    flat = torch.full(shape, 2.0)
    assert torch.equal(smoothed(flat, 1.0), 9 * flat)
    assert torch.equal(smoothed(flat, 1.0, normalise=True), flat)


def test_the_first_convolution_alone_is_changed_and_put_back() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    asked = suite([0.0, 0.25])
    *_, last = asked.conditions(data())
    with asked.changed(net, last):
        changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"0.weight"}
        assert torch.equal(net[0].weight, smoothed(before["0.weight"], 0.25, normalise=True))
    with pytest.raises(KeyboardInterrupt), asked.changed(net, last):
        raise KeyboardInterrupt
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with asked.changed(net, asked.conditions(data())[0]):  # rho 0
        assert torch.equal(net[0].weight, before["0.weight"])


def test_batch_norm_mode_holds_too() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    asked = KernelSmoothing(Bands(bn_mode="batch"), [1.0])
    first, *_ = asked.conditions(data())
    with asked.changed(net, first), torch.no_grad():
        mean = net(torch.rand(2, 3, 8, 8)).mean((0, 2, 3))
    assert mean.abs().max() < 1e-5
    assert net[1].running_mean is not None


def test_numbers_stand_in_the_row_of_their_images_and_the_column_of_their_strength() -> None:
    asked = suite([0.0, 0.5])
    wrong = {"shapes-rho0.5": 1, "shapes_low-8_rho0": 2, "shapes_high-8_rho0.5": 3, "shapes_noise-9-12_rho0.5": 4}
    outcomes, identities = {}, set()
    for condition in asked.conditions(data()):
        source = asked.source(data(), condition, CPU, 4)
        identities.add(source.identity)
        prediction = (torch.arange(4) < wrong.get(condition.key, 0)).long()
        outcomes[condition] = Outcome(torch.zeros(4, dtype=torch.int64), prediction, torch.ones(4), torch.zeros(4))
    assert len(identities) == len(outcomes) == 8
    raw = suite([0.5], normalise=False)
    assert raw.source(data(), raw.conditions(data())[0], CPU, 4).identity not in identities
    found = {(one.condition.dataset, one.metric): one.estimate.value for one in asked.measure(outcomes)}
    assert found == {
        ("shapes", "error_rho0"): 0,
        ("shapes", "error_rho0.5"): 1 / 4,
        ("shapes_low", "error_rho0"): 2 / 4,
        ("shapes_low", "error_rho0(8)"): 2 / 4,
        ("shapes_low", "error_rho0.5"): 0,
        ("shapes_low", "error_rho0.5(8)"): 0,
        ("shapes_high", "error_rho0"): 0,
        ("shapes_high", "error_rho0(8)"): 0,
        ("shapes_high", "error_rho0.5"): 3 / 4,
        ("shapes_high", "error_rho0.5(8)"): 3 / 4,
        ("shapes_noise", "error_rho0"): 0,
        ("shapes_noise", "error_rho0(9-12)"): 0,
        ("shapes_noise", "error_rho0.5"): 1,
        ("shapes_noise", "error_rho0.5(9-12)"): 1,
    }
    assert "divided by 1 + 8 rho" in asked.remarks()[0]
    assert "divided" not in raw.remarks()[0]
    assert asked.files(outcomes, "someone")["kernel_smoothing.png"].startswith(b"\x89PNG")


def rows(path: Path) -> dict[tuple[str, str], str]:
    with open(path / "results.csv", newline="") as file:
        return {(row["dataset"], row["metric"]): row["value"] for row in csv.DictReader(file)}


def test_front_door(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path) -> None:
    """Strength 0 gives the rows of suite=bands; another smooths the net as if its checkpoint held those kernels."""
    folder = train_tiny()
    few = ("radii=[4]", "noise_bands=[[13,16]]")
    evaluate_tiny(folder, "suite=bands", *(f"suite.{one}" for one in few))
    evaluate_tiny(folder, "suite=kernel_smoothing", "suite.rhos=[0.5,0]", *(f"suite.bands.{one}" for one in few))
    weights = {name.removeprefix("net."): value for name, value in read(folder).weights.items() if "net." in name}
    weights["whiten.weight"] = smoothed(weights["whiten.weight"], 0.5, normalise=True)
    torch.save(weights, tmp_path / "smooth.pt")
    theirs = ("arch=speednet", "arch.widths=[8,8,8]", "arch.num_classes=10", "dataset=shapes", "dataset.num_test=32")
    evaluate_tiny(tmp_path / "smooth.pt", "suite=bands", *(f"suite.{one}" for one in few), *theirs)
    found = rows(folder / "eval/kernel_smoothing")
    plain, smooth = rows(folder / "eval/bands"), rows(tmp_path / "eval/smooth/bands.shapes")
    for rho, wanted in (("0", plain), ("0.5", smooth)):
        for (name, metric), value in wanted.items():
            point = metric[metric.index("(") :] if "(" in metric else ""
            assert found[name, f"error_rho{rho}{point}"] == value
    assert plain != smooth
    assert len(found) == 2 * len(plain)


def test_refused() -> None:
    for rhos in ([], [-0.1], [float("nan")], [float("inf")], [1, 1.0]):
        with pytest.raises(ValueError, match=r"suite\.rhos must be different numbers from 0 on"):
            suite(rhos)
    with pytest.raises(UserError, match="the model has no convolution"):
        first_kernels(nn.Linear(2, 2))
    with pytest.raises(UserError, match="are 1x1: nothing to smooth"):
        first_kernels(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3)))
