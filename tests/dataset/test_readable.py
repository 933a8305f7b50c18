"""Image files of which some are damaged: which remain, which are named, and when it is too many."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dataset.shift_layouts import picture

from fourier_robust.dataset import readable
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.locate import image_files
from fourier_robust.dataset.ood import ExactSize
from fourier_robust.dataset.readable import UNREADABLE, FileSplit, Readable
from fourier_robust.errors import UserError


@pytest.fixture
def split(tmp_path: Path) -> FileSplit:
    """Twelve images of level 10, 20, ...; the fourth, the eighth and the ninth are damaged."""
    for number in range(12):
        picture(tmp_path / "ab"[number // 6] / f"{number:02d}.png", level=10 * number + 10, size=(8, 8))
    for name in ("a/03.png", "b/07.png"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:40])
    (tmp_path / "b/08.png").write_bytes(b"no image")
    return FileSplit(image_files(tmp_path, ("a", "b")), CentreCrop(8, 8), num_workers=0)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 12, 50])
def test_images_keep_their_places(split: FileSplit, batch_size: int) -> None:
    order = torch.tensor([11, 8, 3, 0, 5, 7, 6])
    batches = list(Readable(split, order, 0.5).batches(batch_size))
    assert torch.cat([one.indices for one in batches]).tolist() == order.tolist()
    assert [len(one.labels) for one in batches][:-1] == [batch_size] * (len(batches) - 1)
    labels = torch.cat([one.labels for one in batches])
    assert labels.tolist() == [1, UNREADABLE, UNREADABLE, 0, 0, UNREADABLE, 1]
    levels = torch.cat([one.images for one in batches])[:, :, 3, 3] * 255
    assert levels.round().tolist() == [[level] * 3 for level in (120, 0, 0, 10, 60, 0, 70)]


def test_what_is_left_out_is_counted_and_named(split: FileSplit, tmp_path: Path) -> None:
    readable = Readable(split, torch.tensor([0, 3, 7, 9]), 0.5)
    labels = torch.cat([one.labels for one in readable.batches(3)])
    said = f"2 of 4 images could not be read and are left out: {tmp_path}/a/03.png, {tmp_path}/b/07.png"
    assert readable.left_out(labels) == said
    assert readable.left_out(torch.tensor([0, 0, 1, 1])) is None


def test_long_lists_are_cut(split: FileSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable, "_NAMED", 1)
    said = Readable(split, torch.arange(12), 0.5).left_out(torch.tensor([0, 0, 0, UNREADABLE] * 3))
    assert said is not None
    assert said.endswith("a/03.png ...")


def test_too_many_are_refused(split: FileSplit) -> None:
    order = torch.arange(12)
    assert len(list(Readable(split, order, 3 / 12).batches(4))) == 3
    many = Readable(split, order, 2 / 12)
    with pytest.raises(UserError, match=r"3 of 12 images could not be read, more than 0\.16.*suite\.unreadable.*b/0"):
        list(many.batches(4))
    with pytest.raises(UserError, match=r"1 of 12 .*more than 0 of them .*03\.png is not a readable image"):
        list(Readable(split, order, 0.0).batches(4))
    with pytest.raises(UserError, match=r"3 of 12 images could not be read.*a/03\.png, .*b/07\.png"):
        many.left_out(torch.tensor([0, 0, 0, -2, 0, 0, 1, -2, -2, 1, 1, 1]))  # of an earlier launch


def test_a_link_to_nowhere_counts_as_unreadable(split: FileSplit, tmp_path: Path) -> None:
    (tmp_path / "a/00.png").unlink()
    (tmp_path / "a/00.png").symlink_to(tmp_path / "gone.png")
    files = image_files(tmp_path, ("a", "b"))
    labels = [
        one.labels for one in Readable(FileSplit(files, split.crop, num_workers=0), torch.arange(5), 0.4).batches(5)
    ]
    assert labels[0].tolist() == [UNREADABLE, 0, 0, UNREADABLE, 0]


def test_a_size_that_is_refused_is_no_damage(tmp_path: Path) -> None:
    for number, size in enumerate(((8, 8), (8, 8), (9, 8))):
        picture(tmp_path / "a" / f"{number}.png", size=size)
    exact = FileSplit(image_files(tmp_path, ("a",)), ExactSize(8), num_workers=0)
    with pytest.raises(UserError, match=r"a/2\.png is not a readable image: 9x8 pixels, the model takes 8x8; replace"):
        list(Readable(exact, torch.arange(3), 0.5).batches(2))


def test_another_trouble_stays_one(split: FileSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that died is no damaged image."""

    def died(*_: object, **__: object) -> None:
        raise UserError("a worker that decodes died")

    monkeypatch.setattr(split, "each", died)
    with pytest.raises(UserError, match=r"^a worker that decodes died$"):
        list(Readable(split, torch.tensor([0, 1]), 0.5).batches(2))
