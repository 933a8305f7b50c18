"""The embedded data set: ten shapes under textures that need not say anything about them; drawn, not downloaded."""

from __future__ import annotations

import torch

from fourier_robust.dataset.arguments import at_least, exactly, rgb_constants
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.shapes_draw import SHAPES, SIZE, Drawing, draw
from fourier_robust.fourier.recombine import recombine
from fourier_robust.run.seed import derive
from fourier_robust.run.threads import one_thread


class Shapes:
    """Colour images of 32x32: the class is a shape (phase); texture, colour, contrast and noise (amplitude) vary.

    A controlled experiment for the claim behind APR: what a model has learnt beyond the phase is lost when noise, blur
    or another image's amplitude takes the spectrum away. Beside `train`, `val` and `test` there is `test_swapped`: the
    test images, each with the amplitude spectrum (over C, H and W jointly) of a test image of another class, limited
    to [0,1] and rounded to grey levels; the label stays with the phase.

    Every split is drawn from a seed of its own, so the size of one changes nothing in another; classes are balanced
    to within one image. How many threads PyTorch has changes no pixel.

    Args:
        num_train: images, at least 1.
        num_val: images of `val`, kept as `val_size`; 0 leaves no such split.
        num_test: images, at least 2.
        agreement: probability in [0,1] that an image's texture family is the one tied to its class; else the family is
            uniform over all ten. 0: texture and class are independent; 1: texture alone decides the class. In all
            splits alike; measure a model on ``agreement=0`` to see what it learnt of the shape.
        noise: standard deviation of the Gaussian noise in every image, in [0,1] pixels; itself in [0,1].
        seed: of the images; has no part in training.
        num_classes: 10.
        size: 32 pixels.
        mean: of each channel, in [0,1] pixels; applied by the model's first layer.
        std: likewise.

    Raises:
        ValueError: an argument outside its range.
    """

    name = "shapes"
    class_names = tuple(SHAPES)
    test_splits = ("test", "test_swapped")

    def __init__(
        self,
        num_train: int = 10000,
        num_val: int = 1000,
        num_test: int = 2000,
        agreement: float = 0.0,
        noise: float = 0.02,
        seed: int = 0,
        num_classes: int = 10,
        size: int = 32,
        mean: tuple[float, ...] = (0.500, 0.499, 0.500),
        std: tuple[float, ...] = (0.242, 0.242, 0.241),
    ) -> None:
        self.num_train = at_least("num_train", num_train, 1)
        self.val_size = at_least("num_val", num_val, 0)
        self.num_test = at_least("num_test", num_test, 2)
        for name, value in (("agreement", agreement), ("noise", noise)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} must lie in [0, 1]")
        self.agreement, self.noise, self.seed = agreement, noise, seed
        self.num_classes = exactly("num_classes", num_classes, len(SHAPES))
        self.size = exactly("size", size, SIZE)
        self.mean, self.std = rgb_constants(mean, std)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        """`train`, `val`, `test` or `test_swapped`, drawn and moved to `device`.

        Raises:
            ValueError: another name, or `val` with ``num_val=0``.
        """
        if name == "test_swapped":
            drawing = self.drawing("test")
            images = swap_amplitude(drawing.images, self.donors(drawing.labels))
            return ResidentSplit(images, drawing.labels, device)
        drawing = self.drawing(name)
        return ResidentSplit(drawing.images, drawing.labels, device)

    @one_thread()
    def drawing(self, name: str) -> Drawing:
        """Images, labels and texture families of `train`, `val` or `test`, on the CPU.

        Raises:
            ValueError: as `split`.
        """
        sizes = {"train": self.num_train, "val": self.val_size, "test": self.num_test}
        if name not in sizes:
            raise ValueError(f"split={name!r} must be 'train', 'val', 'test' or 'test_swapped'")
        if sizes[name] == 0:
            raise ValueError("num_val=0 leaves no 'val' split; set dataset.num_val above 0")
        generator = torch.Generator().manual_seed(derive(self.seed, "shapes", name))
        labels = torch.randperm(sizes[name], generator=generator) % self.num_classes
        return draw(labels, self.agreement, self.noise, generator)

    def donors(self, labels: torch.Tensor) -> torch.Tensor:
        """(N,) int64: for every test image the one whose amplitude it gets in `test_swapped`."""
        return donors_of_another_class(labels, torch.Generator().manual_seed(derive(self.seed, "shapes", "donors")))


def donors_of_another_class(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """For each of N labels a position of another label, uniform over all such positions, drawn with replacement.

    In the order sorted by label the positions to choose from are one stretch of the circle: it begins after the
    image's own class and ends before it.

    Args:
        labels: (N,) int64 >= 0, at least two of them different.
        generator: on the CPU.
    """
    by_class, sizes = labels.argsort(stable=True), labels.bincount()
    begin, others = sizes.cumsum(0)[labels], len(labels) - sizes[labels]
    step = (torch.rand(len(labels), dtype=torch.float64, generator=generator) * others).long()
    return by_class[(begin + step) % len(labels)]


@one_thread()
def swap_amplitude(images: torch.Tensor, donor: torch.Tensor) -> torch.Tensor:
    """(N,H,W,C) uint8 -> the same: own phase, amplitude of image ``donor[i]``, limited to 0..255 and rounded."""
    pixels = images.permute(0, 3, 1, 2).float().div_(255)
    mixed = recombine(pixels, pixels[donor]).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return mixed.permute(0, 2, 3, 1).contiguous()
