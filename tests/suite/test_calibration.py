"""Calibration of models whose error is known: labels drawn from the softmax, logits then scaled by a known factor."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fourier_robust.api import evaluate_module
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.engine.predict import predict
from fourier_robust.errors import UserError
from fourier_robust.metric.calibration import brier, ece, ece_classwise, ece_mass, fit_temperature, nll, reliability
from fourier_robust.metric.confidences import Confidences, confidences
from fourier_robust.suite.base import Condition, Measurement
from fourier_robust.suite.calibration import Calibration, _bounded

CPU = torch.device("cpu")
SIZE, TEST, VAL, K = 16, 3000, 1000, 5
NOISE = math.sqrt(15 * 0.25 / TEST)  # the ece of a calibrated model is below this: 15 bins, variances of at most 1/4


def calibrated(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, K, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


class Numbered:
    """Images that carry their number in two pixels (test images from 0, val from 10,000)."""

    name, num_classes, size, mean, std = "cifar10", K, SIZE, (0.5,) * 3, (0.5,) * 3
    class_names = tuple("abcde")

    def __init__(self, val_size: int = VAL, seed: int = 0, val_seed: int = 1) -> None:
        self.val_size, self.seeds = val_size, {"test": seed, "val": val_seed}

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        n, first = {"test": (TEST, 0), "val": (self.val_size, 10_000)}[name]
        images = torch.zeros(n, SIZE, SIZE, 3, dtype=torch.uint8)
        number = torch.arange(first, first + n)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = number // 256, number % 256
        return ResidentSplit(images, calibrated(n, self.seeds[name])[1])


class Known(nn.Module):
    """Gives the logits from which the labels of `Numbered` were drawn, times `scale`, times 1 + 20 x the last pixel."""

    def __init__(self, data: Numbered, scale: float = 1.0) -> None:
        super().__init__()
        table = torch.zeros(10_000 + VAL, K)
        table[:TEST] = calibrated(TEST, data.seeds["test"])[0]
        if data.val_size:
            table[10_000 : 10_000 + data.val_size] = calibrated(data.val_size, data.seeds["val"])[0]
        self.table, self.calls = nn.Parameter(scale * table, requires_grad=False), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += len(images)
        high, low = (255 * images[:, :2, 0, 0]).round().long().unbind(1)
        return self.table[256 * high + low] * (1 + (20 * images[:, 2, -1, -1:]))


class Sure:
    """Lights the last pixel by 5 % per severity: `Known` doubles its logits at severity 1, trebles them at 2."""

    def __init__(self, severity: int, size: int) -> None:
        self.severity = severity

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {}

    def apply(self, images: torch.Tensor, params: Mapping[str, torch.Tensor]) -> torch.Tensor:
        changed = images.clone()
        changed[:, 2, -1, -1] = 0.05 * self.severity
        return changed


GENERATORS = {"fog": Sure, "snow": Sure}


def run(
    suite: Calibration, data: Numbered, model: nn.Module, left: Mapping[Condition, Confidences] | None = None
) -> tuple[dict[Condition, Confidences], list[Measurement]]:
    """What fr-eval does; `left` is what an earlier launch has observed."""
    outcomes = {}
    for condition in suite.conditions(data):
        source = suite.source(data, condition, CPU, 500)
        if left is not None and condition in left:
            outcomes[condition] = left[condition]
        else:
            logits, labels, _ = predict(model, source.batches)
            outcomes[condition] = suite.summarise(logits, labels, condition, outcomes)
    return outcomes, suite.measure(outcomes)


def value(found: list[Measurement], metric: str, corruption: str | None = None, severity: int | None = None) -> float:
    (one,) = (
        each.estimate
        for each in found
        if (each.metric, each.condition.corruption, each.condition.severity) == (metric, corruption, severity)
    )
    assert one.low <= one.value <= one.high
    return one.value


def test_calibrated_and_too_sure() -> None:
    data, levels = Numbered(), [1, 2]
    _, fair = run(Calibration("nowhere", GENERATORS, severities=levels), data, Known(data))
    _, sure = run(Calibration("nowhere", GENERATORS, severities=levels), data, Known(data, 3.0))
    assert value(fair, "ece") < NOISE < 0.15 < value(sure, "ece")
    temperature = next(one for one in sure if one.metric == "temperature")
    assert temperature.condition.dataset == "cifar10_val"
    assert temperature.estimate.low < 3 < temperature.estimate.high
    assert value(sure, "temperature") == pytest.approx(3 * value(fair, "temperature"), rel=1e-5)
    assert value(sure, "ece_scaled") < NOISE
    for metric in ("nll", "brier", "ece", "ece_mass", "ece_classwise", "rms_ce", "rms_ce_published", "aurc"):
        scaled = value(sure, f"{metric}_scaled")
        assert scaled == pytest.approx(value(fair, f"{metric}_scaled"), rel=1e-3), metric
    assert value(sure, "nll_scaled") == pytest.approx(value(fair, "nll"), rel=0.01)
    assert value(fair, "ece", "fog", 2) == pytest.approx(value(sure, "ece"), rel=1e-3)  # trebled by the corruption


def test_rows_are_the_metrics_of_the_logits() -> None:
    data = Numbered()
    _, found = run(Calibration("nowhere", GENERATORS, severities=[2]), data, Known(data, 0.5))
    logits, labels = calibrated(TEST, 0)
    on_val, val_labels = calibrated(VAL, 1)
    temperature = fit_temperature(0.5 * on_val, val_labels)
    assert value(found, "temperature") == pytest.approx(temperature, rel=1e-6)
    for suffix, scaled in (("", 1.5 * logits), ("_scaled", 1.5 * logits / temperature)):  # 0.5 trebled
        confidence, prediction = scaled.softmax(1).max(1)
        correct = prediction == labels
        wanted = {"nll": nll(scaled, labels), "brier": brier(scaled, labels), "ece": ece(confidence, correct)}
        wanted |= {"ece_mass": ece_mass(confidence, correct), "ece_classwise": ece_classwise(scaled, labels)}
        for metric, number in wanted.items():
            assert value(found, f"{metric}{suffix}", "fog", 2) == pytest.approx(number, rel=1e-4), metric


def test_means_are_means_of_the_metric() -> None:
    data = Numbered()
    suite = Calibration("nowhere", {**GENERATORS, "mine": Sure}, severities=[1, 3])
    _, found = run(suite, data, Known(data))
    for metric in ("error", "nll", "ece", "ece_scaled", "rms_ce", "aurc"):
        levels = [value(found, metric, "fog", severity) for severity in (1, 3)]
        assert value(found, f"mean_{metric}", "fog") == pytest.approx(sum(levels) / 2)
        assert value(found, f"mean_{metric}", "common2of15-severity13") == pytest.approx(sum(levels) / 2)
    assert {one.estimate.n for one in found if one.metric != "temperature"} == {TEST}
    assert "PARTIAL SET" in "\n".join(suite.remarks())


def test_the_temperature_comes_from_val_alone() -> None:
    found = {}
    for name, data in {
        "one": Numbered(),
        "other test": Numbered(seed=7),
        "other val": Numbered(val_seed=8),
    }.items():
        _, rows = run(Calibration("nowhere", GENERATORS, corruptions=[]), data, Known(data, 2.0))
        found[name] = value(rows, "temperature"), value(rows, "ece")
    assert found["one"][0] == found["other test"][0] != found["other val"][0]
    assert found["one"][1] == found["other val"][1] != found["other test"][1]


def test_without_val_there_is_no_temperature() -> None:
    data = Numbered(val_size=0)
    suite = Calibration("nowhere", GENERATORS, corruptions=[])
    outcomes, found = run(suite, data, Known(data, 2.0))
    assert [condition.key for condition in outcomes] == ["cifar10"]
    assert not any("scaled" in one.metric or one.metric == "temperature" for one in found)
    assert suite.remarks() == ["clean images only", "cifar10 has no val split: no temperature is fitted"]
    files = suite.files(outcomes, "someone")
    assert files["reliability.npz"]["temperature"].tolist() == [1]
    assert files["reliability.png"].startswith(b"\x89PNG")


def test_no_temperature_fits_where_all_is_right() -> None:
    data = Numbered()
    model = Known(data)
    model.table[10_000:] = 5 * nn.functional.one_hot(data.split("val").labels, K).float()
    suite = Calibration("nowhere", GENERATORS, corruptions=[])
    _, found = run(suite, data, model)
    assert not any("scaled" in one.metric or one.metric == "temperature" for one in found)
    why = "its images are all classified right"
    assert suite.remarks()[-1] == f"no temperature fits cifar10_val (1000 images): {why}"


def test_what_an_earlier_launch_left_changes_nothing() -> None:
    data = Numbered()
    model, settings = Known(data, 2.0), ("nowhere", GENERATORS, "auto", ["fog"], [1])
    outcomes, whole = run(Calibration(*settings), data, model)
    assert model.calls == VAL + 2 * TEST
    for lost, seen in ((None, 0), ("cifar10_val", VAL), ("cifar10", TEST)):  # the temperature stands in what is left
        model.calls = 0
        left = {condition: one for condition, one in outcomes.items() if condition.key != lost}
        assert run(Calibration(*settings), data, model, left)[1] == whole
        assert model.calls == seen


def test_identity_names_the_images_of_the_temperature() -> None:
    def identities(data: Numbered) -> list[tuple[str, str]]:
        suite = Calibration("nowhere", GENERATORS, corruptions=["fog"], severities=[1])
        sources = [suite.source(data, condition, CPU, 500) for condition in suite.conditions(data)]
        return [(source.identity, source.kept) for source in sources]

    one, other_val, other_test = (identities(data) for data in (Numbered(), Numbered(val_seed=8), Numbered(seed=7)))
    assert all(before != after for before, after in zip(one, other_val, strict=True))
    assert one[0] == other_test[0]
    assert [images for images, _ in one[1:]] == [images for images, _ in other_val[1:]]  # logits serve both


def test_diagrams_hold_the_bins() -> None:
    data = Numbered()
    suite = Calibration("nowhere", GENERATORS, severities=[1, 4])
    outcomes, found = run(suite, data, Known(data, 2.0))
    arrays = suite.files(outcomes, "someone")["reliability.npz"]
    assert arrays["corruption"].tolist() == ["", "snow", "snow", "fog", "fog"]
    assert arrays["severity"].tolist() == [0, 1, 4, 1, 4]
    assert arrays["temperature"].tolist() == [1, value(found, "temperature")]
    logits, labels = calibrated(TEST, 0)
    confidence, prediction = (2 * logits).softmax(1).max(1)
    wanted = reliability(confidence, prediction == labels)
    np.testing.assert_array_equal(arrays["images"][0, 0], wanted.images)
    np.testing.assert_allclose(arrays["accuracy"][0, 0], wanted.accuracy)
    gap = np.nan_to_num(abs(arrays["accuracy"] - arrays["confidence"]))
    from_bins = (arrays["images"] * gap).sum(-1) / TEST
    assert from_bins[4, 1] == pytest.approx(value(found, "ece_scaled", "fog", 4))


def test_stored_size_does_not_grow_with_classes() -> None:
    sizes = []
    for classes in (10, 1000):
        logits = torch.randn(50, classes, generator=torch.Generator().manual_seed(0))
        seen = confidences(logits, torch.zeros(50, dtype=torch.int64), None)
        sizes.append(sum(column.numel() for column in seen))
    assert sizes[0] == sizes[1]


def test_refused() -> None:
    data = Numbered()
    with pytest.raises(ValueError, match=r"suite\.severities=\[3, 3\] names one twice"):
        Calibration("nowhere", GENERATORS, severities=[3, 3])
    with pytest.raises(ValueError, match=r"suite\.severities=\[\] must be out of 1 to 5"):
        Calibration("nowhere", GENERATORS, severities=[])
    with pytest.raises(UserError, match=r"suite\.save writes corrupted images, but suite\.corruptions is empty"):
        Calibration("nowhere", GENERATORS, corruptions=[], save="x").conditions(data)
    with pytest.raises(ValueError, match="no corruption rain"):
        Calibration("nowhere", GENERATORS, corruptions=["rain"])
    model = Known(data)
    model.table[3, 0] = math.nan
    with pytest.raises(UserError, match=r"cifar10: the logits of 1 of 3000 images are not finite"):
        run(Calibration("nowhere", GENERATORS, corruptions=[]), data, model)


def test_through_the_front_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A linear net, fitted in closed form to the embedded set and far from sure enough."""
    sizes = ("dataset.num_train=600", "dataset.num_val=64", "dataset.num_test=32")
    sets = Shapes(num_train=600, num_val=64, num_test=32)
    batch = next(sets.split("train").batches(600))
    pool = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (sets.mean, sets.std))
    seen = pool((batch.images - mean) / std)
    labels = nn.functional.one_hot(batch.labels, 10).float()
    net = nn.Sequential(*pool, nn.Linear(seen.shape[1], 10, bias=False)).requires_grad_(False)
    net[2].weight.copy_(torch.linalg.solve(seen.T @ seen + 100 * torch.eye(seen.shape[1]), seen.T @ labels).T)

    chosen = ("suite=calibration", "suite.corruptions=[fog]", "suite.severities=[2,5]", "dataset=shapes", *sizes)
    device = ("device.name=cpu", "device.threads=1", "device.keep_blocks=false")
    settings = [*chosen, *device, f"paths.data_dir={tmp_path}/data"]
    evaluate_module(net, settings, "linear", tmp_path)
    printed = capsys.readouterr().out
    (results,) = (path.parent for path in tmp_path.rglob("results.csv"))
    whole = (results / "results.csv").read_bytes()
    (results / "outcomes/shapes_c_generated-fog-5.npz").unlink()
    evaluate_module(net, settings, "linear", tmp_path)  # val's outcome stays, its temperature is found again
    assert (results / "results.csv").read_bytes() == whole
    with open(results / "results.csv", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    cells = {(row["dataset"], row["corruption"], row["severity"], row["metric"]): float(row["value"]) for row in rows}
    assert len(cells) == len(rows) == 1 + 17 * (1 + 2 + 1 + 1)
    assert 0 < cells["shapes_val", "", "", "temperature"] < 1
    assert cells["shapes_c_generated", "common1of15-severity25", "", "mean_ece"] > 0
    columns = next(line for line in printed.splitlines() if "rms_ce" in line).split()
    assert columns == ["error", "ece", "ece_scaled", "rms_ce", "nll", "nll_scaled", "brier", "aurc"]
    line = next(line for line in printed.splitlines() if line.startswith("clean ")).split()
    assert line[2] == f"{cells['shapes', '', '', 'ece']:.4f}"
    assert {"reliability.png", "reliability.npz", "table.png"} <= {path.name for path in results.iterdir()}


def test_intervals_stay_where_their_metric_can_lie() -> None:
    values = torch.tensor([0.0, 2.0, 2.0], dtype=torch.float64)  # normal interval: 0.03 to 2.64
    assert [_bounded(metric, values).high for metric in ("nll", "nll_scaled")] == pytest.approx([2.64, 2.64], abs=0.01)
    assert [_bounded(metric, values).high for metric in ("brier", "brier_scaled")] == [2, 2]
    found = _bounded("error", values.clamp_max(1) - torch.tensor([0.0, 0.0, 1.0]))
    assert (found.low, found.high) == (0, pytest.approx(0.99, abs=0.01))
    assert _bounded("error", values.clamp_max(1)).high == 1
