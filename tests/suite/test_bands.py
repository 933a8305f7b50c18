"""Low- and high-pass error: which frequencies are left, what the numbers mean, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support import TINY, compose_config
from torch import nn

from fourier_robust.arch.batch_norm import batch_norm
from fourier_robust.arch.normalize import Normalized
from fourier_robust.cli import build
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.predict import predict
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome, outcome
from fourier_robust.run.checkpoint import read
from fourier_robust.suite.bands import Bands, usable_radii
from fourier_robust.suite.base import Condition

CPU = torch.device("cpu")


class Noise:
    """Twelve noisy images of two classes."""

    name, num_classes, val_size, mean, std = "noise", 2, 0, (0.5, 0.25, 0.125), (0.5,) * 3

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (12, self.size, self.size, 3), generator=draw, dtype=torch.uint8)
        pixels = pixels if name == "test" else 255 - pixels
        return ResidentSplit(pixels, torch.arange(12) % 2)


def images(suite: Bands, condition: Condition, batch_size: int = 5, size: int = 8) -> torch.Tensor:
    return torch.cat([batch.images for batch in suite.source(Noise(size), condition, CPU, batch_size).batches]).double()


def plane(size: int, shape: str) -> np.ndarray:
    """(H,W): how far each coefficient of `np.fft.fft2` is from DC."""
    freqs = np.abs(np.rint(np.fft.fftfreq(size) * size))
    return np.hypot(*np.meshgrid(freqs, freqs)) if shape == "disc" else np.maximum(*np.meshgrid(freqs, freqs))


def close(found: torch.Tensor, wanted: np.ndarray | torch.Tensor) -> bool:
    return bool(np.abs(np.asarray(found) - np.asarray(wanted)).max() < 1e-5)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("shape", ["disc", "square"])
@pytest.mark.parametrize("strict", [True, False])
def test_parts_hold_their_frequencies_and_no_others(size: int, shape: str, strict: bool) -> None:
    suite = Bands(radii=[1, 2.5, 3], strict=strict, shape=shape)  # type: ignore[arg-type]
    clean, *parts = suite.conditions(Noise(size))
    spectrum = np.fft.fft2(np.asarray(images(suite, clean, size=size)))
    for condition in parts[:6]:
        radius = float(str(condition.corruption))
        inside = plane(size, shape) < radius if strict else plane(size, shape) <= radius
        kept = inside if condition.dataset == "noise_low" else ~inside
        assert close(images(suite, condition, size=size), np.fft.ifft2(spectrum * kept).real), condition
    assert [one.dataset for one in parts[:6]] == ["noise_low"] * 3 + ["noise_high"] * 3


def test_recentre_rescale_clip() -> None:
    def low_and_high(**settings: object) -> list[torch.Tensor]:
        suite = Bands(radii=[2], noise_bands=[], **settings)  # type: ignore[arg-type]
        return [images(suite, condition) for condition in suite.conditions(Noise())]

    clean, low, high = low_and_high()
    own = clean.mean((2, 3), keepdim=True)
    for name, added in (("mean", torch.tensor(Noise.mean)[:, None, None]), ("own", own), ("grey", 0.5)):
        found = low_and_high(recentre=name)
        assert close(found[1], low)
        assert close(found[2], high + added)
    assert low_and_high(rescale="max")[2].amax((1, 2, 3)) == pytest.approx(torch.ones(12), abs=1e-6)
    assert close(low_and_high(rescale="max")[1], low / low.amax((1, 2, 3), keepdim=True))
    contrast = (clean - own).square().sum((1, 2, 3), keepdim=True)
    for found, part in zip(low_and_high(rescale="contrast")[1:], (low, high), strict=True):
        mean = part.mean((2, 3), keepdim=True)
        factor = (contrast / (part - mean).square().sum((1, 2, 3), keepdim=True)).sqrt()
        assert close(found, mean + (part - mean) * factor)
    assert close(low_and_high(recentre="grey", clip=True)[2], (high + 0.5).clamp(0, 1))
    assert ((high + 0.5).clamp(0, 1) != high + 0.5).any()


def test_nothing_to_rescale_is_left_alone() -> None:
    suite = Bands(radii=[1], rescale="contrast")  # below 1 there is only the mean colour
    clean, low, *_ = suite.conditions(Noise())
    assert close(images(suite, low), images(suite, clean).mean((2, 3), keepdim=True).expand(-1, -1, 8, 8))


@pytest.mark.parametrize("size", [8, 9])
def test_noise_has_its_norm_and_rings_and_does_not_depend_on_the_batch(size: int) -> None:
    suite = Bands(noise_bands=[[2, 3]], noise_norm=1.5, seed=1)
    clean, *_, condition = suite.conditions(Noise(size))
    assert condition.eps == 1.5
    added = images(suite, condition, size=size) - images(suite, clean, size=size)
    assert added.flatten(2).norm(dim=2) == pytest.approx(torch.full((12, 3), 1.5), abs=1e-5)
    power = np.abs(np.fft.fft2(added.numpy())) ** 2
    ring = np.rint(plane(size, "disc"))
    assert power[..., (ring == 2) | (ring == 3)].sum() == pytest.approx(power.sum(), rel=1e-9)
    assert torch.equal(images(suite, condition, 12, size), images(suite, condition, 5, size))
    other = Bands(noise_bands=[[2, 3]], noise_norm=1.5, seed=2)
    other.conditions(Noise(size))
    assert not torch.equal(images(other, condition, 5, size), images(suite, condition, 5, size))


def test_the_numbers_and_what_the_table_says() -> None:
    suite = Bands(radii=[3, 2], noise_bands=[[1, 1]], recentre="grey", strict=False, shape="square", clip=True)
    wrong = {"noise_low-2": [1, 1, 0, 0], "noise_low-3": [1, 0, 0, 0], "noise_high-2": [1, 1, 1, 0]}
    outcomes = {}
    for condition in suite.conditions(Noise()):
        suite.source(Noise(), condition, CPU, 4)
        prediction = torch.tensor(wrong.get(condition.key, [0, 0, 0, 0]))
        outcomes[condition] = Outcome(torch.zeros(4, dtype=torch.int64), prediction, torch.ones(4), torch.zeros(4))
    found = {(one.condition.dataset, one.metric): one.estimate for one in suite.measure(outcomes)}
    assert {key: estimate.value for key, estimate in found.items()} == {
        ("noise", "error"): 0,
        ("noise_low", "mean_error"): 3 / 8,
        ("noise_low", "error(2)"): 1 / 2,
        ("noise_low", "error(3)"): 1 / 4,
        ("noise_high", "mean_error"): 3 / 8,
        ("noise_high", "error(2)"): 3 / 4,
        ("noise_high", "error(3)"): 0,
        ("noise_noise", "mean_error"): 0,
        ("noise_noise", "error(1-1)"): 0,
    }
    assert found["noise_high", "error(2)"].n == 4
    remarks = "\n".join(suite.remarks())
    norm = "batch norm: statistics of training"
    for setting in ("square <= r", "recentred: grey", "rescaled: none", "clipped to [0,1]", norm, "r = 2, 3"):
        assert setting in remarks
    assert suite.files(outcomes, "someone")["bands.png"].startswith(b"\x89PNG")


def test_every_setting_that_changes_images_changes_what_is_reused() -> None:
    def identities(**settings: object) -> list[str]:
        suite = Bands(**settings)  # type: ignore[arg-type]
        return [suite.source(Noise(), one, CPU, 4).identity for one in suite.conditions(Noise())]

    usual = {"radii": [2.0], "noise_bands": [[1, 2]], "noise_norm": 1.0}
    clean, low, high, noise = identities(**usual)
    for key, value, same in (
        ("images", 3, 0),
        ("strict", False, 2),
        ("shape", "square", 2),
        ("recentre", "mean", 2),
        ("rescale", "max", 2),
        ("clip", True, 1),
        ("noise_norm", 2.0, 3),
        ("seed", 1, 0),
        ("bn_mode", "batch", 0),
        ("split", "train", 0),
    ):
        found = identities(**{**usual, key: value})
        assert found[2] != high or key == "noise_norm"
        assert len({*found} & {clean, low, high, noise}) == same, key


def net() -> nn.Module:
    """Two classes by the sum and the difference of normalised colours; its running statistics fit no image."""
    layer = nn.BatchNorm2d(3, eps=1e-12)
    layer.running_mean.fill_(7.0)
    model = nn.Sequential(layer, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False))
    model[-1].weight.data = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 2.0]])
    return model.eval()


def test_batch_mode_normalises_each_batch_of_a_condition_by_itself() -> None:
    suite, model = Bands(radii=[2], noise_bands=[], bn_mode="batch", recentre="grey"), net()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for condition in suite.conditions(Noise()):
        batches = list(suite.source(Noise(), condition, CPU, 5).batches)
        assert [len(batch.labels) for batch in batches] == [4, 4, 4]  # not 5, 5, 2
        usual = predict(model, batches).logits
        with suite.changed(model, condition):
            found = predict(model, batches).logits
        wanted = []
        for batch in batches:
            pixels = batch.images.double()
            mean = pixels.mean((0, 2, 3), keepdim=True)
            std = (pixels - mean).square().mean((0, 2, 3), keepdim=True).sqrt()
            wanted.append(((pixels - mean) / std).amax((2, 3)) @ model[-1].weight.data.double().T)
        assert close(found, torch.cat(wanted))
        assert not close(found, usual)
        with suite.changed(model, condition):  # what a shift and a factor leave alone
            moved = [batch._replace(images=3 * batch.images + 0.7) for batch in batches]
            assert close(predict(model, moved).logits, found)
        assert torch.equal(predict(model, batches).logits, usual)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert not any(module.training for module in model.modules())
        assert model[0].track_running_stats


def test_running_mode_changes_nothing_and_a_net_without_batch_norm_is_refused() -> None:
    suite, model = Bands(radii=[2], noise_bands=[]), net()
    clean, *_ = suite.conditions(Noise())
    batches = list(suite.source(Noise(), clean, CPU, 5).batches)
    assert [len(batch.labels) for batch in batches] == [5, 5, 2]
    with suite.changed(model, clean):
        inside = predict(model, batches).logits
    assert torch.equal(inside, predict(model, batches).logits)
    with pytest.raises(UserError, match=r"suite\.bn_mode=batch: the model has no BatchNorm layer"):
        Bands(bn_mode="batch").changed(nn.Linear(1, 1), clean)


def test_batch_mode_says_its_batches_and_takes_them_in_one_drawn_order() -> None:
    suite = Bands(radii=[2], noise_bands=[[1, 2]], bn_mode="batch", images=11)
    seen = []
    for condition in suite.conditions(Noise()):
        source = suite.source(Noise(), condition, CPU, 4)
        seen.append(torch.cat([batch.indices for batch in source.batches]))
        assert source.identity != suite.source(Noise(), condition, CPU, 6).identity
        suite.source(Noise(), condition, CPU, 4)
    assert all(torch.equal(one, seen[0]) for one in seen)
    assert not torch.equal(seen[0], seen[0].sort().values)
    assert len(seen[0].unique()) == 11
    assert "batch norm: statistics of each batch of 4 images, the last of 3" in suite.remarks()[0]
    suite.source(Noise(), condition, CPU, 100)
    assert suite.remarks()[0].endswith("batch norm: statistics of each batch of 11 images")


def test_another_split_has_its_images_and_its_name() -> None:
    suite = Bands(radii=[2], noise_bands=[], split="train")
    clean, low, _ = suite.conditions(Noise())
    assert (clean.dataset, low.dataset) == ("noise_train", "noise_train_low")
    usual = Bands(radii=[2], noise_bands=[])
    usual.conditions(Noise())
    assert close(images(suite, clean), 1 - images(usual, Condition("noise")))


@pytest.mark.parametrize(("size", "radii"), [(32, [4, 8, 12, 16, 20]), (224, [28, 56, 84, 112, 140]), (2, [1])])
def test_usual_radii(size: int, radii: list[float]) -> None:
    assert usable_radii(size, None) == radii
    assert usable_radii(size, None, steps=2) == radii[:2]


def test_refused_before_work() -> None:
    for settings, reason in (
        ({"images": 0}, r"suite\.images=0"),
        ({"noise_norm": -1.0}, r"suite\.noise_norm=-1"),
        ({"radii": ["x"]}, r"suite\.radii must be numbers"),
        ({"radii": []}, r"suite\.radii must be numbers, at least one"),
        ({"noise_bands": [[1]]}, r"suite\.noise_bands must be pairs"),
        ({"rescale": "min"}, r"suite\.rescale must be one of none, max, contrast"),
        ({"bn_mode": "eval"}, r"suite\.bn_mode must be one of running, batch, got 'eval'"),
    ):
        with pytest.raises(ValueError, match=reason):
            Bands(**settings)  # type: ignore[arg-type]
    for radius, strict in ((0.0, True), (-1.0, False), (5.7, True), (5.66, False), (float("nan"), True)):
        with pytest.raises(UserError, match="leaves one side without frequencies"):
            Bands(radii=[2, radius], strict=strict).conditions(Noise())
    for strict in (True, False):  # zero, and the corner at sqrt(32), at the edges of what is taken
        edge = Bands(radii=[32**0.5 if strict else 0.0], strict=strict, noise_bands=[])
        for condition in edge.conditions(Noise()):
            assert images(edge, condition).isfinite().all()
    for band in ([3, 2], [-1, 2], [2, 7]):
        with pytest.raises(UserError, match=r"is no band of the rings 0 to 6 at 8 pixels"):
            Bands(noise_bands=[band]).conditions(Noise())
    with pytest.raises(UserError, match="too small"):
        usable_radii(1, None)
    for split in ("val", "test_far"):
        with pytest.raises(UserError, match=rf"suite\.split: noise has no split {split}; it has train, test"):
            Bands(split=split).conditions(Noise())
    many = Bands(images=13)
    with pytest.raises(UserError, match=r"suite\.images=13: the test split has 12"):
        many.source(Noise(), many.conditions(Noise())[0], CPU, 4)


def test_front_door(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]) -> None:
    """Each batch holds images of one condition, as the suite made it: what `predict` gives for the suite's batches."""
    folder = train_tiny()
    few = ("suite=bands", "suite.radii=[4]", "suite.noise_bands=[[13,16]]", "suite.bn_mode=batch")
    evaluate_tiny(folder, *few, "batch_size=16")
    evaluate_tiny(folder, *few, "batch_size=9")
    receipt = json.loads((folder / "eval/bands/eval.json").read_text())
    assert receipt["conditions_reused"] == 0
    assert receipt["remarks"][0].endswith("statistics of each batch of 8 images")
    config, _ = compose_config("train", *TINY)
    data = build(config, "dataset")
    model = Normalized(build(config, "arch"), data.mean, data.std)
    model.load_state_dict(read(folder).weights)
    suite = Bands(radii=[4], noise_bands=[[13, 16]], bn_mode="batch")
    for condition in suite.conditions(data):
        with batch_norm(model, "train"):
            given = predict(model, suite.source(data, condition, CPU, 9).batches)
        found = np.load(folder / f"eval/bands/outcomes/{condition.key}.npz")
        assert np.array_equal(found["label"], given.labels)
        assert np.allclose(found["nll"], outcome(given.logits, given.labels).nll, atol=1e-4)
