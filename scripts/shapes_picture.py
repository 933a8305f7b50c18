"""Draw the embedded data set: `python scripts/shapes_picture.py shapes.png`.

One row per class: training images, test images, and the same test images with another class's amplitude.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fourier_robust.dataset.shapes import Shapes

GAP = 2  # pixels of the data set between two images


def sheet(images: np.ndarray) -> np.ndarray:
    """(rows, columns, H, W, 3) uint8 -> one white-ruled picture (height, width, 3)."""
    edge = ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0))
    padded = np.pad(images, edge, constant_values=255).swapaxes(1, 2)
    rows, height, columns, width, channels = padded.shape
    return padded.reshape(rows * height, columns * width, channels)[:-GAP, :-GAP]


def examples(dataset: Shapes, split: str, columns: int) -> np.ndarray:
    """(K, columns, H, W, 3) uint8: the first images of every class."""
    loaded = dataset.split(split)
    picked = [(loaded.labels == label).nonzero()[:columns, 0] for label in range(dataset.num_classes)]
    pixels = [next(loaded.batches(columns, rows)).images for rows in picked]
    return np.stack([batch.mul(255).round().byte().permute(0, 2, 3, 1).numpy() for batch in pixels])


def draw_picture(path: Path, seed: int, agreement: float, columns: int) -> None:
    """Write the PNG."""
    from matplotlib.figure import Figure

    dataset = Shapes(num_train=1000, num_val=0, num_test=1000, agreement=agreement, seed=seed)
    titles = {"train": "train", "test": "test", "test_swapped": "test_swapped"}
    pitch = dataset.size + GAP
    figure = Figure(figsize=(0.55 * (3 * columns + 1.6), 0.55 * (dataset.num_classes + 0.7)), layout="constrained")
    for axes, (split, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        axes.imshow(sheet(examples(dataset, split, columns)), interpolation="nearest")
        axes.set_title(title, size=10, loc="left")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if split == "train":
            centres = [pitch * row + dataset.size / 2 for row in range(dataset.num_classes)]
            axes.set_yticks(centres, dataset.class_names, size=10)
            axes.tick_params(length=0)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="PNG to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agreement", type=float, default=0.0)
    parser.add_argument("--columns", type=int, default=6, help="images per class and split")
    arguments = parser.parse_args()
    draw_picture(arguments.path, arguments.seed, arguments.agreement, arguments.columns)


if __name__ == "__main__":
    main()
