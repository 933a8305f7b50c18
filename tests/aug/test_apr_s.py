"""APR-S against the per-image PIL and NumPy derivation, and its random choices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference import pil_ops
from reference.apr import JOINT, SEPARATE, recombine_reference

from fourier_robust.aug import image_ops
from fourier_robust.aug.apr_s import APRS
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.image_ops import OPERATIONS, Draw

# Grey levels that float32 and float64 FFTs may differ by; the largest difference seen in 3000 images is 0.001.
TOLERANCE = 0.02


def photographs(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(count,3,H,W) float32 on the grid k/255: 1/f noise in related colours, over all of the range."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, height, width, generator=generator, dtype=torch.float64)
    noise[:, 1:] += noise[:, :1]
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]).double()
    radius[0, 0] = torch.inf
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) / radius, s=(height, width))
    grey = (smooth / smooth.std((2, 3), keepdim=True) * 60 + 120).clamp(0, 255).round()
    return grey.float().div_(255)


def levels_by_hand(images: torch.Tensor, params: dict[str, Any], dims: tuple[int, ...]) -> np.ndarray:
    """Float64 levels (B,C,H,W) before the last step, image by image."""
    result = []
    for index, image in enumerate(np.rint(images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)):
        first, second = (
            (OPERATIONS[int(draw.operation[index])], draw.value[index].item())
            for draw in (params["first"], params["second"])
        )
        phase = bool(params["first_gives_phase"][index])
        levels = pil_ops.apr_s_levels(image, first, second if params["mixed"][index] else None, phase, dims)
        result.append(levels.transpose(2, 0, 1))
    return np.stack(result)


def phase_is_clear(images: torch.Tensor, params: dict[str, Any], dims: tuple[int, ...]) -> np.ndarray:
    """(B,) bool: whether no bin of the phase's owner is rounding noise, whose phase an FFT library makes up.

    In float32 the noise is about 1e-7 of the largest bin, and the processor decides; a posterized image has such bins.
    """
    clear = []
    for index, image in enumerate(np.rint(images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)):
        first, second = (
            (OPERATIONS[int(draw.operation[index])], draw.value[index].item())
            for draw in (params["first"], params["second"])
        )
        once = pil_ops.operate(image, *first)
        owner = once if params["first_gives_phase"][index] else pil_ops.operate(once, *second)
        spectrum = np.abs(np.fft.fftn(owner.transpose(2, 0, 1)[None] / 255, axes=dims))
        clear.append(not params["mixed"][index] or spectrum.min() > 1e-5)
    return np.array(clear)


def assert_same_levels(ours: torch.Tensor, levels: np.ndarray, compat: str) -> None:
    """Equal, but for levels so close to where the last step jumps that an FFT's rounding decides: there one apart."""
    ours = torch.round(ours * 255).numpy()
    expected = pil_ops.to_bytes(levels, compat).astype(np.float64)
    jump = levels if compat == "upstream" else levels - 0.5
    close = np.abs(jump - np.rint(jump)) < TOLERANCE
    np.testing.assert_array_equal(ours[~close], expected[~close])
    apart = np.abs(ours - expected)[close]
    assert np.minimum(apart, 256 - apart).max(initial=0) <= 1
    chance = np.abs(levels - np.rint(levels)) > 1e-6  # where op2 changes nothing, every level is whole
    assert close[chance].mean() < 2 * 2 * TOLERANCE


@pytest.mark.parametrize("compat", ["clean", "upstream"])
@pytest.mark.parametrize(("channels", "dims"), [("joint", JOINT), ("separate", SEPARATE)])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 27)])
def test_equals_the_reference(
    compat: Any, channels: Any, dims: tuple[int, ...], height: int, width: int, generator: torch.Generator
) -> None:
    images = photographs(96, height, width)
    step = APRS(channels=channels, compat=compat)
    params = step.sample(tuple(images.shape), generator)
    drawn = {(bool(m), bool(f)) for m, f in zip(params["mixed"], params["first_gives_phase"], strict=True)}
    assert len(drawn) == 4  # both branches, both owners of the phase
    ours, levels = step.apply(images, params), levels_by_hand(images, params, dims)
    clear = phase_is_clear(images, params, dims)
    assert clear.mean() > 0.9
    assert_same_levels(ours[torch.from_numpy(clear)], levels[clear], compat)


def test_modes_differ_by_the_wrap_only(generator: torch.Generator) -> None:
    images = photographs(256, 32, 32)
    params = APRS(p=1).sample(tuple(images.shape), generator)
    clean, upstream = (APRS(p=1, compat=compat).apply(images, params) for compat in ("clean", "upstream"))
    levels = torch.from_numpy(levels_by_hand(images, params, JOINT))
    outside = (levels < -1.1) | (levels > 256.1)
    assert 0.005 < outside.double().mean() < 0.15
    assert ((clean - upstream).abs()[~outside & ((levels > 1) & (levels < 255))] * 255).max() < 1.1
    assert ((clean - upstream).abs()[outside] * 255 > 100).double().mean() > 0.9


def test_without_mixing_it_is_one_operation(generator: torch.Generator) -> None:
    images = photographs(64, 32, 32)
    params = APRS(p=0).sample(tuple(images.shape), generator)
    expected = levels_by_hand(images, params, JOINT)
    assert torch.equal(APRS(p=0).apply(images, params), torch.from_numpy(expected).float().div_(255))


@pytest.mark.parametrize("compat", ["clean", "upstream"])
def test_output_is_on_the_grey_grid(compat: Any, generator: torch.Generator) -> None:
    images = photographs(128, 32, 32)
    step = APRS(p=1, compat=compat)
    ours = step.apply(images, step.sample(tuple(images.shape), generator))
    assert ours.dtype == torch.float32
    assert torch.equal(ours, torch.arange(256).float().div_(255)[torch.round(ours * 255).long()])


def test_normalised_space_recombines_normalised_values(generator: torch.Generator) -> None:
    images = photographs(32, 16, 16)
    mean, std = (0.49, 0.48, 0.45), (0.2, 0.3, 0.25)
    step = APRS(p=1, space="normalised", mean=mean, std=std)
    params = step.sample(tuple(images.shape), generator)
    once = image_ops.apply_operations((images * 255).round().to(torch.uint8), params["first"])
    twice = image_ops.apply_operations(once, params["second"])
    shift, scale = (np.array(values)[:, None, None] for values in (mean, std))
    pair = [(view.double().numpy() / 255 - shift) / scale for view in (once, twice)]
    swap = params["first_gives_phase"].numpy()[:, None, None, None]
    mixed = recombine_reference(np.where(swap, *pair), np.where(swap, *pair[::-1]))
    assert_same_levels(step.apply(images, params), (mixed * scale + shift) * 255, "clean")


def test_share_of_each_branch(generator: torch.Generator) -> None:
    count = 40_000
    params = APRS(p=0.3, apply_p=0.9).sample((count, 3, 32, 32), generator)
    for name, share in (("applied", 0.9), ("mixed", 0.3), ("first_gives_phase", 0.5)):
        assert params[name].double().mean().item() == pytest.approx(share, abs=0.0125)  # five standard deviations
    both = (params["mixed"] & params["applied"]).double().mean().item()
    assert both == pytest.approx(0.27, abs=0.0125)


def test_untouched_images_are_returned_bit_for_bit(generator: torch.Generator) -> None:
    images = torch.rand(64, 3, 12, 12, generator=generator)  # off the grey grid
    step = APRS(apply_p=0.5)
    params = step.sample(tuple(images.shape), generator)
    ours = step.apply(images, params)
    assert torch.equal(ours[~params["applied"]], images[~params["applied"]])
    assert not torch.equal(ours[params["applied"]], images[params["applied"]])
    nobody = APRS(apply_p=0)
    assert torch.equal(nobody.apply(images, nobody.sample(tuple(images.shape), generator)), images)


def test_input_batch_layout_and_slicing_change_nothing(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photographs(40, 16, 16)
    before = images.clone()
    step = APRS()
    params = step.sample(tuple(images.shape), generator)
    whole = step.apply(images, params)
    assert torch.equal(images, before)
    assert torch.equal(step.apply(images.contiguous(memory_format=torch.channels_last), params), whole)
    monkeypatch.setattr(image_ops, "_CACHE_VALUES", 7 * images[0].numel())
    assert torch.equal(step.apply(images, params), whole)
    for index in range(len(images)):
        one = slice(index, index + 1)
        alone = {name: v.at(one) if isinstance(v, Draw) else v[one] for name, v in params.items()}
        assert torch.equal(step.apply(images[one], alone), whole[one])


def test_a_draw_replays_and_labels_stay() -> None:
    images, labels = photographs(16, 32, 32), torch.arange(16)
    chain = Chain(single=APRS())
    views = [
        chain.apply(images, labels, chain.sample(tuple(images.shape), torch.Generator().manual_seed(3)))
        for _ in range(2)
    ]
    assert torch.equal(views[0].images, views[1].images)
    assert torch.equal(views[0].targets, labels[None])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"p": 1.1}, "p"),
        ({"apply_p": -0.1}, "apply_p"),
        ({"magnitude": 0}, "magnitude"),
        ({"magnitude": 11}, "magnitude"),
        ({"channels": "2d"}, "channels"),
        ({"compat": "wrap"}, "compat"),
        ({"space": "normalised"}, "mean"),
        ({"space": "normalised", "mean": (0.5,), "std": (0.0,)}, "std"),
        ({"space": "normalised", "mean": (0.5,) * 3, "std": (0.5,)}, "std"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named} "):
        APRS(**arguments)


@pytest.mark.gpu
def test_the_gpu_agrees(generator: torch.Generator) -> None:
    images = photographs(64, 32, 32)
    step = APRS()
    params = step.sample(tuple(images.shape), generator)
    assert_same_levels(step.apply(images.cuda(), params).cpu(), levels_by_hand(images, params, JOINT), "clean")
