"""Image folders: the loader, decoding and resizing included, against the rate at which one core decodes JPEGs.

    python scripts/bench/decode.py [--threads 1] [--rounds 3] [--images 32] [--folder DIR]

Without a folder (of files, at any depth) JPEGs are made: 500 x 375 pixels of 1/f noise in partly correlated channels at
quality 90, about 120 kB, which is what ImageNet's files are; and the same at 341 x 256. Everything is read from the
page cache. The decode rate is Pillow's, without a resize and without a copy; "by hand" is a plain loop that decodes,
resizes and crops with Pillow, as torchvision's data sets do. Rates are images per CPU second: of this process,
which also makes floats of them, or of a worker process, its start included (4,096 images).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import compare, report

from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.locate import ImageFiles, labelled
from fourier_robust.dataset.resized import crops, ladder
from fourier_robust.dataset.streaming import Decoder, StreamingSplit
from fourier_robust.engine.process import keep_big_blocks

OWN, RESIZE = 224, 256


def write(folder: Path, count: int, width: int, height: int) -> None:
    """JPEGs of 1/f noise."""
    rng = np.random.default_rng(0)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    envelope = 1 / np.sqrt(down**2 + across**2 + 1e-5)
    folder.mkdir()
    for index in range(count):
        noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((3, height, width))) * envelope, (height, width))
        mixed = 0.85 * noise[:1] + 0.3 * noise
        levels = 120 + 55 * (mixed - mixed.mean()) / mixed.std()
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
        image.save(folder / f"{index:03}.jpg", quality=90)


def listed(folder: Path, most: int) -> ImageFiles:
    """The first JPEGs below `folder`, all of one class."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[:most]
    return labelled(folder, [(str(path.relative_to(folder)), path.stat().st_size, 0) for path in paths])


def of_worker(files: ImageFiles, crop: CentreCrop, decoder: Decoder, images: int = 4096) -> float:
    """Images per CPU second of one worker process, which hands them to this one."""
    order = torch.arange(images) % len(files.paths)
    before = os.times()
    for _ in StreamingSplit(files, crop, "cpu", 1, decoder).batches(32, order):
        pass
    after = os.times()
    return images / (after.children_user + after.children_system - before.children_user - before.children_system)


def measure(name: str, files: ImageFiles, rounds: int) -> None:
    """Print rates of one set of files."""
    paths = [files.folder / path.decode() for path in files.paths]
    crop, sweep = CentreCrop(OWN, RESIZE), crops(ladder(OWN)[::2], OWN / RESIZE, "bilinear")

    def decode() -> None:
        for path in paths:
            with Image.open(path) as image:
                image.load()

    def by_hand() -> list[np.ndarray]:
        found = []
        for path in paths:
            with Image.open(path) as image:
                found.append(np.asarray(crop(image.convert("RGB"), torch.Generator())))
        return found

    decoders: tuple[Decoder, ...] = ("pillow", "torchvision")
    splits = {decoder: StreamingSplit(files, crop, "cpu", 0, decoder) for decoder in decoders}

    def loaded(decoder: Decoder) -> Callable[[], Any]:
        return lambda: [None for _ in splits[decoder].batches(32)]

    def swept(decoder: Decoder, crops: Sequence[CentreCrop]) -> Callable[[], Any]:
        return lambda: [None for _ in splits[decoder].each(crops, 16)]

    def one_by_one() -> None:
        for one in sweep:
            swept("pillow", [one])()

    seconds = compare(
        {
            "decode": decode,
            "by hand": by_hand,
            "pillow": loaded("pillow"),
            "torchvision": loaded("torchvision"),
            "sweep": swept("pillow", sweep),
            "sweep by torchvision": swept("torchvision", sweep),
            "sweep, size by size": one_by_one,
        },
        rounds,
        min_seconds=0.1,
    )
    rates = {key: len(paths) / value for key, value in seconds.items()}
    kilobytes = files.sizes.mean() / 1000
    print(f"{name}, {len(paths)} files of {kilobytes:.0f} kB: " + ", ".join(f"{k} {v:.0f}/s" for k, v in rates.items()))
    for decoder in decoders:
        share = rates[decoder] / rates["decode"]
        report(f"  loader, {OWN} px, dataset.decoder={decoder} / JPEG decode rate", share, ">= 0.90")
    for decoder in decoders:
        rate = statistics.median(of_worker(files, crop, decoder) for _ in range(rounds))
        worker = f"  one worker, {OWN} px, dataset.decoder={decoder}"
        report(f"{worker} / JPEG decode rate", rate / rates["decode"], ">= 0.90")
        report(f"{worker} / by hand", rate / rates["by hand"], ">= 0.90")
    report(
        "  loader, pillow / the same decode, resize and crop in a plain loop",
        rates["pillow"] / rates["by hand"],
        ">= 0.90",
    )
    gain = rates["sweep"] / rates["sweep, size by size"]
    report(f"  sweep of {len(sweep)} sizes, each file decoded once / once per size", gain, "> 1")


def main() -> None:
    """Measure files as they come and files stored at the size of the resize, or a folder's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_big_blocks()  # as fr-eval does on a CPU
    if arguments.folder is not None:
        measure(arguments.folder.name, listed(arguments.folder, arguments.images), arguments.rounds)
        return
    with tempfile.TemporaryDirectory() as place:
        for width, height in ((500, 375), (341, 256)):
            folder = Path(place) / f"{width}x{height}"
            write(folder, arguments.images, width, height)
            measure(folder.name, listed(folder, arguments.images), arguments.rounds)


if __name__ == "__main__":
    main()
