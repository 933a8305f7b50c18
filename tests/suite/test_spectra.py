"""What changes add by frequency: known changes, known errors, and the line through them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fourier_robust.aug.views import Views
from fourier_robust.corruption.noise import GaussianNoise
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome
from fourier_robust.run.results import npz_bytes
from fourier_robust.suite.base import Condition, Measurement
from fourier_robust.suite.spectra import Spectra

CPU = torch.device("cpu")
SIZE, N = 32, 12


class Grey:
    """Twelve images, each of one grey."""

    name, num_classes, size, val_size, mean, std = "cifar10", 2, SIZE, 0, (0.5,) * 3, (0.5,) * 3
    class_names = ("a", "b")

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        levels = torch.arange(80, 80 + N, dtype=torch.uint8).view(N, 1, 1, 1)
        return ResidentSplit(levels.expand(N, SIZE, SIZE, 3).contiguous(), torch.arange(N) % 2)


class Wave:
    """Adds a cosine of `u` cycles down and `v` across and of height 0.01 per severity, to images above `above` only."""

    def __init__(self, severity: int, size: int, u: int, v: int, above: float = 0) -> None:
        place = torch.arange(size, dtype=torch.float64)
        phase = 2 * math.pi * (u * place[:, None] + v * place) / size
        self.wave, self.above = (0.01 * severity * torch.cos(phase)).float(), above

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {}

    def apply(self, images: torch.Tensor, params: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return images + self.wave * (images.amax((1, 2, 3), keepdim=True) > self.above)


def wave(u: int, v: int, above: float = 0) -> Callable[..., Wave]:
    return partial(Wave, u=u, v=v, above=above)


WAVES = {"low": wave(1, 2), "high": wave(5, 7), "stripes": wave(0, 16), "half_high": wave(9, 3, above=85.5 / 255)}


def run(suite: Spectra, wrong: Mapping[str, list[int]] | None = None, look: bool = True, batch: int = 5) -> Any:
    """What fr-eval does, with a model that is wrong on the first few images: name -> how many, by severity."""
    dataset, outcomes = Grey(), {}
    for condition in suite.conditions(dataset):
        source = suite.source(dataset, condition, CPU, batch)
        seen = sum(len(batch.images) for batch in source.batches) if look else source.n
        assert seen == source.n
        level = (condition.severity or 1) - 1
        first = (wrong or {}).get(condition.corruption or "clean", [0] * 5)[level]
        labels = torch.zeros(source.n, dtype=torch.int64)
        outcomes[condition] = Outcome(labels, (torch.arange(source.n) < first).long(), labels + 1.0, labels + 0.0)
    return outcomes, suite.measure(outcomes)


def values(found: list[Measurement], metric: str) -> dict[str | None, float]:
    return {one.condition.corruption: one.estimate.value for one in found if one.metric == metric}


def test_a_cosine_has_all_its_energy_at_its_frequency() -> None:
    suite = Spectra("nowhere", WAVES, severities=[1, 3])
    outcomes, found = run(suite)
    shares = values(found, "hf_fraction")
    assert shares == pytest.approx({"low": 0, "high": 1, "stripes": 0, "half_high": 1}, abs=1e-6)
    files = suite.files(outcomes, "someone")
    planes = dict(zip(files["spectra.npz"]["name"], files["spectra.npz"]["amplitude"], strict=True))
    wanted = np.zeros((SIZE, SIZE))
    for sign in (1, -1):  # half of a cosine's height on each side, times the side for the unitary transform
        wanted[SIZE // 2 + sign * 5, SIZE // 2 + sign * 7] = 0.02 / 2 * SIZE  # mean height of severities 1 and 3
    np.testing.assert_allclose(planes["high"], wanted, atol=1e-6)
    clean = np.zeros((SIZE, SIZE))
    clean[SIZE // 2, SIZE // 2] = np.arange(80, 80 + N).mean() / 255 * SIZE
    np.testing.assert_allclose(planes[""], clean, atol=1e-5)
    assert all(files[name].startswith(b"\x89PNG") for name in ("spectra.png", "scatter.png"))


def test_images_that_a_corruption_leaves_alone_are_counted_and_left_out() -> None:
    suite = Spectra("nowhere", WAVES, severities=[2])
    _, found = run(suite)
    half = next(one for one in found if one.metric == "hf_fraction" and one.condition.corruption == "half_high")
    assert half.estimate.n == N // 2
    assert "unchanged, not in hf_fraction: half_high 6 of 12" in suite.remarks()
    nothing = Spectra("nowhere", {"low": wave(1, 2), "none": wave(9, 3, above=2)}, severities=[2])
    outcomes, found = run(nothing)
    assert set(values(found, "hf_fraction")) == {"low"}
    assert set(values(found, "drop")) == {"low", "none"}
    assert not values(found, "drop_slope")  # one point has no line
    assert nothing.files(outcomes, "someone")["scatter.png"].startswith(b"\x89PNG")


def test_losses_gains_and_slopes(tmp_path: Path) -> None:
    """Wrong on 0 to 8 of 12 images, at shares of 0 and 1: the line runs through the mean of each side."""
    ours = {"clean": [1] * 5, "low": [2, 2, 4, 0, 0], "stripes": [6] * 5, "high": [1, 1, 1, 0, 0]}
    ours["half_high"] = [3, 3, 3, 0, 0]
    theirs = {"clean": [0] * 5, "low": [2] * 5, "stripes": [2] * 5, "high": [8] * 5, "half_high": [6] * 5}
    other = Spectra("nowhere", WAVES, severities=[1, 2, 3])
    outcomes, found = run(other, theirs)
    drops = values(found, "drop")
    assert drops == pytest.approx({"low": 2 / 12, "stripes": 2 / 12, "high": 8 / 12, "half_high": 6 / 12})
    assert values(found, "drop_slope") == pytest.approx({None: (7 - 2) / 12}, abs=1e-6)
    assert not values(found, "gain")
    (tmp_path / "theirs.npz").write_bytes(npz_bytes(other.files(outcomes, "they")["spectra.npz"]))

    suite = Spectra("nowhere", WAVES, severities=[1, 2, 3], against=str(tmp_path / "theirs.npz"))
    outcomes, found = run(suite, ours)
    gain = {"low": 2 - 8 / 3, "stripes": 2 - 6, "high": 8 - 1, "half_high": 6 - 3, None: 0 - 1}
    assert values(found, "gain") == pytest.approx({name: images / 12 for name, images in gain.items()})
    x = np.array([values(found, "hf_fraction")[name] for name in WAVES])
    slope = np.polyfit(x, [gain[name] / 12 for name in WAVES], 1)[0]
    assert values(found, "gain_slope") == pytest.approx({None: slope})
    assert next(one.estimate.n for one in found if one.metric == "gain_slope") == 4
    assert any(remark.startswith(f"gain_slope {slope:.3g} [") for remark in suite.remarks())
    per_image = np.arange(N) < 8  # they err on the first eight, we on the first one, at every severity
    gains = per_image.astype(float) - (np.arange(N) < 1)
    half = 1.959963984540054 * gains.std(ddof=1) / N**0.5
    high = next(one.estimate for one in found if one.metric == "gain" and one.condition.corruption == "high")
    assert high == pytest.approx((7 / 12, 7 / 12 - half, 7 / 12 + half, N))
    assert suite.files(outcomes, "we")["scatter.png"].startswith(b"\x89PNG")


def test_outcomes_of_an_earlier_launch_and_another_batch_size_change_nothing() -> None:
    generators = {"noise": GaussianNoise, "high": wave(5, 7)}
    augs = {"wave": Step(4, 4), "noise": Noise()}
    every = [
        run(Spectra("nowhere", generators, severities=[1, 5], images=10, augs=augs, seed=3), look=look, batch=batch)[1]
        for look, batch in ((True, 10), (False, 10), (True, 3))
    ]
    shares = [values(found, "hf_fraction") for found in every]
    assert shares[0] == shares[1]
    assert shares[0] == pytest.approx(shares[2], abs=1e-12)


class Step:
    """An augmentation's step: a wave on every image."""

    def __init__(self, u: int, v: int) -> None:
        self.wave = Wave(1, SIZE, u, v)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> dict[str, Any]:
        return {}

    def apply(self, images: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        return self.wave.apply(images, {})


class Noise(Step):
    """The same with noise, from the generator it is given."""

    def __init__(self) -> None:
        pass

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> dict[str, Any]:
        return {"noise": torch.randn(shape, generator=generator)}

    def apply(self, images: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        return images + 0.01 * params["noise"]


class Pair(Step):
    """A whole augmentation: the image beside one with a wave."""

    def apply(self, images: torch.Tensor, labels: torch.Tensor, params: Mapping[str, Any]) -> Views:  # type: ignore[override]
        both = torch.stack([images, super().apply(images, params)])
        return Views(both, torch.stack([labels, labels]), (1.0, 1.0))


def test_augmentations_are_measured_by_their_contract_alone() -> None:
    augs = {"low": Step(1, 2), "high": Step(5, 7), "pair": Pair(5, 7), "noise": Noise()}
    suite = Spectra("nowhere", {"low": wave(1, 2)}, severities=[1], augs=augs)
    outcomes, found = run(suite)
    label = "cifar10_aug"
    shares = {
        one.condition.corruption: one.estimate
        for one in found
        if one.metric == "hf_fraction" and one.condition.dataset == label
    }
    assert {name: shares[name].value for name in ("low", "high", "pair")} == pytest.approx(
        {"low": 0, "high": 1, "pair": 1}, abs=1e-6
    )
    assert shares["noise"].value == pytest.approx((27 / 32) ** 2, abs=0.02)
    arrays = suite.files(outcomes, "someone")["spectra.npz"]
    names = arrays["name"].tolist()
    assert list(zip(arrays["kind"].tolist(), names, strict=True))[:3] == [
        ("clean", ""),
        ("corruption", "low"),
        ("augmentation", "low"),
    ]
    pair, high = (arrays["amplitude"][names.index(name)] for name in ("pair", "high"))
    np.testing.assert_array_equal(pair, high)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"corruptions": ["rain"]}, r"suite\.corruptions: no corruption rain; there are gaussian_noise, "),
        ({"corruptions": []}, r"suite\.corruptions is empty"),
        ({"severities": []}, r"suite\.severities is empty"),
        ({"severities": [0]}, r"suite\.severities=\[0\] must be out of 1 to 5"),
        ({"severities": [3, 3]}, r"suite\.severities=\[3, 3\] names one twice"),
        ({"images": 0}, r"suite\.images=0 must be above 0"),
        ({"augs": {"mine": object()}}, r"suite\.augs\.mine is no augmentation"),
    ],
)
def test_refused_arguments(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Spectra("nowhere", WAVES, **bad)


def test_refused_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"suite\.bandwidth=33: must be above 0 and at most the 32 pixels"):
        Spectra("nowhere", WAVES, bandwidth=33).conditions(Grey())
    suite = Spectra("nowhere", WAVES, images=13)
    suite.conditions(Grey())
    with pytest.raises(UserError, match=r"suite\.images=13: the test split has 12"):
        suite.source(Grey(), Condition("cifar10"), CPU, 4)
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.zeros(5 * N, np.uint8))
    np.save(folder / "fog.npy", np.zeros((5 * N, SIZE, SIZE, 3), np.uint8))
    suite = Spectra(str(tmp_path), WAVES)
    _, condition, *_ = suite.conditions(Grey())
    with pytest.raises(UserError, match="cifar10_c-fog-1: its images do not lie in the order of cifar10's"):
        suite.source(Grey(), condition, CPU, 4)


def test_refused_of_the_other_model(tmp_path: Path) -> None:
    there = tmp_path / "x.npz"
    there.write_bytes(b"no")
    for path in (there, tmp_path / "nowhere.npz"):
        with pytest.raises(UserError, match=r"suite\.against: .* is no spectra\.npz"):
            Spectra("nowhere", WAVES, against=str(path))
    there.write_bytes(npz_bytes({"wrong": np.zeros(3)}))
    with pytest.raises(UserError, match=r"suite\.against: .* is no spectra\.npz"):
        Spectra("nowhere", WAVES, against=str(there))
    suite = Spectra("nowhere", WAVES, severities=[1])
    arrays = suite.files(run(suite)[0], "they")["spectra.npz"]
    there.write_bytes(npz_bytes(arrays))
    with pytest.raises(UserError, match=r"suite\.against was measured with other settings: .*severity1 .* not .*12"):
        Spectra("nowhere", WAVES, severities=[1, 2], against=str(there)).conditions(Grey())
    there.write_bytes(npz_bytes({**arrays, "data": np.array("others")}))
    suite = Spectra("nowhere", WAVES, severities=[1], against=str(there))
    suite.conditions(Grey())
    with pytest.raises(UserError, match="measured on other images than those of cifar10"):
        suite.source(Grey(), Condition("cifar10"), CPU, 4)


def test_through_the_front_door(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]) -> None:
    folder = train_tiny()
    settings = ("suite=spectra", "suite.corruptions=[fog,shot_noise]", "suite.severities=[3]", "suite.images=24")
    evaluate_tiny(folder, *settings)
    results = folder / "eval/spectra"
    whole = (results / "results.csv").read_bytes()
    evaluate_tiny(folder, *settings)
    assert (results / "results.csv").read_bytes() == whole  # outcomes reused, spectra made again
    evaluate_tiny(folder, *settings, f"suite.against={results}/spectra.npz")
    with open(results / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    shares = {
        (row["dataset"], row["corruption"]): float(row["value"]) for row in rows if row["metric"] == "hf_fraction"
    }
    augs = {("shapes_aug", name) for name in ("gaussian_noise", "apr_s", "apr_p")}
    assert set(shares) == augs | {("shapes_c_generated", name) for name in ("fog", "shot_noise")}
    assert shares["shapes_c_generated", "fog"] < 0.2 < 0.6 < shares["shapes_c_generated", "shot_noise"]
    gains = [(row["corruption"], row["value"], row["n"]) for row in rows if row["metric"] == "gain"]
    assert gains == [(name, "0.000000", "24") for name in ("shot_noise", "fog", "")]
    assert {"spectra.png", "scatter.png", "spectra.npz", "table.png"} <= {path.name for path in results.iterdir()}
