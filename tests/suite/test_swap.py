"""Recombined images and whom the predictions follow: against the definition, in complex float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome
from fourier_robust.suite.base import Condition
from fourier_robust.suite.swap import Swap, followed, partners

CPU = torch.device("cpu")


class Noise:
    """Twelve noisy images of three classes."""

    name, num_classes, val_size, mean, std = "noise", 3, 0, (0.5,) * 3, (0.5,) * 3
    class_names = ("a", "b", "c")

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (12, self.size, self.size, 3), generator=draw, dtype=torch.uint8)
        return ResidentSplit(pixels, torch.arange(12) % 3)


def images(suite: Swap, condition: Condition, batch_size: int = 5, size: int = 8) -> np.ndarray:
    batches = suite.source(Noise(size), condition, CPU, batch_size).batches
    return torch.cat([batch.images for batch in batches]).double().numpy()


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("channels", ["joint", "separate"])
def test_phase_stays_and_the_amplitude_is_the_donors_in_its_band(channels: str, size: int) -> None:
    suite = Swap(radii=[2, 3.5], channels=channels, clip=False, seed=3)  # type: ignore[arg-type]
    clean, *swapped, pairs = suite.conditions(Noise(size))
    axes = (1, 2, 3) if channels == "joint" else (2, 3)
    own = images(suite, clean, size=size)
    suite.source(Noise(size), clean, CPU, 4)
    donors = own[suite._partner]
    spectra, amplitudes = np.fft.fftn(own, axes=axes), np.abs(np.fft.fftn(donors, axes=axes))
    freqs = np.rint(np.fft.fftfreq(size) * size)
    distance = np.hypot(freqs[:, None], freqs)
    bands = [distance >= 0, distance < 2, distance < 3.5, distance >= 2, distance >= 3.5]
    for condition, band in zip(swapped, bands, strict=True):
        amplitude = np.where(band, amplitudes, np.abs(spectra))
        wanted = np.fft.ifftn(amplitude * np.exp(1j * np.angle(spectra)), axes=axes)
        assert np.abs(images(suite, condition, size=size) - wanted.real).max() < 1e-4, condition
    chosen = suite._pairs.numpy()
    shown = images(suite, pairs, size=size)
    assert np.allclose(shown[:12], own[chosen.T.flatten()])
    assert np.allclose(shown[12:18], images(suite, swapped[0], size=size)[chosen[:, 0]], atol=1e-6)
    second = np.fft.fftn(own[chosen[:, 1]], axes=axes)
    back = np.abs(np.fft.fftn(own[chosen[:, 0]], axes=axes)) * np.exp(1j * np.angle(second))
    assert np.abs(shown[18:] - np.fft.ifftn(back, axes=axes).real).max() < 1e-4


def test_clip_and_batches() -> None:
    cut, free = Swap(radii=[2]), Swap(radii=[2], clip=False)
    for condition, same in zip(cut.conditions(Noise()), free.conditions(Noise()), strict=True):
        assert np.array_equal(images(cut, condition), images(free, same).clip(0, 1))
        assert np.allclose(images(cut, condition, 12), images(cut, condition, 5), atol=1e-6)
    assert images(free, Condition("noise_swap")).max() > 1


def test_partners_are_any_image_of_another_class() -> None:
    labels = torch.tensor([2, 0, 0, 1, 2, 2, 2])
    drawn = torch.stack([partners(labels, seed) for seed in range(3000)])
    share = torch.stack([(drawn == donor).double().mean(0) for donor in range(7)], 1)  # image, donor
    other = labels[:, None] != labels
    assert share == pytest.approx(other / other.sum(1, keepdim=True), abs=0.04)
    assert not share[~other].any()
    with pytest.raises(UserError, match="two classes or more"):
        partners(torch.zeros(3, dtype=torch.int64), 0)


def test_the_draw_of_images_leaves_partners_as_they_are() -> None:
    some, every = Swap(images=5, seed=2), Swap(seed=2)
    for suite in (some, every):
        suite.source(Noise(), suite.conditions(Noise())[0], CPU, 4)
    swapped = Condition("noise_swap")
    assert len(some._order) == 5
    assert np.allclose(images(some, swapped), images(every, swapped)[some._order], atol=1e-6)
    assert torch.equal(some._donor_labels, every._donor_labels[some._order])
    assert not torch.equal(every._partner, partners(Noise().split("test").labels, 5))


def test_whom_predictions_follow() -> None:
    prediction, phase, amplitude = torch.tensor([[0, 1, 2, 1], [0, 0, 1, 1], [1, 1, 0, 2]])
    assert followed(prediction, phase, amplitude).tolist() == [0, 1, 2, 0]


def test_shares_by_radius_and_the_pictures() -> None:
    suite = Swap(radii=[2], pairs=[[0, 1], [5, 3]])
    outcomes = {}
    for condition in suite.conditions(Noise()):
        source = suite.source(Noise(), condition, CPU, 4)
        label = torch.cat([batch.labels for batch in source.batches])
        assert source.n == len(label)
        prediction = label.clone()
        if condition.corruption is None and condition.dataset == "noise_swap":
            prediction[:9] = suite._donor_labels[:9]
            prediction[:3] = 3 - label[:3] - suite._donor_labels[:3]  # the third of three classes
        elif condition.corruption == "from_2":
            prediction = suite._donor_labels
        outcomes[condition] = Outcome(label, prediction, torch.ones(len(label)), torch.zeros(len(label)))
    found = suite.measure(outcomes)
    assert {one.metric: one.estimate.value for one in found} == {
        "error": 0,
        **{"follows_phase": 1 / 4, "follows_amplitude": 1 / 2, "follows_neither": 1 / 4},
        **{"follows_phase(<2)": 1, "follows_amplitude(<2)": 0, "follows_neither(<2)": 0},
        **{"follows_phase(>=2)": 0, "follows_amplitude(>=2)": 1, "follows_neither(>=2)": 0},
    }
    assert {one.metric for one in found if one.higher_is_better} == {
        "follows_phase",
        "follows_phase(<2)",
        "follows_phase(>=2)",
    }
    assert found[1].estimate.low == pytest.approx(0.0889, abs=1e-4)  # Wilson's interval of 3 in 12
    assert found[1].estimate.high == pytest.approx(0.5323, abs=1e-4)
    files = suite.files(outcomes, "someone")
    assert files.keys() == {"pairs.png", "radii.png"}
    assert all(content.startswith(b"\x89PNG") for content in files.values())
    assert "channels joint, clipped to [0,1]" in suite.remarks()[0]
    alone = Swap(radii=[], pairs=0)
    assert [one.key for one in alone.conditions(Noise())] == ["noise", "noise_swap"]
    for condition in alone.conditions(Noise()):
        alone.source(Noise(), condition, CPU, 4)
    alone.measure(outcomes)
    assert alone.files(outcomes, "someone") == {}


def test_every_setting_that_changes_images_changes_what_is_reused() -> None:
    def identities(**settings: object) -> set[str]:
        suite = Swap(**settings)  # type: ignore[arg-type]
        return {suite.source(Noise(), one, CPU, 4).identity for one in suite.conditions(Noise())}

    usual = identities(radii=[2.0], pairs=1)
    assert len(usual) == 5
    for key, value, same in (
        ("images", 4, 1),  # the pairs
        ("radii", [3.0], 3),
        ("channels", "separate", 1),  # the phase donors
        ("clip", False, 1),
        ("pairs", 2, 4),
        ("seed", 1, 0),
    ):
        assert len(usual & identities(**{"radii": [2.0], "pairs": 1, key: value})) == same, key


def test_refused() -> None:
    for settings, reason in (
        ({"images": 0}, r"suite\.images=0"),
        ({"channels": "both"}, r"suite\.channels must be one of"),
        ({"pairs": -1}, r"suite\.pairs=-1"),
        ({"pairs": [[1, 2, 3]]}, r"suite\.pairs must be a number or pairs"),
        ({"radii": ["x"]}, r"suite\.radii must be numbers"),
    ):
        with pytest.raises(ValueError, match=reason):
            Swap(**settings)  # type: ignore[arg-type]
    for radius in (0.0, -2.0, 6.0):
        with pytest.raises(UserError, match="leaves one side without frequencies"):
            Swap(radii=[radius]).conditions(Noise())
    for pairs in ([[0, 12]], [[-1, 0]]):
        suite = Swap(pairs=pairs)
        with pytest.raises(UserError, match="run from 0 to 11"):
            suite.source(Noise(), suite.conditions(Noise())[0], CPU, 4)
