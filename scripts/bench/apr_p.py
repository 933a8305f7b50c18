"""APR-P's recombination against the published arithmetic, side by side: `python scripts/bench/apr_p.py --threads 1`.

Rows: `published` is the formula as released (two complex 3-D FFTs, abs, angle, exp, one complex inverse); `partner` is
`recombine_partner` (what APR-P calls), `pairs` is `recombine` (what APR-S calls); `fft` is one rfft2 + irfft2.
Prints the ratio of the published CPU time to each, and the batch's relative L2 error against float64.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from timing import compare

from fourier_robust.fourier.recombine import recombine, recombine_partner

SIZES = ((128, 32), (1024, 32), (16, 224), (64, 224))


def published(images: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    """The released code's arithmetic in the dtype of its input."""
    own = torch.fft.fftn(images, dim=(1, 2, 3))
    other = torch.fft.fftn(images[partner], dim=(1, 2, 3))
    return torch.fft.ifftn(other.abs() * torch.exp(1j * own.angle()), dim=(1, 2, 3)).real


def fft_floor(images: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    """One 2-D real transform there and back."""
    return torch.fft.irfft2(torch.fft.rfft2(images), s=images.shape[-2:])


def natural_like(batch: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """(B,3,size,size) float32 in [0,1] with a 1/f amplitude spectrum."""
    spectrum = torch.fft.rfft2(torch.randn(batch, 3, size, size, generator=generator))
    radius = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]).clamp_min_(1 / size)
    images = torch.fft.irfft2(spectrum / radius, s=(size, size))
    images /= images.std(dim=(1, 2, 3), keepdim=True)
    return images.mul_(0.25).add_(0.47).clamp_(0, 1)


def relative_error(images: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative L2 distance of a whole batch."""
    return float((images.double() - exact).norm() / exact.norm())


def main() -> None:
    """Measure and print one block per batch size and image size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for batch, size in SIZES:
        generator = torch.Generator().manual_seed(0)
        images = natural_like(batch, size, generator)
        partner = torch.randperm(batch, generator=generator)
        forms: dict[str, Callable[[], torch.Tensor]] = {
            "published": lambda x=images, j=partner: published(x, j),
            "pairs": lambda x=images, j=partner: recombine(x, x[j]),
            "partner": lambda x=images, j=partner: recombine_partner(x, j),
            "partner, separate": lambda x=images, j=partner: recombine_partner(x, j, "separate"),
            "fft": lambda x=images, j=partner: fft_floor(x, j),
        }
        exact = published(images.double(), partner)
        seconds = compare(forms, arguments.rounds)
        print(f"{batch} x 3 x {size} x {size}")
        for name, value in seconds.items():
            error = (
                f"   error {relative_error(forms[name](), exact):.1e}"
                if name in ("published", "pairs", "partner")
                else ""
            )
            print(f"  {name:18} {seconds['published'] / value:6.2f} x   {batch / value:9.0f} images/s{error}")


if __name__ == "__main__":
    main()
