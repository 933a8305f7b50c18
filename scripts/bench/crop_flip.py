"""Random crop and flip of a batch against torchvision's transforms image by image.

    python scripts/bench/crop_flip.py --threads 1 --rounds 7

Both start from uint8 images in memory and end at a float32 batch in [0,1]. Prints images per CPU second and the ratio.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from PIL import Image
from timing import compare
from torchvision import transforms

from fourier_robust.aug.standard import CropFlip
from fourier_robust.engine.process import keep_big_blocks

SIZES = ((32, 128), (32, 512), (224, 32))  # pixels, images


def main() -> None:
    """Measure at 32 and 224 pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_big_blocks()  # as fr-train does on a CPU
    step, generator = CropFlip(), torch.Generator().manual_seed(0)
    for size, count in SIZES:
        store = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
        loader = transforms.Compose(
            [transforms.RandomCrop(size, 4, fill=128), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

        def convert(store: torch.Tensor = store) -> torch.Tensor:
            return store.permute(0, 3, 1, 2).float().div_(255)

        def one_by_one(store: torch.Tensor = store, loader: transforms.Compose = loader) -> torch.Tensor:
            return torch.stack([loader(Image.fromarray(image)) for image in store.numpy()])

        def batched(shape: tuple[int, int, int, int] = (count, 3, size, size)) -> torch.Tensor:
            return step.apply(convert(), step.sample(shape, generator))

        functions: dict[str, Callable[[], torch.Tensor]] = {
            "one": one_by_one,
            "batch": batched,
            "conversion": convert,
        }
        seconds = compare(functions, arguments.rounds, min_seconds=0.1)
        own = seconds["batch"] - seconds["conversion"]
        print(
            f"{size} px, batch {count}: one by one {count / seconds['one']:.0f} images/s, "
            f"batched {count / seconds['batch']:.0f}, ratio {seconds['one'] / seconds['batch']:.1f}; "
            f"crop and flip alone {own / count * 1e6:.1f} us per image"
        )


if __name__ == "__main__":
    main()
