"""The Fourier heat map against one freshly built loader per frequency, and our bf16 pass against a float32 loop.

    python scripts/bench/heatmap.py [--rounds 3] [--images 1000]

32 x 32, random weights, one core, batches of 128. The loader is what the usual tool makes for every frequency: a data
set of PIL images whose transform gives a tensor, adds the basis image, clips and normalises; here with the cheapest of
0, 1 and 2 workers, in float32, without the graph that the tool keeps. One pass is measured and multiplied by the passes
of a map. CPU seconds of all processes: what one core needs.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from PIL import Image
from timing import compare, report
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet20
from fourier_robust.arch.speednet import SpeedNet
from fourier_robust.dataset.base import Batch, ResidentSplit
from fourier_robust.engine.predict import Precision, memory_format, predict, predict_each
from fourier_robust.fourier.basis import fourier_basis
from fourier_robust.suite.heatmap import Heatmap

BATCH = 128
CELLS, TOOL, OURS = 32 * 32, 32 * 17, 515  # passes of a map: each cell; half of a real transform; each pair, and clean
CPU = torch.device("cpu")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
NETS: dict[str, Callable[[], torch.nn.Module]] = {
    "SpeedNet 16-64-64": lambda: SpeedNet(10, (16, 64, 64)),
    "ResNet-20": lambda: resnet20(10),
}


class Pictures:
    """Random images as a data set, resident as ours are."""

    name, size, num_classes, val_size, mean, std = "random", 32, 10, 0, MEAN, STD
    class_names = tuple("abcdefghij")

    def __init__(self, number: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (number, 32, 32, 3), generator=generator, dtype=torch.uint8)
        self._split = ResidentSplit(self.pixels, torch.arange(number) % 10)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        """The one split."""
        return self._split


class Noisy(Dataset[Any]):
    """What a loader's worker does for one image of one frequency."""

    def __init__(self, pixels: torch.Tensor, frequency: tuple[int, int]) -> None:
        self.arrays = pixels.numpy()
        self.basis = 4.0 * fourier_basis(torch.tensor([frequency]), 32, 32)[0]

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = functional.to_tensor(Image.fromarray(self.arrays[index]))
        signs = torch.tensor([random.choice((-1.0, 1.0)) for _ in range(3)])
        image = (image + signs[:, None, None] * self.basis).clamp(0, 1)
        return functional.normalize(image, MEAN, STD), index % 10


def network(build: Callable[[], torch.nn.Module], precision: Precision) -> Normalized:
    """A net with random weights, laid out as fr-eval does."""
    torch.manual_seed(0)
    return Normalized(build(), MEAN, STD).eval().to(memory_format=memory_format(CPU, precision))


@torch.inference_mode()
def loader_pass(model: Normalized, pixels: torch.Tensor, frequency: tuple[int, int], workers: int) -> float:
    """Error at one frequency, by a loader made for it."""
    wrong = 0
    for images, labels in DataLoader(Noisy(pixels, frequency), batch_size=BATCH, num_workers=workers):
        wrong += int((model.net(images).argmax(1) != labels).sum())
    return wrong / len(pixels)


def sources(pictures: Pictures, count: int) -> Iterator[Iterable[Batch]]:
    """The images of `count` frequencies."""
    suite = Heatmap(images=None)
    for condition in suite.conditions(pictures)[40 : 40 + count]:
        yield suite.source(pictures, condition, CPU, BATCH).batches


def ours(model: Normalized, pictures: Pictures, count: int, precision: Precision) -> None:
    """`count` frequencies, as fr-eval measures them."""
    for _ in predict_each(model, sources(pictures, count), BATCH, precision):
        pass


def apart(model: Normalized, pictures: Pictures, count: int) -> None:
    """The same in bf16, each frequency by a pass of its own."""
    for batches in sources(pictures, count):
        predict(model, batches, "bf16")


def noise(pictures: Pictures) -> None:
    """The images of a frequency, no net."""
    for batches in sources(pictures, 1):
        for _ in batches:
            pass


@torch.inference_mode()
def plain_loop(model: Normalized, pictures: Pictures) -> int:
    """Wrong predictions of clean images by the loop everybody writes: float32, contiguous."""
    batches = pictures.split("test").batches(BATCH)
    return sum(int((model(batch.images.contiguous()).argmax(1) != batch.labels).sum()) for batch in batches)


def all_processes(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """`timing.compare` with the CPU seconds of finished child processes counted in."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = os.times()
            function()
            seconds[name].append(sum(os.times()[:4]) - sum(start[:4]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure(name: str, build: Callable[[], torch.nn.Module], number: int, rounds: int) -> None:
    """The ratios of one net."""
    pictures = Pictures(number)
    full, half = network(build, "fp32"), network(build, "bf16")
    loaders = {f"{count} workers": partial(loader_pass, full, pictures.pixels, (5, 3), count) for count in (0, 1, 2)}
    passes: dict[str, Callable[[], Any]] = {
        **loaders,
        "fp32": lambda: ours(full, pictures, 1, "fp32"),
        "bf16": lambda: ours(half, pictures, 1, "bf16"),
    }
    seconds = all_processes(passes, rounds)
    best = min(loaders, key=lambda key: seconds[key])
    print(f"{name}, seconds of a frequency: {', '.join(f'{key} {value:.2f}' for key, value in seconds.items())}")
    for precision in ("fp32", "bf16"):
        for count, what in ((CELLS, "one pass per cell"), (TOOL, "the tool's 544 passes")):
            ratio = count * seconds[best] / (OURS * seconds[precision])
            report(f"map by a loader ({best}), {what} / ours in {precision}", ratio, "at least 5.0")
    functions: Mapping[str, Callable[[], Any]] = {
        "plain": lambda: plain_loop(full, pictures),
        "ours": lambda: ours(half, pictures, 1, "bf16"),
        "noise": lambda: noise(pictures),
    }
    seconds = compare(functions, rounds=rounds)
    report("images per second, ours in bf16 / float32 loop", seconds["plain"] / seconds["ours"], "at least 2.5")
    report("images and noise / our pass", seconds["noise"] / seconds["ours"], "at most 0.10")
    for count, frequencies in ((600, 2), (40, 10)):  # conditions that fill batches, and that do not
        few = Pictures(count)
        shared = {
            "shared": partial(ours, half, few, frequencies, "bf16"),
            "apart": partial(apart, half, few, frequencies),
        }
        seconds = compare(shared, rounds=rounds)
        what = f"batches shared by frequencies / apart, {count} images"
        report(what, seconds["shared"] / seconds["apart"], "at most 1.02")


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
    for name, build in NETS.items():
        measure(name, build, arguments.images, arguments.rounds)


if __name__ == "__main__":
    main()
