"""The corruption suite: releases and generated images, what is named how, and the means."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fourier_robust.corruption.frost import Frost
from fourier_robust.corruption.names import COMMON, EXTRA
from fourier_robust.corruption.weather import Brightness
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.locate import ImageFiles, labelled
from fourier_robust.errors import UserError
from fourier_robust.metric.corruption import ALEXNET_CLEAN_ERROR, ALEXNET_ERROR
from fourier_robust.metric.outcome import Outcome
from fourier_robust.run.release import write
from fourier_robust.suite.base import Condition
from fourier_robust.suite.corruptions import Corruptions

CPU = torch.device("cpu")
GENERATORS = {"brightness": Brightness}


class Ten:
    """A data set of ten grey test images."""

    num_classes, size, val_size, mean, std = 10, 32, 0, (0.5,) * 3, (0.5,) * 3
    class_names = tuple("abcdefghij")

    def __init__(self, name: str = "cifar10") -> None:
        self.name = name

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        levels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1) * 20
        return ResidentSplit(levels.expand(10, 32, 32, 3).contiguous(), torch.arange(10))


def write_release(root: Path, names: tuple[str, ...], n: int = 10) -> None:
    root.mkdir(parents=True)
    np.save(root / "labels.npy", np.tile(np.arange(n, dtype=np.uint8), 5))
    for name in names:
        blocks = [np.full((n, 32, 32, 3), severity, np.uint8) for severity in range(1, 6)]
        np.save(root / f"{name}.npy", np.concatenate(blocks))


def fake(wrong: list[int]) -> Outcome:
    label = torch.zeros(len(wrong), dtype=torch.int64)
    return Outcome(label, torch.tensor(wrong), torch.ones(len(wrong)), torch.zeros(len(wrong)))


def test_generated_where_there_is_no_release(tmp_path: Path) -> None:
    suite = Corruptions(str(tmp_path), GENERATORS)
    conditions = suite.conditions(Ten())
    assert conditions[0] == Condition("cifar10")
    assert conditions[1:] == [Condition("cifar10_c_generated", "brightness", severity) for severity in range(1, 6)]
    assert any("generated images, seed 0" in remark for remark in suite.remarks())
    assert any(remark.startswith("PARTIAL SET: 1 of the 15") for remark in suite.remarks())
    source = suite.source(Ten(), conditions[3], CPU, 4)
    images = torch.cat([batch.images for batch in source.batches])
    clean = torch.cat([batch.images for batch in Ten().split("test").batches(10)])
    expected = Brightness(severity=3, size=32).apply(clean, {})
    assert torch.equal(images, expected)
    assert not torch.equal(images, clean)


def test_identity_names_data_seed_and_condition(tmp_path: Path) -> None:
    one, other = (Corruptions(str(tmp_path), GENERATORS, seed=seed) for seed in (0, 1))
    conditions = one.conditions(Ten())
    other.conditions(Ten())
    found = {suite.source(Ten(), item, CPU, 4).identity for suite in (one, other) for item in conditions}
    assert len(found) == 11  # clean is the same under both seeds


def test_release_is_read_where_it_is(tmp_path: Path) -> None:
    write_release(tmp_path / "CIFAR-10-C", ("fog", "gaussian_noise"))
    suite = Corruptions(str(tmp_path), GENERATORS)
    conditions = suite.conditions(Ten())
    assert {item.dataset for item in conditions[1:]} == {"cifar10_c"}
    assert [item.corruption for item in conditions[1::5]] == ["gaussian_noise", "fog"]  # canonical order
    assert suite.remarks()[0].startswith(
        "PARTIAL SET: 2 of the 15 common corruptions, severities 1, 2, 3, 4, 5; without shot"
    )
    batch = next(iter(suite.source(Ten(), Condition("cifar10_c", "fog", 4), CPU, 10).batches))
    assert torch.equal(batch.images, torch.full((10, 3, 32, 32), 4 / 255))
    assert batch.labels.tolist() == list(range(10))


def test_generated_on_request_although_a_release_is_there(tmp_path: Path) -> None:
    write_release(tmp_path / "CIFAR-10-C", ("fog",))
    suite = Corruptions(str(tmp_path), GENERATORS, source="generated")
    assert {item.dataset for item in suite.conditions(Ten())[1:]} == {"cifar10_c_generated"}


def test_what_is_asked_for_and_not_there_is_an_error(tmp_path: Path) -> None:
    write_release(tmp_path / "CIFAR-10-C", ("fog",))
    with pytest.raises(UserError, match=r"no snow in .*CIFAR-10-C; there are fog"):
        Corruptions(str(tmp_path), GENERATORS, corruptions=["snow"]).conditions(Ten())
    with pytest.raises(UserError, match="no fog among the generators; there are brightness"):
        Corruptions(str(tmp_path), GENERATORS, "generated", corruptions=["fog"]).conditions(Ten())
    with pytest.raises(UserError, match=r"no release at .*CIFAR-100-C: labels\.npy"):
        Corruptions(str(tmp_path), GENERATORS, "release").conditions(Ten("cifar100"))
    (tmp_path / "CIFAR-100-C").mkdir()
    with pytest.raises(UserError, match="holds none of the known corruptions"):
        Corruptions(str(tmp_path), GENERATORS).conditions(Ten("cifar100"))


def test_a_tree_has_the_class_folders_and_the_files_stems() -> None:
    """As of Tiny-ImageNet's two layouts and an image folder; folders in between stay."""

    class Kept(Ten):
        def test_files(self) -> ImageFiles:
            paths = ("images/val_0.JPEG", "a/val_1.png", "b/more/x.y.bmp")
            return labelled(Path("nowhere"), [(path, 1, label) for path, label in zip(paths, (2, 0, 1), strict=True)])

    suite = Corruptions("nowhere", GENERATORS, save="out", severities=[3, 1])
    suite.conditions(Kept())
    release = suite.to_write()
    assert release is not None
    assert release.files == ("c/val_0.JPEG", "a/val_1.JPEG", "b/more/x.y.JPEG")
    assert (release.severities, list(release.corruptions)) == ((3, 1), ["brightness"])
    assert release.facts()["coded"] == {"format": "JPEG", "quality": 85, "optimize": True}
    suite = Corruptions("nowhere", GENERATORS)
    suite.conditions(Ten())
    assert suite.to_write() is None


def test_means_over_severities_then_corruptions() -> None:
    suite = Corruptions("nowhere", GENERATORS, severities=[1, 2])
    suite.severities = (1, 2)
    clean = Condition("cifar10")
    outcomes = {clean: fake([0, 0, 0, 1])}
    errors = {"fog": ([1, 0, 0, 0], [1, 1, 0, 0]), "snow": ([1, 1, 1, 0], [1, 1, 1, 1]), "saturate": ([0] * 4, [1] * 4)}
    for name, levels in errors.items():
        for severity, wrong in enumerate(levels, 1):
            outcomes[Condition("cifar10_c", name, severity)] = fake(wrong)
    found = {
        (item.condition.corruption, item.condition.severity, item.metric): item.estimate
        for item in suite.measure(outcomes)
    }
    assert found[None, None, "error"].value == 1 / 4
    assert found["fog", 2, "error"].value == 2 / 4
    assert found["fog", None, "mean_error"].value == pytest.approx(3 / 8)
    assert found["common2of15-severity12", None, "mean_error"].value == pytest.approx((3 / 8 + 7 / 8) / 2)
    assert found["extra1of4-severity12", None, "mean_error"].value == pytest.approx(1 / 2)
    images = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]).mean(1)  # each image over the four
    half = 1.959963984540054 * images.std(ddof=1) / 2
    estimate = found["common2of15-severity12", None, "mean_error"]
    assert (estimate.low, estimate.high, estimate.n) == pytest.approx((0.625 - half, 0.625 + half, 4))
    assert (found["fog", None, "mean_error"].low, found["snow", None, "mean_error"].high) == (0, 1)  # not -0.09, 1.12
    assert not any(metric == "mce" for _, _, metric in found)


def test_imagenet_c_against_alexnet() -> None:
    suite = Corruptions("nowhere", GENERATORS)
    generator = torch.Generator().manual_seed(0)
    outcomes = {Condition("imagenet"): fake([0, 1, 0, 0, 0])}
    shares: dict[str, list[float]] = {}
    for name in COMMON:
        for severity in range(1, 6):
            wrong = torch.randint(0, 2, (5,), generator=generator).tolist()
            outcomes[Condition("imagenet_c", name, severity)] = fake(wrong)
            shares.setdefault(name, []).append(sum(wrong) / 5)
    found = {(item.condition.corruption, item.metric): item.estimate for item in suite.measure(outcomes)}
    means = {name: np.mean(values) for name, values in shares.items()}
    assert found["fog", "ce"].value == pytest.approx(means["fog"] / ALEXNET_ERROR["fog"])
    assert found["common15", "mce"].value == pytest.approx(np.mean([means[c] / ALEXNET_ERROR[c] for c in COMMON]))
    relative = np.mean([(means[c] - 0.2) / (ALEXNET_ERROR[c] - ALEXNET_CLEAN_ERROR) for c in COMMON])
    assert found["common15", "relative_mce"].value == pytest.approx(relative)
    assert found["common15", "mce"].low < found["common15", "mce"].value < found["common15", "mce"].high


def test_no_mce_for_cifar_and_none_over_a_partial_set() -> None:
    suite = Corruptions("nowhere", GENERATORS)
    full = {Condition("cifar10"): fake([0, 1])}
    full |= {Condition("cifar10_c", name, severity): fake([1, 0]) for name in COMMON for severity in range(1, 6)}
    found = suite.measure(full)
    assert {item.metric for item in found} == {"error", "mean_error"}
    assert any(item.condition.corruption == "common15" for item in found)
    partial = {Condition("imagenet"): fake([0, 1])}
    partial |= {
        Condition("imagenet_c", name, severity): fake([1, 0]) for name in COMMON[:14] for severity in range(1, 6)
    }
    assert {item.metric for item in suite.measure(partial)} == {"error", "mean_error"}


@pytest.mark.parametrize("bad", [{"corruptions": ["nose"]}, {"severities": [0, 1]}, {"severities": [6]}])
def test_refused_arguments(bad: dict[str, list[object]]) -> None:
    with pytest.raises(ValueError, match=r"suite\.(corruptions|severities)"):
        Corruptions("nowhere", GENERATORS, **bad)


def test_canonical_names() -> None:
    assert (len(COMMON), len(EXTRA), len({*COMMON, *EXTRA})) == (15, 4, 19)
    assert set(ALEXNET_ERROR) == set(COMMON)


def test_frost_without_its_photographs_is_left_out_aloud_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    generators = {"brightness": Brightness, "frost": Frost}
    suite = Corruptions(str(tmp_path), generators)
    assert {condition.corruption for condition in suite.conditions(Ten())} == {None, "brightness"}
    said = "\n".join(suite.remarks())
    assert "left out: frost needs its photographs: pip install 'fourier-robust[corruptions]'" in said
    assert "without gaussian_noise" in said
    with pytest.raises(UserError, match="frost needs its photographs"):
        Corruptions(str(tmp_path), generators, corruptions=["frost"]).conditions(Ten())
    with pytest.raises(UserError, match=r"frost: no frost1.png in .*belong there"):
        Corruptions(str(tmp_path), {"frost": partial(Frost, textures=str(tmp_path))}, corruptions=["frost"]).conditions(
            Ten()
        )


def test_a_texture_of_our_own_is_in_the_name_of_the_set(tmp_path: Path) -> None:
    suite = Corruptions(str(tmp_path), {"brightness": Brightness, "frost": partial(Frost, textures="synthetic")})
    labels = {condition.dataset for condition in suite.conditions(Ten()) if condition.corruption}
    assert labels == {"cifar10_c_generated_synthetic_frost"}
    named = Corruptions(str(tmp_path), suite.generators, corruptions=["brightness"])
    assert named.conditions(Ten())[1].dataset == "cifar10_c_generated"
    save = tmp_path / "made"
    written = Corruptions(str(tmp_path), suite.generators, save=str(save), workers=1)
    written.conditions(Ten())
    release = written.to_write()
    assert release is not None
    write(release, 1)
    save.rename(tmp_path / "CIFAR-10-C")
    stored = Corruptions(str(tmp_path), {"brightness": Brightness})
    assert stored.conditions(Ten())[1].dataset == "cifar10_c_generated_synthetic_frost"


def test_images_below_16_pixels_are_refused(tmp_path: Path) -> None:
    small = Ten()
    small.size = 12
    with pytest.raises(UserError, match="cifar10 has 12 pixels per side: no corruption below 16"):
        Corruptions(str(tmp_path), GENERATORS).conditions(small)
