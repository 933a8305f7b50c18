"""The four noises. Each draws one standard normal or uniform float32 per value and is a fixed map of image and draw."""

from __future__ import annotations

from typing import ClassVar

import torch

from fourier_robust.corruption.base import Params, map_values, parameters, to_greys, truncate

_BUCKETS_PER_SIGMA = 32
_SIGMAS = 7  # float32 normal draws end at 5.8 (CPU) and 6.7 (CUDA) standard deviations


def _normal(shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
    return {"noise": torch.randn(shape, generator=generator, device=generator.device)}


class GaussianNoise:
    """Adds the same Gaussian noise strength to every value: ``x + c z``.

    Computed in the draw's dtype: float32 from `sample`. Given float64 draws the result is the published script's, bit
    for bit.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py,
        make_tinyimagenet_c.py and make_imagenet_c.py.
    Deviates: float32 sums before the truncating cast: one level on 4 values in a million.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.04, 0.06, 0.08, 0.09, 0.10),
        64: (0.04, 0.08, 0.12, 0.15, 0.18),
        224: (0.08, 0.12, 0.18, 0.26, 0.38),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.scale = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"noise": (B,C,H,W) float32 standard normal}."""
        return _normal(shape, generator)

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_values(self._add, images, params["noise"])

    def _add(self, levels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return truncate(to_greys(levels, noise.dtype).add_(noise * self.scale))


class SpeckleNoise:
    """Gaussian noise in proportion to the value: ``x + x c z``, in the draw's dtype as `GaussianNoise`.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `GaussianNoise`.
    Deviates: as `GaussianNoise`.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.06, 0.1, 0.12, 0.16, 0.2),
        64: (0.15, 0.2, 0.25, 0.3, 0.35),
        224: (0.15, 0.2, 0.35, 0.45, 0.6),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.scale = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"noise": (B,C,H,W) float32 standard normal}."""
        return _normal(shape, generator)

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_values(self._add, images, params["noise"])

    def _add(self, levels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        greys = to_greys(levels, noise.dtype)
        return truncate(greys.add_((noise * self.scale).mul_(greys)))


class ImpulseNoise:
    """Salt and pepper on single values: each channel of each pixel turns 255 or 0 with probability c/2 each.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `GaussianNoise`; scikit-image `random_noise(mode="s&p", amount=c)`.
    Deviates: one uniform draw decides flip and colour, where scikit-image takes two draws; the distribution is the
        same. No seed of NumPy fixes the published draw, so this one can be compared by its statistics only.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.01, 0.02, 0.03, 0.05, 0.07),
        64: (0.01, 0.02, 0.05, 0.08, 0.14),
        224: (0.03, 0.06, 0.09, 0.17, 0.27),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.amount = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"uniform": (B,C,H,W) float32 in [0,1)}: pepper below c/2, salt from there to c."""
        return {"uniform": torch.rand(shape, generator=generator, device=generator.device)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_values(self._flip, images, params["uniform"])

    def _flip(self, levels: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        # As bits, because masked_fill costs 5 ns a value: a byte of 1 negated is 255.
        flipped = (uniform < self.amount).view(torch.uint8).neg_()
        pepper = (uniform < self.amount / 2).view(torch.uint8).neg_()
        return levels.bitwise_or_(flipped).bitwise_and_(pepper.bitwise_not_())


class ShotNoise:
    """Photon counting: ``min(Poisson(x c) / c, 1)``.

    The count is the Poisson quantile of the normal draw's probability, found by table: only 256 rates exist, and in a
    bucket of 1/32 standard deviation no count changes twice, so one comparison with the bucket's threshold decides. So
    the draw is the same on every device and for every image content, and the count grows with it.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `GaussianNoise`.
    Deviates: thresholds in float32 (6e-8 relative); a float32 normal draw has no tail beyond 5.8 standard deviations.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (500, 250, 100, 75, 50),
        64: (250, 100, 50, 30, 15),
        224: (60, 25, 12, 5, 3),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.photons = parameters(self.TABLES, size, severity)
        self._tables: dict[torch.device, tuple[torch.Tensor, ...]] = {}

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"noise": (B,C,H,W) float32 standard normal}: Phi(noise) is the quantile of the count."""
        return _normal(shape, generator)

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_values(self._count, images, params["noise"])

    def _count(self, levels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        thresholds, outcomes = self._tables_on(noise.device)
        # Whole numbers below 2**24, so float32 holds them; flat gathers and no torch.where, which costs 5 ns a value.
        half = _SIGMAS * _BUCKETS_PER_SIGMA
        buckets = (noise * _BUCKETS_PER_SIGMA).floor_().clamp_(-half, half - 1)
        index = levels.float().mul_(2 * half).add_(half).add_(buckets).to(torch.int32)
        passed = noise > thresholds.index_select(0, index.flatten()).view(noise.shape)
        return outcomes.index_select(0, index.mul_(2).add_(passed).flatten()).view(noise.shape)

    def _tables_on(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        if device not in self._tables:
            self._tables[device] = tuple(table.to(device) for table in _poisson_tables(self.photons))
        return self._tables[device]


def _poisson_tables(photons: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat over (grey level, bucket of the draw): the threshold; and the levels up to it and above it, in turn."""
    rates = torch.arange(256, dtype=torch.float64)[:, None] / 255 * photons
    counts = torch.arange(int(photons + 10 * photons**0.5 + 20), dtype=torch.float64)
    # The normal quantile of the CDF, from whichever tail is the smaller: 1 - 1e-20 is not a float64.
    lower = torch.special.ndtri(torch.special.gammaincc(counts + 1, rates))
    upper = -torch.special.ndtri(torch.special.gammainc(counts + 1, rates))
    steps = torch.where(lower < 0, lower, upper)
    edges = torch.arange(-_SIGMAS * _BUCKETS_PER_SIGMA, _SIGMAS * _BUCKETS_PER_SIGMA, dtype=torch.float64)
    first = torch.searchsorted(steps, (edges / _BUCKETS_PER_SIGMA).expand(256, -1).contiguous())
    levels = truncate(torch.arange(len(counts) + 1, dtype=torch.float64) / photons)
    return steps.gather(1, first).float().flatten(), torch.stack((levels[first], levels[first + 1]), -1).flatten()
