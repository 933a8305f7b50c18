"""CIFAR-10-P arrays and ImageNet-P frames in tiny: the order of frames, and every way a release can be wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset.shift_layouts import Known, picture, tree

from fourier_robust.dataset.cifar import CIFAR10, CIFAR100
from fourier_robust.dataset.clip_frames import SCORED as TEN
from fourier_robust.dataset.clip_frames import FrameTree
from fourier_robust.dataset.clips import SCORED, CifarClips
from fourier_robust.dataset.ood import NO_CLASS, ExactSize
from fourier_robust.dataset.shifted import Cell
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.errors import UserError

CIFAR = Known(CIFAR10.class_names)
CROP = ExactSize(32)


def clips(name: str, number: int = 3) -> np.ndarray:
    frames = {"motion_blur": 21, "translate": 16}.get(name, 31)
    return np.random.default_rng(len(name)).integers(0, 256, (number, frames, 32, 32, 3), np.uint8)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "CIFAR-10-P").mkdir()
    for name in ("tilt", "gaussian_noise", "motion_blur", "translate", "snow"):
        np.save(tmp_path / "CIFAR-10-P" / f"{name}.npy", clips(name))
    return tmp_path


def read(root: Path, **settings: Any) -> CifarClips:
    return CifarClips(str(root), **({"of": "cifar10", "folders": ["CIFAR-10-P"], "count": 3} | settings))


def test_the_ten_that_are_scored() -> None:
    """In the order of cifar-p-eval.py, with spatter where ImageNet-P has snow."""
    assert len(SCORED) == 10
    assert "spatter" in SCORED
    assert "snow" not in SCORED


def test_frames_come_clip_after_clip(release: Path) -> None:
    reader = read(release)
    assert reader.absent() is None
    checked = reader.check(CIFAR)
    assert checked.space is None
    assert checked.cells == tuple(map(Cell, ("gaussian_noise", "motion_blur", "translate", "tilt")))
    assert checked.headline == ("common4of10", ("gaussian_noise", "motion_blur", "translate", "tilt"))
    assert checked.remarks == ()
    split = reader.split(CIFAR, Cell("motion_blur"), CROP, "cpu")
    assert (split.frames, len(split), set(split.labels.tolist())) == (21, 63, {NO_CLASS})
    images = torch.cat([batch.images for batch in split.batches(10)])
    wanted = torch.from_numpy(clips("motion_blur")).reshape(63, 32, 32, 3).permute(0, 3, 1, 2) / 255
    assert torch.equal(images, wanted)
    other = np.array(clips("motion_blur"))
    other[2, 20, 31, 31, 2] ^= 1
    np.save(release / "CIFAR-10-P" / "motion_blur.npy", other)
    assert read(release).split(CIFAR, Cell("motion_blur"), CROP, "cpu").identity != split.identity


def test_choices(release: Path) -> None:
    checked = read(release, perturbations=["snow"], clips=2, count=10000).check(CIFAR)
    assert checked.cells == (Cell("snow"),)
    assert checked.headline == ("common0of10", ())
    assert [remark.split(": ")[1] for remark in checked.remarks] == [
        "3 clips, the release has 10000",
        "the first 2 of 3 clips",
    ]
    assert len(read(release, clips=2).split(CIFAR, Cell("tilt"), CROP, "cpu")) == 62


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("tilt", clips("tilt")[:, :30], r"tilt\.npy holds \(3, 30, .*expected \(clips, 31, 32, 32, 3\) uint8"),
        ("motion_blur", clips("tilt"), r"expected \(clips, 21, 32, 32, 3\)"),
        ("translate", clips("tilt"), r"expected \(clips, 16, 32, 32, 3\)"),
        ("tilt", clips("tilt").astype(np.float32), "float32"),
        ("tilt", clips("tilt").reshape(93, 32, 32, 3), r"holds \(93, 32, 32, 3\)"),
        ("tilt", clips("tilt", 2), "the files are not of one release"),
    ],
)
def test_wrong_arrays_are_refused(release: Path, name: str, array: np.ndarray, reason: str) -> None:
    np.save(release / "CIFAR-10-P" / f"{name}.npy", array)
    with pytest.raises(UserError, match=reason):
        read(release).check(CIFAR)


def test_absent_damaged_and_other_models(release: Path) -> None:
    assert f"{release}/none/CIFAR-10-P" in str(read(release / "none").absent())
    with pytest.raises(UserError, match="holds no scale; scored are gaussian_noise"):
        read(release, perturbations=["scale"]).check(CIFAR)
    with pytest.raises(UserError, match="none of the model's 100"):
        read(release).check(Known(CIFAR100.class_names))
    (release / "CIFAR-10-P" / "tilt.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="is damaged"):
        read(release).check(CIFAR)
    with pytest.raises(ValueError, match="of='svhn'"):
        read(release, of="svhn")
    with pytest.raises(ValueError, match="clips=1"):
        read(release, clips=1)


MODEL = Known(["n01440764", "n01443537", "n02124075"])


def frames(root: Path, perturbation: str, clip: str = "n01440764/a", numbers: range = range(1, 12)) -> None:
    for number in numbers:
        picture(root / "ImageNet-P" / perturbation / clip / f"{number}.png", level=number)


def test_frames_are_ordered_by_number(tmp_path: Path) -> None:
    """Sorted as text, 10 comes before 2."""
    for perturbation in ("snow", "tilt"):
        frames(tmp_path, perturbation)
        frames(tmp_path, perturbation, "n02124075/b")
    reader = FrameTree(str(tmp_path), num_workers=0)
    checked = reader.check(MODEL)
    assert checked.headline == ("common2of10", ("snow", "tilt"))
    split = reader.split(MODEL, Cell("tilt"), CROP, "cpu")
    assert (split.frames, len(split)) == (11, 22)
    levels = torch.cat([batch.images[:, 0, 0, 0] for batch in split.batches(5)])
    assert (255 * levels).round().tolist() == [*range(1, 12)] * 2
    with pytest.raises(UserError, match="32x32 pixels, the model takes 64x64"):
        list(reader.split(Known(MODEL.class_names, size=64), Cell("tilt"), CROP, "cpu").batches(4))


def test_clips_of_other_frame_numbers_are_refused(tmp_path: Path) -> None:
    frames(tmp_path, "tilt")
    frames(tmp_path, "tilt", "n02124075/b", range(2, 13))
    with pytest.raises(UserError, match=r"n01440764/a and n02124075/b hold frames of other numbers, e\.g\. 1: one is"):
        FrameTree(str(tmp_path), num_workers=0).check(MODEL)


def test_flip_rates_of_alexnet_are_for_all_ten(tmp_path: Path) -> None:
    """Listed to two decimals as percent by the facts of the release: both lists agree."""

    def add(perturbation: str) -> None:
        for clip in ("n01440764/a", "n02124075/b"):
            frames(tmp_path, perturbation, clip, range(2))

    for perturbation in TEN[:-1]:
        add(perturbation)
    checked = FrameTree(str(tmp_path), num_workers=0).check(MODEL)
    assert checked.alexnet is None
    part = "2 clips of 2 classes, none of the other 998 of ImageNet's 1000: flip rates are of a part of the release"
    lacking = f"{tmp_path}/ImageNet-P: 1 of the model's 3 classes have no image: n01443537"
    assert checked.remarks[:2] == (f"{tmp_path}/ImageNet-P: {part}", lacking)
    assert checked.remarks[2].startswith(f"{tmp_path}/ImageNet-P: no mfr, which is over all of gaussian_noise, ")
    add(TEN[-1])
    checked = FrameTree(str(tmp_path), num_workers=0).check(MODEL)
    mfr = f"{tmp_path}/ImageNet-P: {part}, and so is mfr, though AlexNet's rates are those of the whole"
    assert checked.remarks == (mfr, lacking)
    assert checked.alexnet is not None
    rounded = (23.65, 30.06, 9.30, 5.94, 11.93, 4.89, 11.01, 13.10, 7.05, 23.53)
    assert tuple(round(100 * checked.alexnet[name], 2) for name in TEN) == rounded


def test_clips_of_all_classes_are_the_whole(tmp_path: Path) -> None:
    tree(tmp_path / "ImageNet-P" / "tilt", [f"{wnid}/a" for wnid in WNIDS], "1.png", size=(2, 2))
    for wnid in WNIDS:
        os.link(tmp_path / "ImageNet-P/tilt" / wnid / "a/1.png", tmp_path / "ImageNet-P/tilt" / wnid / "a/2.png")
    checked = FrameTree(str(tmp_path), perturbations=["tilt"], num_workers=0).check(Known(WNIDS))
    assert [one.split("ImageNet-P: ")[1][:6] for one in checked.remarks] == ["no mfr"]


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    def refused(reason: str, model: Known = MODEL) -> None:
        with pytest.raises(UserError, match=reason):
            FrameTree(str(tmp_path), num_workers=0).check(model)

    refused("no folder .*ImageNet-P")
    frames(tmp_path, "tilt")
    refused("classes by wnid", CIFAR)
    refused("none of the model's 2", Known(["n01443537", "n02124075"]))
    frames(tmp_path, "tilt", "n02124075/b", range(1, 11))
    refused(r"clips of 10 \(n02124075/b\) and 11 frames \(n01440764/a\)")
    frames(tmp_path, "tilt", "n02124075/b")
    frames(tmp_path, "scale")
    refused("tilt and .*scale hold different clips")
    frames(tmp_path, "scale", "n02124075/b")
    odd = picture(tmp_path / "ImageNet-P" / "tilt" / "n02124075" / "b" / "last.png")
    refused(r"last\.png is no frame of a clip")
    odd.unlink()
    video = tmp_path / "ImageNet-P" / "scale" / "n01440764" / "c.mp4"
    video.write_bytes(b"-")
    refused(r"ImageNet-P holds videos: take them apart .* ffmpeg -i .*/c\.mp4 .*/c/%02d\.png")
    assert "holds videos" in str(FrameTree(str(tmp_path)).absent())
    assert FrameTree(str(tmp_path), perturbations=["tilt"]).absent() is None
    video.unlink()
    assert FrameTree(str(tmp_path), num_workers=0).check(MODEL).cells == (Cell("tilt"), Cell("scale"))
