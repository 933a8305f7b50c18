"""Draw corruptions and the spectra of what they change: `python scripts/corruptions_picture.py OUT [OVERRIDES...]`.

Writes OUT/corruptions.png, every corruption at five severities of one image, and OUT/spectra.png, for every corruption
the mean power spectrum of the change (corrupted minus clean) over the first images of the test split. Overrides are
those of fr-eval: ``dataset=cifar10`` (by default the embedded shapes), ``suite=corruptions_bar`` for the other group.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from PIL import Image

from fourier_robust.cli import build, build_dataset, resolve
from fourier_robust.config import conf_dir
from fourier_robust.corruption.base import SEVERITIES
from fourier_robust.corruption.seeded import condition_seed, corrupt, image_seeds
from fourier_robust.errors import UserError
from fourier_robust.fourier.spectrum import half_power, whole_plane
from fourier_robust.report.spectra_figure import Panel, spectra_png

GAP = 2  # pixels between two images


def from_file(path: Path) -> torch.Tensor:
    """(1,3,H,W) in [0,1]."""
    try:
        with Image.open(path) as file:
            levels = np.array(file.convert("RGB"))
    except OSError as error:
        raise UserError(f"--image {path}: {error}") from error
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float().div(255)


def corrupted(generators: Mapping[str, Any], name: str, severity: int, images: torch.Tensor, seed: int) -> torch.Tensor:
    """The images as the suite makes them."""
    corruption = generators[name](severity=severity, size=min(images.shape[2:]))
    return corrupt(corruption, images, image_seeds(condition_seed(seed, name, severity), torch.arange(len(images))))


def grid(rows: Sequence[torch.Tensor]) -> np.ndarray:
    """Rows of (columns,3,H,W) -> one white-ruled picture (height, width, 3)."""
    ruled = [np.pad(row.permute(0, 2, 3, 1), ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=1) for row in rows]
    return np.concatenate([np.concatenate(list(row), 1) for row in ruled])[:-GAP, :-GAP]


def draw_grid(path: Path, generators: Mapping[str, Any], image: torch.Tensor, seed: int) -> None:
    """Corruptions down, clean and five severities across."""
    from matplotlib.figure import Figure

    rows = [
        torch.cat([image, *(corrupted(generators, name, severity, image, seed) for severity in SEVERITIES)])
        for name in generators
    ]
    height, width = (side + GAP for side in image.shape[2:])
    figure = Figure(figsize=(6, 0.4 + 0.86 * len(rows) * height / width), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid(rows), interpolation="nearest")
    names = [name.replace("_", "\n") for name in generators]
    axes.set_yticks([height * (row + 0.5) for row in range(len(rows))], names)
    axes.set_xticks([width * (column + 0.5) for column in range(6)], ["clean", *map(str, SEVERITIES)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=7)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=170, metadata={"Software": None})


def power(change: torch.Tensor) -> np.ndarray:
    """Mean power of (N,3,H,W) per frequency, zero frequency in the middle: (H,W)."""
    return whole_plane(half_power(change.double()).mean((0, 1)), change.shape[-1]).numpy()


def draw_spectra(path: Path, generators: Mapping[str, Any], images: torch.Tensor, severity: int, seed: int) -> None:
    """A panel for the clean images, then one per corruption; one colour scale for all."""
    panels = [Panel("clean images", power(images - images.mean((2, 3), keepdim=True)))]
    for name in generators:
        panels.append(Panel(name, power(corrupted(generators, name, severity, images, seed) - images)))
    title = f"zero frequency in the middle; severity {severity}, n = {len(images)}"
    path.write_bytes(spectra_png(title, panels, "mean power of the change, pixels in [0,1]"))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the two PNGs")
    parser.add_argument("overrides", nargs="*", help="as for fr-eval, e.g. dataset=cifar10")
    parser.add_argument("--image", default="0", help="number of a test image, or an image file")
    parser.add_argument("--severity", type=int, default=3, choices=SEVERITIES, help="of the spectra")
    parser.add_argument("-n", type=int, default=500, help="images for the spectra")
    arguments = parser.parse_intermixed_args()
    chosen = [text.split("=")[0] for text in arguments.overrides]
    defaults = {"ckpt": "none", "dataset": "shapes", "suite": "corruptions"}
    overrides = [f"{key}={value}" for key, value in defaults.items() if key not in chosen]
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = resolve(hydra.compose("eval", [*overrides, *arguments.overrides]))
        generators, seed = build(config, "suite").generators, config["seed"]
        split = build_dataset(config).split("test")
        by_number = arguments.image.isdigit()
        if by_number and int(arguments.image) >= len(split):
            raise UserError(f"--image {arguments.image}: the test split has {len(split)} images")
        image = (
            next(split.batches(1, torch.tensor([int(arguments.image)]))).images
            if by_number
            else from_file(Path(arguments.image))
        )
        images = next(split.batches(min(arguments.n, len(split)))).images
    except (UserError, hydra.errors.HydraException) as error:
        sys.exit(f"error: {error}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw_grid(arguments.out / "corruptions.png", generators, image, seed)
    draw_spectra(arguments.out / "spectra.png", generators, images, arguments.severity, seed)
    print(f"wrote corruptions.png and spectra.png in {arguments.out}")


if __name__ == "__main__":
    main()
