"""Out-of-distribution sets: those read from disk against independent writers, those drawn against their definition."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.ood import ExactSize, ImageArray, ImageTree, OtherDataset
from fourier_robust.dataset.ood_digits import MNIST, SVHN
from fourier_robust.dataset.ood_drawn import Drawn, Recombined, turn_phase
from fourier_robust.errors import UserError
from fourier_robust.fourier.recombine import recombine

CROP = CentreCrop(8, 8)


class Inside:
    """Twenty random images of 8 x 8 in four classes."""

    name, num_classes, val_size, mean, std, size = "inside", 4, 0, (0.5,) * 3, (0.5,) * 3, 8

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        return ResidentSplit(torch.from_numpy(pixels(20, 8, 0)), torch.arange(20) % 4)


def pixels(count: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def levels(split: object, order: torch.Tensor | None = None, batch_size: int = 7) -> np.ndarray:
    """(N,H,W,3) uint8 of a split."""
    images = torch.cat([batch.images for batch in split.batches(batch_size, order)])  # type: ignore[attr-defined]
    return (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


class TestTree:
    def test_images_at_any_depth_resized(self, tmp_path: Path) -> None:
        images = pixels(3, 16, 1)
        for where, image in zip(("a.png", "x/b.png", "x/y/c.PNG"), images, strict=True):
            path = tmp_path / "mine" / where
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        (tmp_path / "mine" / "list.txt").write_text("no image")
        reader = ImageTree(str(tmp_path), ["yours", "mine"], num_workers=0)
        assert reader.absent() is None
        split = reader.split(Inside(), CROP, "cpu")
        expected = [np.asarray(Image.fromarray(one).resize((8, 8), Image.Resampling.BILINEAR)) for one in images]
        assert np.array_equal(levels(split), np.stack(expected))
        assert split.labels.tolist() == [-1] * 3

    def test_absent_empty_and_of_another_size(self, tmp_path: Path) -> None:
        said = ImageTree(str(tmp_path), ["a", "b"]).absent()
        assert said is not None
        assert f"{tmp_path}/a or {tmp_path}/b" in said
        assert "no image in" in str(ImageTree(str(tmp_path)).absent())
        Image.fromarray(pixels(1, 16, 0)[0]).save(tmp_path / "one.png")
        with pytest.raises(UserError, match=r"one\.png does not fit: 16x16 pixels, the model takes 8x8"):
            ImageTree(str(tmp_path)).split(Inside(), ExactSize(8), "cpu")


class TestArray:
    def test_npz_and_npy(self, tmp_path: Path) -> None:
        images = pixels(5, 8, 2)
        np.savez(tmp_path / "a.npz", test_images=images, other=1)
        np.save(tmp_path / "b.npy", images[..., 0])
        read = ImageArray(str(tmp_path), "a.npz", "test_images").split(Inside(), CROP, "cpu")
        assert np.array_equal(levels(read), images)
        grey = ImageArray(str(tmp_path), "b.npy").split(Inside(), CROP, "cpu")
        assert np.array_equal(levels(grey), np.repeat(images[..., :1], 3, 3))
        with pytest.raises(UserError, match="has no array images; it has test_images, other"):
            ImageArray(str(tmp_path), "a.npz").split(Inside(), CROP, "cpu")

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.zeros((0, 8, 8, 3), np.uint8), "holds no image"),
            (np.zeros((2, 8, 8, 3)), "expected"),
            (np.zeros((2, 3, 8, 8), np.uint8), "expected"),
            (np.zeros((2, 9, 8, 3), np.uint8), "does not fit: 8x9 pixels, the model takes 8x8"),
        ],
    )
    def test_refused(self, tmp_path: Path, array: np.ndarray, said: str) -> None:
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(UserError, match=said):
            ImageArray(str(tmp_path), "a.npy").split(Inside(), ExactSize(8), "cpu")

    def test_absent_or_damaged(self, tmp_path: Path) -> None:
        reader = ImageArray(str(tmp_path), "a.npz")
        assert f"a.npz in {tmp_path}" in str(reader.absent())
        (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut")
        assert reader.absent() is None
        with pytest.raises(UserError, match="not a readable array"):
            reader.split(Inside(), CROP, "cpu")


class TestDigits:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_svhn_as_scipy_writes_it(self, tmp_path: Path, compressed: bool) -> None:
        io = pytest.importorskip("scipy.io")
        images = pixels(6, 8, 3)
        (tmp_path / "svhn").mkdir()
        content = {"y": np.arange(6, dtype=np.uint8)[:, None], "X": images.transpose(1, 2, 3, 0)}
        io.savemat(tmp_path / "svhn" / "test_32x32.mat", content, do_compression=compressed)
        reader = SVHN(str(tmp_path))
        assert reader.absent() is None
        assert np.array_equal(levels(reader.split(Inside(), CROP, "cpu")), images)

    def test_svhn_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "test_32x32.mat"
        assert f"test_32x32.mat in {tmp_path}/svhn" in str(SVHN(str(tmp_path)).absent())
        for content in (b"", b"x" * 200, b" " * 126 + b"IM" + struct.pack("<II", 14, 999) + b"cut"):
            path.write_bytes(content)
            with pytest.raises(UserError, match="is damaged"):
                SVHN(str(tmp_path)).split(Inside(), CROP, "cpu")

    @pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"])
    def test_mnist(self, tmp_path: Path, name: str) -> None:
        images = pixels(4, 8, 4)[..., 0]
        data = struct.pack(">IIII", 2051, 4, 8, 8) + images.tobytes()
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
        (tmp_path / "MNIST" / "raw" / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        read = levels(MNIST(str(tmp_path)).split(Inside(), CROP, "cpu"))
        assert np.array_equal(read, np.repeat(images[..., None], 3, 3))


class TestOtherDataset:
    def test_is_its_test_split(self) -> None:
        other = OtherDataset(Inside())
        assert other.absent() is None
        assert np.array_equal(levels(other.split(Inside(), CROP, "cpu")), pixels(20, 8, 0))

    def test_resized_to_the_models_size(self) -> None:
        small = levels(OtherDataset(Inside()).split(type("Four", (Inside,), {"size": 4})(), CentreCrop(4, 4), "cpu"))
        expected = Image.fromarray(pixels(20, 8, 0)[0]).resize((4, 4), Image.Resampling.BILINEAR)
        assert np.array_equal(small[0], np.asarray(expected))


class TestDrawn:
    @pytest.mark.parametrize(
        "reader",
        [
            *(Drawn(kind, 20, seed=3) for kind in ("gaussian", "uniform", "blobs")),
            *(Recombined(kind, seed=3) for kind in ("phase_scrambled", "amplitude_swapped")),
        ],
        ids=lambda reader: reader.kind,
    )
    def test_replayed_in_any_order_and_batch(self, reader: Drawn | Recombined) -> None:
        assert reader.absent() is None
        split = reader.split(Inside(), CROP, "cpu")
        assert len(split) == len(split.labels) == 20
        whole = levels(split)
        order = torch.tensor([5, 0, 19, 5])
        assert np.array_equal(levels(split, order, 3), whole[order])
        other = type(reader)(reader.kind, seed=4).split(Inside(), CROP, "cpu")  # type: ignore[arg-type]
        assert other.identity != split.identity
        assert not np.array_equal(levels(other, order), whole[order])
        assert len(np.unique(whole, axis=0)) == 20

    def test_noises(self) -> None:
        inside = type("Big", (Inside,), {"size": 64})()
        (gaussian,) = Drawn("gaussian", 12, std=0.1).split(inside, CROP, "cpu").batches(12)
        assert float(gaussian.images.mean()) == pytest.approx(0.5, abs=0.002)
        assert float(gaussian.images.std()) == pytest.approx(0.1, abs=0.001)
        (uniform,) = Drawn("uniform", 12).split(inside, CROP, "cpu").batches(12)
        assert float(uniform.images.std()) == pytest.approx(12**-0.5, abs=0.001)
        (blobs,) = Drawn("blobs", 12).split(inside, CROP, "cpu").batches(12)
        shown = blobs.images[blobs.images > 0]
        assert float(shown.min()) >= 0.75
        assert 0.05 < len(shown) / blobs.images.numel() < 0.5

    def test_phase_is_turned_and_amplitude_stays(self) -> None:
        images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        plane = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(2))
        turned = turn_phase(images, plane)
        before, after = torch.fft.fft2(images), torch.fft.fft2(turned)
        torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(after[..., 0, 0], before[..., 0, 0])
        angle = torch.fft.fft2(plane).angle()
        torch.testing.assert_close(after[..., 1, 2], before[..., 1, 2] * torch.exp(1j * angle[..., 1, 2]))
        assert not torch.allclose(turned, images, atol=0.1)

    def test_amplitude_of_another_class(self) -> None:
        test = Inside().split("test")
        (clean,) = test.batches(20)
        (swapped,) = Recombined("amplitude_swapped", 1).split(Inside(), CROP, "cpu").batches(20)
        for place in range(20):
            own = clean.images[place].expand(20, -1, -1, -1)
            distance = (recombine(own, clean.images).clamp(0, 1) - swapped.images[place]).flatten(1).norm(dim=1)
            assert float(distance.min()) < 1e-4
            assert clean.labels[int(distance.argmin())] != clean.labels[place]

    def test_refused(self) -> None:
        for arguments in ({"kind": "pink"}, {"kind": "uniform", "images": 0}, {"kind": "gaussian", "std": 0.0}):
            with pytest.raises(ValueError, match="must be"):
                Drawn(**arguments)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="must be phase_scrambled or"):
            Recombined("swapped")  # type: ignore[arg-type]
