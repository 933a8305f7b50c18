"""Fourier sensitivity: against its definition, image by image; flat images, intervals, settings, files, resume."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fourier_robust.arch.normalize import Normalized
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.gradient import InputGradient, input_gradients
from fourier_robust.errors import UserError
from fourier_robust.fourier.basis import fourier_basis
from fourier_robust.metric.outcome import Estimate
from fourier_robust.suite import sensitivity
from fourier_robust.suite.base import Condition
from fourier_robust.suite.sensitivity import Sensitivity

CPU = torch.device("cpu")


class Twelve:
    """A data set of twelve noisy test images in four classes."""

    name, num_classes, val_size, mean, std = "cifar10", 4, 0, (0.5,) * 3, (0.25, 0.2, 0.1)
    class_names = tuple("abcd")

    def __init__(self, size: int = 16) -> None:
        self.size = size

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        pixels = torch.randint(
            0, 256, (12, self.size, self.size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
        )
        return ResidentSplit(pixels, torch.arange(12) % 4)


def net(size: int = 16) -> Normalized:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6 * ((size - 2) // 2) ** 2, 4)
    return Normalized(nn.Sequential(*layers), Twelve.mean, Twelve.std).eval()


def measured(suite: Sensitivity, model: Normalized, dataset: Twelve) -> dict[str, tuple[float, float, float, int]]:
    (condition,) = suite.conditions(dataset)
    source = suite.source(dataset, condition, CPU, 5)
    power = suite.power(input_gradients(model, source.batches, suite.gradient))
    assert len(power.label) == source.n
    return {item.metric: item.estimate for item in suite.measure({condition: power})}


def by_hand(gradient: np.ndarray, channels: str) -> np.ndarray:
    """p_x(k), k from 1, of one (C,H,W) gradient: the definition, coefficient by coefficient."""
    planes = gradient.mean(0)[None] if channels == "mean" else gradient
    power = sum(np.abs(np.fft.fftshift(np.fft.fft2(plane, norm="ortho"))) ** 2 for plane in planes)
    height, width = power.shape
    rings = np.zeros(1 + round(math.hypot(height // 2, width // 2)))
    for row in range(height):
        for column in range(width):
            rings[round(math.hypot(row - height // 2, column - width // 2))] += power[row, column]
    return rings[1:] / rings[1:].sum()


@pytest.mark.parametrize("size", [16, 15])
@pytest.mark.parametrize("channels", ["mean", "sum_power"])
def test_by_its_definition(size: int, channels: str) -> None:
    model, dataset = net(size), Twelve(size)
    found = measured(Sensitivity(channels=channels, density=True), model, dataset)
    (batch,) = dataset.split("test").batches(12)
    profiles = []
    for image, label in zip(batch.images, batch.labels, strict=True):
        pixels = ((image - model.mean[0]) / model.std[0]).requires_grad_()
        nn.functional.cross_entropy(model.net(pixels[None]), label[None]).backward()
        profiles.append(by_hand(pixels.grad.double().numpy(), channels))
    each = np.stack(profiles)
    p, half = each.mean(0), 1.959964 * each.std(0, ddof=1) / math.sqrt(12)
    white = by_hand(np.eye(1, size * size).reshape(1, size, size), "mean")  # a delta has a flat spectrum
    for k in range(1, len(p) + 1):
        value, low, high, n = found[f"p({k})"]
        assert (value, low, high) == pytest.approx((p[k - 1], p[k - 1] - half[k - 1], p[k - 1] + half[k - 1]), abs=1e-6)
        assert n == 12
        assert found[f"density({k})"].value == pytest.approx(p[k - 1] / white[k - 1], rel=1e-4)
        assert found[f"density({k})"].high == pytest.approx((p + half)[k - 1] / white[k - 1], rel=1e-4)
    assert f"p({len(p) + 1})" not in found
    low, mid = int(size / 6), int(size / 3)
    assert found["low"].value == pytest.approx(p[:low].sum(), abs=1e-6)
    assert found["mid"].value == pytest.approx(p[low:mid].sum(), abs=1e-6)
    assert found["high"].value == pytest.approx(p[mid:].sum(), abs=1e-6)
    band = each[:, mid:].sum(1)
    assert found["high"].high - found["high"].value == pytest.approx(
        1.959964 * band.std(ddof=1) / math.sqrt(12), abs=1e-6
    )
    assert found["mean_k"].value == pytest.approx(p @ np.arange(1, len(p) + 1), abs=1e-5)
    q = p[: size // 2] / p[: size // 2].sum()
    assert found["entropy"].value == pytest.approx(-(q * np.log2(q)).sum(), abs=1e-5)


def test_the_interval_of_the_entropy_is_that_of_the_jackknife() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(400, 1, 16, 16, generator=generator)
    suite, condition = Sensitivity(), Condition("some")

    def observed(kept: torch.Tensor) -> Estimate:
        batch = InputGradient(gradients[kept], torch.zeros(len(kept), dtype=torch.int64), kept)
        rows = suite.measure({condition: suite.power([batch])})
        return next(row.estimate for row in rows if row.metric == "entropy")

    every = torch.arange(400)
    whole = observed(every)
    groups = torch.tensor([observed(every[every % 40 != group]).value for group in range(40)]).double()
    error = math.sqrt(39 / 40 * float((groups - groups.mean()).square().sum()))
    assert whole.high - whole.value == pytest.approx(1.96 * error, rel=0.35)
    assert whole.value - whole.low == pytest.approx(whole.high - whole.value)


class Waves(nn.Module):
    """Logit k is a cosine of frequency (0, k+1), with opposite sign in the last channel; dead below 0.3 mean."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        size = images.shape[-1]
        basis = fourier_basis(torch.tensor([[0, 1], [0, 2], [0, 4], [0, 6]]), size, size)
        logits = torch.einsum("bhw,khw->bk", images[:, 0] + images[:, 1] - images[:, 2], basis)
        alive = images.detach().mean((1, 2, 3)) > 0
        return logits * alive[:, None]


def test_waves_and_images_without_a_gradient() -> None:
    class Half(Twelve):
        mean, std = (0.5,) * 3, (0.5,) * 3

        def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
            levels = torch.where(torch.arange(12) < 4, 20, 200).to(torch.uint8)
            pixels = levels.view(12, 1, 1, 1).expand(12, 16, 16, 3).contiguous()
            return ResidentSplit(pixels, torch.tensor([0, 1, 2, 3, 0, 0, 0, 0, 1, 1, 2, 3]))

    suite = Sensitivity(scalar="logit")
    found = measured(suite, Normalized(Waves(), (0.5,) * 3, (0.5,) * 3), Half())
    expected = {1: 0.5, 2: 0.25, 4: 0.125, 6: 0.125}
    for k in range(1, 12):
        assert found[f"p({k})"].value == pytest.approx(expected.get(k, 0), abs=1e-6)
        assert found[f"p({k})"].n == 8
    assert found["zero_gradient"].value == pytest.approx(4 / 12)
    assert found["zero_gradient"].n == 12
    assert found["entropy"].value == pytest.approx(1.75, abs=1e-5)
    assert found["low"].value == pytest.approx(0.75, abs=1e-6)  # rings 1 and 2; mid is 3 to 5
    assert found["mid"].value == pytest.approx(0.125, abs=1e-6)
    assert found["mean_k"].value == pytest.approx(0.5 + 2 * 0.25 + 4 * 0.125 + 6 * 0.125, abs=1e-5)
    assert all(math.isfinite(number) for estimate in found.values() for number in estimate)
    assert "4 of 12 images have no gradient beside DC; left out" in suite.remarks()


def test_a_model_that_is_flat_everywhere_is_refused() -> None:
    class Mean(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) @ torch.arange(12.0).view(3, 4).cos()

    with pytest.raises(UserError, match="none of 12 images has a gradient beside DC"):
        measured(Sensitivity(), Normalized(Mean(), (0.5,) * 3, (0.5,) * 3), Twelve())


def test_images_drawn_by_the_seed() -> None:
    suite, dataset = Sensitivity(images=5), Twelve()
    (condition,) = suite.conditions(dataset)
    source = suite.source(dataset, condition, CPU, 2)
    chosen = torch.cat([batch.indices for batch in source.batches])
    assert source.n == len(set(chosen.tolist())) == 5
    same = suite.source(dataset, condition, CPU, 3)
    assert torch.equal(torch.cat([batch.indices for batch in same.batches]), chosen)
    assert same.identity == source.identity
    others = (
        {"images": 5, "seed": 1},
        {"images": 6},
        {},
        {"images": 5, "channels": "sum_power"},
        {"images": 5, "scalar": "margin"},
        {"images": 5, "input": "pixel"},
    )
    identities = {Sensitivity(**settings).source(dataset, condition, CPU, 2).identity for settings in others}
    assert len(identities - {source.identity}) == 6


def test_the_name_says_what_is_not_usual() -> None:
    assert Sensitivity(images=3, seed=4, density=True).name == "sensitivity"
    unusual = Sensitivity(scalar="margin", input="pixel", channels="sum_power")
    assert unusual.name == "sensitivity-sum_power-margin-pixel"
    assert "summed over channels of the gradient of the label's logit minus" in unusual.definitions["p(k)"]
    assert "pixels in [0,1]" in unusual.remarks()[0]


def test_what_is_known_before_the_work_is_refused_before_it() -> None:
    with pytest.raises(UserError, match=r"suite\.split: cifar10 has no split val; it has train, test"):
        Sensitivity("val").conditions(Twelve())
    with pytest.raises(UserError, match="cifar10: images of 5x5 pixels have no low band"):
        Sensitivity().conditions(Twelve(5))
    with pytest.raises(UserError, match=r"suite\.images=13: cifar10 has 12"):
        Sensitivity(images=13).source(Twelve(), Condition("cifar10"), CPU, 4)
    for settings, said in (
        ({"images": 0}, "images=0: must be at least 1"),
        ({"channels": "max"}, "channels must be one of mean, sum_power"),
        ({"scalar": "nll"}, "scalar must be one of"),
    ):
        with pytest.raises(ValueError, match=said):
            Sensitivity(**settings)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_files_receipt_and_resume(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_tiny()
    settings = ("suite=sensitivity", "suite.density=true", "suite.images=20")
    evaluate_tiny(folder, *settings)
    results = folder / "eval/sensitivity"
    rows = {row["metric"]: row for row in table(results / "results.csv")}
    curve = [f"{name}({k})" for name in ("p", "density") for k in range(1, 24)]
    assert list(rows) == [*curve, "low", "mid", "high", "mean_k", "entropy", "zero_gradient"]
    assert {row["dataset"] for row in rows.values()} == {"shapes"}
    assert rows["zero_gradient"]["n"] == "20"
    assert sum(float(rows[f"p({k})"]["value"]) for k in range(1, 24)) == pytest.approx(1, abs=2e-5)
    with np.load(results / "sensitivity.npz") as arrays:
        assert set(arrays) == {"k", "p", "sd", "white", "plane", "n", "zero_gradient"}
        assert [f"{value:.6f}" for value in arrays["p"]] == [rows[f"p({k})"]["value"] for k in range(1, 24)]
        assert arrays["plane"].shape == (32, 32)
        assert arrays["plane"].sum() == pytest.approx(1, abs=1e-5)
        inner = [arrays["plane"][16, 17], arrays["plane"][15, 16], arrays["plane"][17, 17]]
        assert 2 * sum(inner) + 2 * arrays["plane"][15, 17] == pytest.approx(arrays["p"][0], abs=1e-6)  # ring 1
        half = float(rows["p(3)"]["ci_high"]) - arrays["p"][2]
        assert half == pytest.approx(1.959964 * arrays["sd"][2] / math.sqrt(20), abs=2e-6)
    for name in ("profile.png", "plane.png", "table.png"):
        assert (results / name).read_bytes().startswith(b"\x89PNG")
    assert list(table(results / "table.csv")[0]) == ["", "low", "mid", "high", "mean_k", "entropy", "zero_gradient"]
    receipt = json.loads((results / "eval.json").read_text())
    assert {"checkpoint", "config", "definitions", "device", "wall_seconds", "data"} <= receipt.keys()
    assert {"p(k)", "density(k)", "low", "entropy", "zero_gradient"} <= receipt["definitions"].keys()
    assert any(remark.startswith("white noise: low 0.0938, mid 0.2463") for remark in receipt["remarks"])

    asked = []
    whole, original = (results / "results.csv").read_bytes(), sensitivity.input_gradients
    monkeypatch.setattr(sensitivity, "input_gradients", lambda *args: asked.append(1) or original(*args))
    evaluate_tiny(folder, *settings)
    assert not asked
    assert (results / "results.csv").read_bytes() == whole
    evaluate_tiny(folder, *settings, "suite.seed=1")
    assert len(asked) == 1
    assert (results / "results.csv").read_bytes() != whole
    evaluate_tiny(folder, *settings, "suite.channels=sum_power")
    assert len(asked) == 2
    assert table(folder / "eval/sensitivity-sum_power/results.csv")[0]["suite"] == "sensitivity-sum_power"
