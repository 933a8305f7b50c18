"""CIFAR-10 and CIFAR-100, resident: read whole, checked, and kept as one uint8 tensor on the device."""

from __future__ import annotations

from functools import cached_property

import torch

from fourier_robust.dataset.arguments import at_least, exactly, rgb_constants
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.cifar_files import BatchFile, Release, read_split
from fourier_robust.dataset.holdout import stratified_holdout

_CIFAR10 = Release(
    title="CIFAR-10",
    torchvision="CIFAR10",
    binary_folder="cifar-10-batches-bin",
    python_folder="cifar-10-batches-py",
    label_keys=("labels",),
    splits={
        "train": (
            BatchFile("data_batch_1", 10000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
            BatchFile("data_batch_2", 10000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
            BatchFile("data_batch_3", 10000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
            BatchFile("data_batch_4", 10000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
            BatchFile("data_batch_5", 10000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        ),
        "test": (BatchFile("test_batch", 10000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),),
    },
)

_CIFAR100 = Release(
    title="CIFAR-100",
    torchvision="CIFAR100",
    binary_folder="cifar-100-binary",
    python_folder="cifar-100-python",
    label_keys=("coarse_labels", "fine_labels"),
    splits={
        "train": (BatchFile("train", 50000, "6172c7755cfe09b2fe270c85cebc1b15", "16019d7e3df5f24257cddd939b257f8d"),),
        "test": (BatchFile("test", 10000, "4499cfba6c016c1be1438163640a0898", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
    },
)

_CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""


class _Cifar:
    """What the two sets share: 50,000 + 10,000 RGB images of 32x32 in one of two file layouts."""

    name: str
    class_names: tuple[str, ...]
    release: Release

    def __init__(
        self,
        root: str,
        val_size: int,
        val_seed: int,
        download: bool,
        num_classes: int,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        num_train: int | None = None,
    ) -> None:
        self.root = root
        self.val_size = at_least("val_size", val_size, 0)
        self.val_seed = val_seed
        self.download = download
        self.num_train = None if num_train is None else at_least("num_train", num_train, 1)
        self.num_classes = exactly("num_classes", num_classes, len(self.class_names))
        self.size = exactly("size", size, 32)
        self.mean, self.std = rgb_constants(mean, std)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        """`train` (what `val` leaves of it, or a part of that), `val` or `test`, read, checked, and moved to `device`.

        Raises:
            ValueError: another name, `val` with ``val_size=0``, or more training images asked for than there are.
            UserError: files missing or damaged.
        """
        if name == "test":
            return ResidentSplit(*self._read("test"), device)
        if name not in ("train", "val"):
            raise ValueError(f"split={name!r} must be 'train', 'val' or 'test'")
        if name == "val" and self.val_size == 0:
            raise ValueError("val_size=0 leaves no 'val' split; set dataset.val_size above 0")
        images, labels = self._train
        if self.val_size:
            index = stratified_holdout(labels, self.val_size, self.val_seed)[("train", "val").index(name)]
            images, labels = images[index], labels[index]
        if name == "train" and self.num_train is not None:
            if self.num_train > len(labels):
                raise ValueError(f"num_train={self.num_train} must be at most {len(labels)}, what val leaves of train")
            if self.num_train < len(labels):
                index = stratified_holdout(labels, self.num_train, self.val_seed)[1]
                images, labels = images[index], labels[index]
        return ResidentSplit(images, labels, device)

    @cached_property
    def _train(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._read("train")  # kept: train and val are both cut from it, and it is 150 MB on the host

    def _read(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = read_split(self.release, self.root, self.name, split, self.download)
        return torch.from_numpy(images), torch.from_numpy(labels)


class CIFAR10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images, 10 classes.

    Each file's images and labels are put back into the official binary records, whose SHA-256 must be the published
    file's: either layout passes, also one re-written by other software, and a damaged file is named. Python files
    are read without executing anything in them.

    Args:
        root: data folder; ``root/cifar10`` and `root` are searched for ``cifar-10-batches-bin`` and
            ``cifar-10-batches-py``.
        val_size: images of `val`, cut from the training images, classes in equal share; 0 trains on all of them.
        val_seed: decides which images those are.
        download: fetch the python layout into `root` where none is found.
        num_classes: 10.
        size: 32 pixels.
        mean: of each channel, in [0,1] pixels; applied by the model's first layer.
        std: likewise.
        num_train: images of `train`, classes in equal share, drawn by `val_seed`; a smaller number's are among a larger
            one's. None takes all that `val` leaves.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar10"
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    release = _CIFAR10

    def __init__(
        self,
        root: str,
        val_size: int = 5000,
        val_seed: int = 0,
        download: bool = False,
        num_classes: int = 10,
        size: int = 32,
        mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465),
        std: tuple[float, ...] = (0.2023, 0.1994, 0.2010),
        num_train: int | None = None,
    ) -> None:
        super().__init__(root, val_size, val_seed, download, num_classes, size, mean, std, num_train)


class CIFAR100(_Cifar):
    """CIFAR-100: 50,000 training and 10,000 test images, 100 (fine) classes.

    A file passes when the MD5 of its official binary records is the one that the rai-project/dldataset downloader
    demands of ``train.bin`` and ``test.bin`` (its six CIFAR-10 sums agree with ours; these two were not checked here
    against a full copy), or when a python file has the MD5 that torchvision publishes.

    Args:
        root: data folder; ``root/cifar100`` and `root` are searched for ``cifar-100-binary`` and ``cifar-100-python``.
        val_size: as in `CIFAR10`.
        val_seed: as in `CIFAR10`.
        download: as in `CIFAR10`.
        num_classes: 100.
        size: 32 pixels.
        mean: of each channel, in [0,1] pixels; APR's code uses CIFAR-10's constants here too, and its recipes say so.
        std: likewise.
        num_train: as in `CIFAR10`.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar100"
    class_names = tuple(_CIFAR100_CLASSES.split())
    release = _CIFAR100

    def __init__(
        self,
        root: str,
        val_size: int = 5000,
        val_seed: int = 0,
        download: bool = False,
        num_classes: int = 100,
        size: int = 32,
        mean: tuple[float, ...] = (0.5071, 0.4865, 0.4409),
        std: tuple[float, ...] = (0.2673, 0.2564, 0.2762),
        num_train: int | None = None,
    ) -> None:
        super().__init__(root, val_size, val_seed, download, num_classes, size, mean, std, num_train)
