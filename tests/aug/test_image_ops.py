"""The nine operations against PIL, and the laws of their parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import pil_ops

from fourier_robust.aug.image_ops import OPERATIONS, Draw, apply_operations, cache_slices, sample_operations

SIZES = [(32, 32), (20, 31), (56, 40), (5, 7)]
# Slopes as drawn. A round one makes many values whole in theory and, by chance of rounding, one less in PIL.
SHEARS = tuple(sign * level * 0.0300000017 for sign in (1, -1) for level in (0.1, 0.7391, 1.5927, 3, 9.8765))
VALUES = {
    "autocontrast": (0,),
    "equalize": (0,),
    "posterize": tuple(range(1, 9)),
    "solarize": (1, 2, 128, 180, 217, 254, 255),
    "rotate": (0, 1, -1, 5, -8, 8, 17, -29),
    "shear_x": SHEARS,
    "shear_y": SHEARS,
    "translate_x": (0, 1, -1, 2, -3, 3),
    "translate_y": (0, 1, -1, 2, -3, 3),
}
# What AugMix's truncations reach at magnitude 3 and 32 pixels, and the share of the first value: how much of [0.1, 3),
# where the level is uniform, leads to it.
LAWS = {
    "posterize": ([3, 4], (3 - 2.5) / 2.9),
    "solarize": (list(range(180, 255)), (3 - 76 / 25.6) / 2.9),
    "rotate": (list(range(-8, 9)), (3 - 8 / 3) / 2.9 / 2),
    "translate_x": (list(range(-3, 4)), (3 - 3 / (32 / 30)) / 2.9 / 2),
    "translate_y": (list(range(-3, 4)), (3 - 3 / (32 / 30)) / 2.9 / 2),
}


def pictures(height: int, width: int, count: int = 12, seed: int = 0) -> np.ndarray:
    """(5 * count,H,W,3) uint8: noise, 1/f noise, few colours, narrow ranges, and single colours."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, height, width, 3))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    radius[0, 0] = np.inf
    smooth = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(count, 3, height, width))) / radius, s=(height, width))
    smooth = np.clip(smooth / smooth.std(axis=(2, 3), keepdims=True) * 60 + 128, 0, 255).transpose(0, 2, 3, 1)
    few = rng.integers(0, 256, (count, 1, 1, 3)) // 64 * 60 + rng.integers(0, 2, noise.shape) * 15
    narrow = rng.integers(0, 200, (count, 1, 1, 3)) + noise // rng.integers(6, 40, (count, 1, 1, 3))
    flat = np.broadcast_to(rng.integers(0, 256, (count, 1, 1, 3)), noise.shape)
    return np.concatenate([noise, smooth, few, narrow, flat]).astype(np.uint8)


def batched(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_equals_pil_on_every_pixel(name: str, height: int, width: int) -> None:
    images = pictures(height, width)
    for value in VALUES[name]:
        draw = Draw(
            torch.full((len(images),), OPERATIONS.index(name)), torch.full((len(images),), float(value)).double()
        )
        ours = apply_operations(batched(images), draw).permute(0, 2, 3, 1).numpy()
        expected = np.stack([pil_ops.operate(image, name, value) for image in images])
        np.testing.assert_array_equal(ours, expected, err_msg=f"{name} {value}")


@pytest.mark.parametrize("slope", [0.003, 0.25, -0.03, 0.0625])
def test_round_slopes_are_one_level_off_at_most(slope: float) -> None:
    images = pictures(32, 24)
    for name in ("shear_x", "shear_y"):
        draw = Draw(torch.full((len(images),), OPERATIONS.index(name)), torch.full((len(images),), slope).double())
        ours = apply_operations(batched(images), draw).permute(0, 2, 3, 1).numpy().astype(int)
        apart = np.abs(ours - np.stack([pil_ops.operate(image, name, slope) for image in images]))
        assert apart.max() <= 1
        assert apart.mean() < 0.05


@pytest.mark.parametrize("magnitude", [0.2, 3.0, 10.0])
def test_mixed_batch_equals_pil(magnitude: float, generator: torch.Generator) -> None:
    images = np.concatenate([pictures(32, 24, 40, seed) for seed in range(3)])
    before = batched(images)
    draw = sample_operations((len(images), 3, 32, 24), magnitude, generator)
    given = before.clone()
    ours = apply_operations(given, draw)
    assert torch.equal(given, before)
    assert len(draw.operation.unique()) == len(OPERATIONS)
    for index, image in enumerate(images):
        name = OPERATIONS[int(draw.operation[index])]
        expected = pil_ops.operate(image, name, draw.value[index].item())
        np.testing.assert_array_equal(ours[index].permute(1, 2, 0).numpy(), expected, err_msg=name)


def test_an_image_does_not_depend_on_its_batch(generator: torch.Generator) -> None:
    images = batched(pictures(16, 16))
    draw = sample_operations(tuple(images.shape), 3.0, generator)
    together = apply_operations(images, draw)
    for index in range(len(images)):
        one = slice(index, index + 1)
        assert torch.equal(apply_operations(images[one], draw.at(one)), together[one])


def test_realised_parameters_follow_the_laws_of_augmix(generator: torch.Generator) -> None:
    count = 200_000
    draw = sample_operations((count, 3, 32, 32), 3.0, generator)
    for index, name in enumerate(OPERATIONS):
        values = draw.value[draw.operation == index].numpy()
        assert len(values) / count == pytest.approx(1 / 9, abs=0.004)  # five standard deviations
        if name in LAWS:
            reached, share = LAWS[name]
            assert sorted(set(values.tolist())) == reached
            assert (values == reached[0]).mean() == pytest.approx(share, abs=0.013)
        elif name.startswith("shear"):
            assert abs(values).min() >= 0.003
            assert abs(values).max() < 0.09
            assert abs(values).mean() == pytest.approx(0.03 * 1.55, abs=0.001)
            assert (values > 0).mean() == pytest.approx(0.5, abs=0.02)
        else:
            assert not values.any()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (32, 96)])
def test_parameters_are_those_of_the_reference_law(height: int, width: int, generator: torch.Generator) -> None:
    draw = sample_operations((60_000, 3, height, width), 3.0, generator)
    for index, name in enumerate(OPERATIONS):
        if name.startswith("shear"):
            continue
        levels = np.linspace(0.1, 3, 20_001)[:-1]
        reached = {pil_ops.parameter(name, level, sign, height, width) for level in levels for sign in (True, False)}
        assert set(draw.value[draw.operation == index].tolist()) == reached


def test_draws_replay() -> None:
    one, two = (sample_operations((64, 3, 32, 32), 3.0, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one.operation, two.operation)
    assert torch.equal(one.value, two.value)


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (1, 3, 8, 8), (1000, 3, 32, 32), (7, 3, 900, 900)])
def test_slices_cover_the_batch_once(shape: tuple[int, int, int, int]) -> None:
    covered = [row for part in cache_slices(torch.empty(shape)) for row in range(shape[0])[part]]
    assert covered == list(range(shape[0]))


@pytest.mark.gpu
def test_the_gpu_agrees(generator: torch.Generator) -> None:
    images = batched(pictures(32, 32))
    draw = sample_operations(tuple(images.shape), 3.0, generator)
    assert torch.equal(apply_operations(images.cuda(), draw).cpu(), apply_operations(images, draw))
