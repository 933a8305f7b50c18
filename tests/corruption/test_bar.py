"""The C-bar corruptions: each against its definition image by image, the distribution of its draws, the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from corruption.kinds import from_levels, to_array
from reference.bar import REFERENCE, SEVERITIES
from reference.corruptions import varied_images
from support import compose_config

from fourier_robust.corruption import bar_distortion, bar_obscure, bar_spectral, bar_spline, bar_texture
from fourier_robust.corruption.seeded import corrupt, image_seeds

KINDS: dict[str, Any] = {
    "blue_noise_sample": bar_spectral.BlueNoiseSample,
    "brownish_noise": bar_spectral.BrownishNoise,
    "checkerboard_cutout": bar_obscure.CheckerboardCutout,
    "circular_motion_blur": bar_spline.CircularMotionBlur,
    "inverse_sparkles": bar_obscure.InverseSparkles,
    "lines": bar_obscure.Lines,
    "pinch_and_twirl": bar_distortion.PinchAndTwirl,
    "ripple": bar_distortion.Ripple,
    "sparkles": bar_obscure.Sparkles,
    "transverse_chromatic_abberation": bar_spline.TransverseChromaticAbberation,
    "caustic_refraction": bar_distortion.CausticRefraction,
    "cocentric_sine_waves": bar_spectral.CocentricSineWaves,
    "perlin_noise": bar_texture.PerlinNoise,
    "plasma_noise": bar_texture.PlasmaNoise,
    "single_frequency_greyscale": bar_spectral.SingleFrequencyGreyscale,
}
CIFAR, IMAGENET = ({name for name, tables in SEVERITIES.items() if size in tables} for size in (32, 224))
LEVELS = varied_images()[[0, 1, 2, 85, 103, 120, 151, 153, 165, 166, 167]]  # smooth, noise, flat, halves
IMAGES = from_levels(LEVELS)
SHAPE = tuple(IMAGES.shape)
EACH = pytest.mark.parametrize("name", KINDS)
MANY = (4000, 3, 32, 32)


def build(name: str, severity: int) -> Any:
    """With the benchmark's table: CIFAR-10-C-bar's where it has the corruption, else ImageNet-C-bar's."""
    return KINDS[name](severity, size=min(SEVERITIES[name]))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def expected(name: str, severity: float, levels: np.ndarray, params: dict[str, torch.Tensor]) -> np.ndarray:
    rows = ({key: value[row].numpy() for key, value in params.items()} for row in range(len(levels)))
    return np.stack([REFERENCE[name](image, severity, draws) for image, draws in zip(levels, rows, strict=True)])


def test_the_benchmarks_have_ten_each() -> None:
    assert (len(CIFAR), len(IMAGENET)) == (10, 10)
    assert list(KINDS) == list(SEVERITIES)
    assert {name: dict(KINDS[name].TABLES) for name in KINDS} == SEVERITIES
    assert all(tuple(sorted(table)) == table for tables in SEVERITIES.values() for table in tables.values())


@pytest.mark.parametrize("shape", [(32, 32), (24, 40), (33, 33), (16, 41)])
@EACH
def test_same_draw_same_image(name: str, shape: tuple[int, int]) -> None:
    """Equal at all five severities; in ripple's flat areas a sine's last bit can turn into a level: 1 value in 1000."""
    levels = np.ascontiguousarray(np.tile(LEVELS, (1, 2, 2, 1))[:, : shape[0], : shape[1]])
    size = min(SEVERITIES[name])
    found, wanted = [], []
    for severity in range(1, 6):
        corruption, part = build(name, severity), levels[severity - 1 :: 2]
        params = corruption.sample((len(part), 3, *shape), seeded(severity))
        found.append(to_array(corruption.apply(from_levels(part), params)).astype(int))
        wanted.append(expected(name, SEVERITIES[name][size][severity - 1], part, params))
    apart = np.abs(np.concatenate(found) - np.concatenate(wanted))
    assert apart.max() <= (name == "ripple")
    assert (apart > 0).mean() <= 1e-3


@pytest.mark.parametrize("name", sorted(IMAGENET - {"caustic_refraction", "perlin_noise", "plasma_noise", "sparkles"}))
def test_same_draw_same_image_at_224(name: str) -> None:
    """Not those whose reference takes several seconds an image."""
    levels = np.random.default_rng(4).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
    corruption = KINDS[name](3, size=224)
    params = corruption.sample((1, 3, 224, 224), seeded(9))
    found = to_array(corruption.apply(from_levels(levels), params))
    assert np.array_equal(found, expected(name, SEVERITIES[name][224][2], levels, params))


@EACH
def test_replay_range_grid_and_untouched_input(name: str, generator: torch.Generator) -> None:
    corruption = build(name, 4)
    params = corruption.sample(SHAPE, generator)
    images, kept = IMAGES.clone(), {key: value.clone() for key, value in params.items()}
    first, second = corruption.apply(images, params), corruption.apply(images, params)
    assert torch.equal(first, second)
    assert torch.equal(images, IMAGES)
    assert all(torch.equal(params[key], kept[key]) for key in kept)
    assert all(len(value) == len(IMAGES) for value in params.values())
    assert first.shape == images.shape
    to_array(first)  # on the grid k/255
    assert (first.min() >= 0) & (first.max() <= 1)
    again = corruption.sample(SHAPE, seeded())
    assert all(torch.equal(again[key], params[key]) for key in params)


@EACH
def test_rows_are_independent_of_batch_and_memory_format(name: str, generator: torch.Generator) -> None:
    corruption = build(name, 3)
    params = corruption.sample(SHAPE, generator)
    whole = corruption.apply(IMAGES, params)
    for row in (0, 4, 10):
        alone = corruption.apply(IMAGES[row : row + 1], {key: value[row : row + 1] for key, value in params.items()})
        assert torch.equal(alone, whole[row : row + 1])
    assert torch.equal(corruption.apply(IMAGES.contiguous(memory_format=torch.channels_last), params), whole)
    many = {key: torch.cat([value] * 4) for key, value in params.items()}
    assert torch.equal(corruption.apply(torch.cat([IMAGES] * 4), many), torch.cat([whole] * 4))  # several pieces
    none = corruption.sample((0, *SHAPE[1:]), generator)
    assert corruption.apply(IMAGES[:0], none).shape == (0, *SHAPE[1:])


@EACH
def test_inputs_off_the_grid_are_read_as_eight_bit(name: str, generator: torch.Generator) -> None:
    corruption = build(name, 2)
    params = corruption.sample(SHAPE, generator)
    off = (IMAGES + 0.4 / 255).clamp(0, 1)
    assert torch.equal(corruption.apply(off, params), corruption.apply(IMAGES, params))


@EACH
def test_seeded_draws_do_not_depend_on_batch_or_order(name: str) -> None:
    corruption = build(name, 3)
    index = torch.arange(len(IMAGES))
    whole = corrupt(corruption, IMAGES, image_seeds(11, index))
    shuffled = torch.randperm(len(IMAGES), generator=seeded(1))
    assert torch.equal(corrupt(corruption, IMAGES[shuffled], image_seeds(11, shuffled)), whole[shuffled])
    other = corrupt(corruption, IMAGES, image_seeds(12, index))
    assert torch.equal(other, whole) == (name == "circular_motion_blur")


@EACH
def test_change_grows_with_severity(name: str) -> None:
    """The same draws at every severity (lines: more of them), on smooth images."""
    images = from_levels(varied_images()[:40])
    change = []
    for severity in range(1, 6):
        corruption = build(name, severity)
        params = corruption.sample(tuple(images.shape), seeded(5))
        change.append(float((corruption.apply(images, params) - images).abs().mean()))
    assert all(np.diff(change) > 0), change


@EACH
@pytest.mark.parametrize("severity", [0, 6])
def test_severity_is_checked(name: str, severity: int) -> None:
    with pytest.raises(ValueError, match=rf"severity={severity}: must be 1, 2, 3, 4 or 5"):
        KINDS[name](severity)


@pytest.mark.gpu
@EACH
def test_equal_on_a_gpu(name: str, generator: torch.Generator) -> None:
    """The GPU's sines and exponents differ in the last bit, which a flat area's cut can turn into a level."""
    corruption = build(name, 4)
    params = corruption.sample(SHAPE, generator)
    apart = (corruption.apply(IMAGES.cuda(), params).cpu() - corruption.apply(IMAGES, params)).mul(255).round().abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() <= 2e-3
    drawn = corruption.sample(SHAPE, torch.Generator("cuda"))
    assert all(value.is_cuda for value in drawn.values())
    assert corruption.apply(IMAGES.cuda(), drawn).is_cuda


@pytest.mark.parametrize(("name", "power"), [("blue_noise_sample", 1), ("brownish_noise", -2)])
def test_spectral_noise_has_its_power(name: str, power: int) -> None:
    """Power by frequency over that of the definition is the same everywhere; the field's deviation is 1.

    Taking the real part halves the power of each frequency on average, but for the middle ones, and the field is then
    divided by its own deviation; so the ratio is flat, within the sampling error of its bins.
    """
    phases = bar_spectral._phases((3000, 32, 32), seeded(2))
    y, x = np.mgrid[:32, :32] - 16
    size = np.hypot(y, x) if power == 1 else 1 / (y**2 + x**2 + 1)
    field = bar_spectral._field(torch.from_numpy(size), phases).numpy()
    assert np.allclose(field.std((1, 2)), 1)
    found = np.fft.fftshift((np.abs(np.fft.fft2(field)) ** 2).mean(0))
    radius = np.rint(np.hypot(y, x)).astype(int)
    ratio = np.array([found[radius == r].sum() / (size[radius == r] ** 2).sum() for r in range(2, 15)])
    assert np.allclose(ratio / ratio[6:].mean(), 1, atol=0.12 if power == -2 else 0.05)


def test_single_frequency_is_drawn_larger_component_first() -> None:
    params = build("single_frequency_greyscale", 1).sample(MANY, seeded(1))
    size = params["frequency"].abs() / np.pi
    larger, smaller = size.amax(1), size.amin(1)
    error = 4 / 12**0.5 / len(size) ** 0.5
    assert float(larger.mean()) == pytest.approx(1 / 2, abs=error)
    assert float((smaller / larger).mean()) == pytest.approx(1 / 2, abs=error)
    assert float((size[:, 0] > size[:, 1]).double().mean()) == pytest.approx(1 / 2, abs=2 / len(size) ** 0.5)
    assert float((params["frequency"] > 0).double().mean()) == pytest.approx(1 / 2, abs=2 / len(size) ** 0.5)


def test_channels_and_turns_are_drawn_evenly() -> None:
    channels = build("transverse_chromatic_abberation", 1).sample(MANY, seeded(1))["channels"]
    _, counts = (channels * torch.tensor([9, 3, 1])).sum(1).unique(return_counts=True)
    assert counts.tolist() == pytest.approx([MANY[0] / 6] * 6, abs=4 * (MANY[0] * 5 / 36) ** 0.5)
    assert torch.equal(channels.sort(1).values, torch.arange(3).expand(MANY[0], 3))
    turns = build("pinch_and_twirl", 1).sample(MANY, seeded(1))["turns"]
    assert turns.shape == (MANY[0], 3, 3)
    assert set(turns.unique().tolist()) == {-1.0, 1.0}
    assert turns.mean(0).abs().max() < 4 / MANY[0] ** 0.5
    assert build("pinch_and_twirl", 1).sample((1, 3, 224, 224), seeded())["turns"].shape == (1, 5, 5)


@pytest.mark.parametrize(("severity", "number"), [(1, 1), (2, 3), (3, 4), (4, 6), (5, 8)])
def test_lines_at_32_pixels(severity: int, number: int) -> None:
    """Their angles differ by up to half of 0.1 to 1 turns from the image's own, uniform in range and in place."""
    params = build("lines", severity).sample(MANY, seeded(3))
    assert params["angle"].shape == (MANY[0], number)
    if number > 1:
        spread = (params["angle"] - params["angle"].mean(1, keepdim=True)).square().sum(1) / (number - 1)
        mean_square = (1 - 0.1**3) / (3 * 0.9)  # of the range, in turns
        assert float(spread.mean()) == pytest.approx((2 * np.pi) ** 2 / 12 * mean_square, rel=0.1)
    assert params["middle"].mean((0, 1)).tolist() == pytest.approx([16, 16], abs=4 * 32 / (12 * MANY[0]) ** 0.5)


@pytest.mark.parametrize("size", [32, 224])
def test_checkerboard_covers_its_share(size: int) -> None:
    """Half of the squares have the right colour, and a share of severity/10 of them is covered: 3/20 at 32 px."""
    images = torch.ones(1500, 3, 32, 32)
    corruption = KINDS["checkerboard_cutout"](3, size)
    out = corruption.apply(images, corruption.sample(tuple(images.shape), seeded(1)))
    covered = (out != 1).double().mean((1, 2, 3))
    assert set(out.mul(255).round().unique().tolist()) == {128.0, 255.0}
    share = SEVERITIES["checkerboard_cutout"][size][2] / 20
    assert float(covered.mean()) == pytest.approx(share, abs=4 * float(covered.std()) / len(covered) ** 0.5)


def test_stars_have_50_to_199_rays_and_normal_lengths() -> None:
    params = build("sparkles", 2).sample(MANY, seeded(1))
    assert (int(params["rays"].min()), int(params["rays"].max())) == (50, 199)
    assert float(params["rays"].double().mean()) == pytest.approx(124.5, abs=4 * 43.3 / (5 * MANY[0]) ** 0.5)
    assert float(params["lengths"].mean()) == pytest.approx(0, abs=4 / params["lengths"].numel() ** 0.5)
    assert float(params["lengths"].std()) == pytest.approx(1, abs=4 / (2 * params["lengths"].numel()) ** 0.5)
    center = build("inverse_sparkles", 2).sample(MANY, seeded(1))["center"]
    assert 8 <= float(center.min()) < 8.1 < 23.9 < float(center.max()) < 24


def test_perlin_shuffle_is_the_published_one() -> None:
    """Swaps of every place with any other, last place first: the mean of what ends at a place, by an exact recursion.

    A uniform shuffle would put any number at the first place with probability 1/256; this one does not.
    """
    swaps = build("perlin_noise", 1).sample((20_000, 3, 16, 16), seeded(1))["swaps"]
    places = bar_texture._shuffled(swaps).double()
    assert torch.equal(places.sort(1).values, torch.arange(256.0, dtype=torch.float64).expand(len(places), -1))
    mean = np.arange(256.0)  # expected content of each place
    for place in range(255, -1, -1):
        here, everywhere = mean[place], mean.mean()
        mean = mean * 255 / 256 + here / 256
        mean[place] = everywhere
    assert np.abs(places.mean(0).numpy() - mean).max() < 5 * 256 / (12 * len(places)) ** 0.5
    assert mean.max() - mean.min() > 10


def test_a_zero_perlin_gradient_blackens_its_cells() -> None:
    corruption = build("perlin_noise", 1)
    params = corruption.sample((1, 3, 32, 32), seeded(1))
    params["gradients"][0, ::16] = 0
    out = corruption.apply(torch.ones(1, 3, 32, 32), params)
    assert (out == 0).any()
    assert (out[out > 0] > 0.5).all()


def test_every_corruption_is_in_the_suite() -> None:
    config, _ = compose_config("eval", "ckpt=none", "suite=corruptions_bar")
    generators = config["suite"]["generators"]
    assert list(generators) == list(KINDS)
    targets = {name: f"{kind.__module__}.{kind.__qualname__}" for name, kind in KINDS.items()}
    assert {name: generator["_target_"] for name, generator in generators.items()} == targets
