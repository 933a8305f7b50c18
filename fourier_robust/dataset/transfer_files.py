"""Transfer sets in binary files of their own: SVHN, MNIST, STL-10, Flowers-102, GTSRB; read here, no pickle."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.locate import ImageFiles, image_files, missing, places, subfolders
from fourier_robust.dataset.ood_digits import _COMPRESSED, _MATRIX, _elements
from fourier_robust.dataset.transfer import Arrays, Transfer, of_arrays
from fourier_robust.dataset.transfer_folders import Files, named_files
from fourier_robust.errors import UserError

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 9: "f8"}  # element types of a MAT-file
_DAMAGE = (OSError, EOFError, ValueError, IndexError, KeyError, zlib.error)
_DIGITS = tuple("0123456789")


class _InFiles:
    """A set in a few files in one of several places.

    Args:
        root: data folder; it and its folders of usual name are searched.
    """

    title: str
    folders: Sequence[str]
    files: Sequence[str]
    how = "put the published files there"

    def __init__(self, root: str) -> None:
        self._where = places(root, self.folders)

    def _folder(self) -> Path | None:
        return next((place for place in self._where if all(self._path(place, name) for name in self.files)), None)

    @staticmethod
    def _path(folder: Path, name: str) -> Path | None:
        return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)

    def absent(self) -> str | None:
        """See `TransferSet`."""
        if self._folder() is not None:
            return None
        some = {name for name in self.files for place in self._where if self._path(place, name)}
        gone = [name for name in self.files if name not in some] or list(self.files)
        return str(missing(self.title, gone, self._where, self.how))

    def read(self, crop: CentreCrop) -> Transfer:
        """See `TransferSet`."""
        folder = self._folder()
        if folder is None:
            raise UserError(self.absent())
        try:
            train, test, classes = self._arrays(folder)
            return of_arrays(train, test, classes, crop)
        except _DAMAGE as error:
            raise UserError(f"{folder} holds damaged files of {self.title} ({str(error).splitlines()[0]})") from None

    def _arrays(self, folder: Path) -> tuple[Arrays, Arrays, tuple[str, ...]]:
        raise NotImplementedError

    def _bytes(self, folder: Path, name: str) -> bytes:
        path = self._path(folder, name)
        assert path is not None
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data


class SVHNDigits(_InFiles):
    """Street View House Numbers, cropped: 73,257 training and 26,032 test images of 32x32.

    Source: Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
    """

    title = "SVHN"
    folders = ("svhn", "SVHN")
    files = ("train_32x32.mat", "test_32x32.mat")

    def _arrays(self, folder: Path) -> tuple[Arrays, Arrays, tuple[str, ...]]:
        train, test = (mat_arrays(self._bytes(folder, name)) for name in self.files)
        parts = [
            Arrays(one["X"].transpose(3, 0, 1, 2).astype(np.uint8), one["y"].ravel() % 10) for one in (train, test)
        ]
        return parts[0], parts[1], _DIGITS  # the file's 10 is the digit 0


class MNISTDigits(_InFiles):
    """MNIST: 60,000 training and 10,000 test grey images of 28x28; they become RGB.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """

    title = "MNIST"
    folders = ("MNIST/raw", "mnist")
    files = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))

    def _arrays(self, folder: Path) -> tuple[Arrays, Arrays, tuple[str, ...]]:
        one, two, three, four = (_idx(self._bytes(folder, name)) for name in self.files)
        return Arrays(one, two), Arrays(three, four), _DIGITS


class STL10(_InFiles):
    """STL-10: 5,000 training and 8,000 test images of 96x96, 10 classes.

    Source: Coates, Lee and Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011.
    """

    title = "STL-10"
    folders = ("stl10_binary",)
    files = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")

    def _arrays(self, folder: Path) -> tuple[Arrays, Arrays, tuple[str, ...]]:
        flat = [np.frombuffer(self._bytes(folder, name), np.uint8) for name in self.files]
        images = [flat[part].reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1) for part in (0, 2)]  # columns come first
        labels = [flat[part].astype(np.int64) - 1 for part in (1, 3)]
        names = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
        return Arrays(images[0], labels[0]), Arrays(images[1], labels[1]), names


class Flowers102(Files):
    """Oxford 102 Flowers: training 1,020 and test 6,149 images; what it calls val is not used.

    Source: Nilsback and Zisserman, "Automated Flower Classification over a Large Number of Classes", 2008.
    """

    holds = "the published files"
    needs = ("jpg", "imagelabels.mat", "setid.mat")

    def parts(self, folder: Path) -> tuple[ImageFiles, ImageFiles, tuple[str, ...], str]:
        """See `Files.parts`."""
        try:
            labels = mat_arrays((folder / "imagelabels.mat").read_bytes())["labels"].ravel()
            sets = mat_arrays((folder / "setid.mat").read_bytes())
            train, test = (
                [(f"image_{number:05d}.jpg", str(int(labels[number - 1]))) for number in sets[key].ravel().tolist()]
                for key in ("trnid", "tstid")
            )
        except _DAMAGE as error:
            raise UserError(f"{folder} has damaged files imagelabels.mat or setid.mat ({error})") from None
        names = tuple(str(label) for label in range(1, int(labels.max()) + 1))
        return named_files(folder / "jpg", train, names), named_files(folder / "jpg", test, names), names, ""


class GTSRB(Files):
    """German traffic signs: 43 classes, 26,640 training and 12,630 test images of 15 to 250 pixels.

    Source: Stallkamp et al., "The German Traffic Sign Recognition Benchmark", IJCNN 2011.
    """

    holds = "the unpacked archives and the table of test classes"
    needs = ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv")

    def parts(self, folder: Path) -> tuple[ImageFiles, ImageFiles, tuple[str, ...], str]:
        """See `Files.parts`."""
        training, table = folder / "GTSRB" / "Training", folder / "GT-final_test.csv"
        names = subfolders(training)  # 00000 to 00042
        try:
            with table.open(newline="") as file:
                test = [(row["Filename"], f"{int(row['ClassId']):05d}") for row in csv.DictReader(file, delimiter=";")]
        except _DAMAGE as error:
            raise UserError(f"{table} is damaged ({error}): download it again") from None
        odd = sorted({name for _, name in test} - set(names))
        if odd:
            raise UserError(f"{table} names class {odd[0]}, which {training} has no folder of")
        return image_files(training, names), named_files(folder / "GTSRB/Final_Test/Images", test, names), names, ""


def mat_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of numbers in a MAT-file of version 5, by name, in their own shapes.

    Raises:
        ValueError: another kind of file, or a damaged one.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("not a MAT-file of version 5")
    found = {}
    for kind, whole in _elements(data[128:], order):
        if kind == _COMPRESSED:
            ((kind, whole),) = _elements(zlib.decompress(whole), order)
        if kind != _MATRIX:
            continue
        _, (_, dims), (_, name), *content = _elements(whole, order)
        if content and content[0][0] in _NUMBERS:
            values = np.frombuffer(content[0][1], order + _NUMBERS[content[0][0]])
            found[name.decode("ascii")] = values.reshape(np.frombuffer(dims, f"{order}i4"), order="F")
    return found


def _idx(data: bytes) -> np.ndarray:
    """The array of bytes in an IDX file."""
    if data[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file of bytes")
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
