"""Recombination against the complex float64 definition, and what must hold whatever the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.apr import JOINT, SEPARATE, apr_p_reference, recombine_reference

from fourier_robust.fourier import recombine as module
from fourier_robust.fourier.recombine import recombine, recombine_partner

DIMS = {"joint": JOINT, "separate": SEPARATE}
both_channels = pytest.mark.parametrize("channels", ["joint", "separate"])


def natural_like(shape: tuple[int, int, int, int], generator: torch.Generator) -> torch.Tensor:
    """Images in [0,1] with a 1/f amplitude spectrum and correlated channels."""
    height, width = shape[-2:]
    noise = torch.randn(shape, generator=generator) * 0.3 + torch.randn(shape[0], 1, height, width, generator=generator)
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]).clamp_min_(1 / max(shape))
    images = torch.fft.ifft2(torch.fft.fft2(noise) / radius).real
    return (images / images.std() * 0.25 + 0.47).clamp(0, 1)


def relative_error(result: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.linalg.norm(result.double().numpy() - expected) / np.linalg.norm(expected))


@both_channels
@pytest.mark.parametrize(
    "shape",
    [(8, 3, 32, 32), (3, 3, 33, 31), (2, 3, 20, 47), (3, 1, 16, 15), (2, 4, 12, 9), (2, 2, 7, 8), (1, 3, 64, 96)],
)
@pytest.mark.parametrize("kind", ["uniform", "natural"])
def test_equals_the_float64_definition(kind, shape, channels, generator):
    owner, donor = (
        torch.rand(shape, generator=generator) if kind == "uniform" else natural_like(shape, generator)
        for _ in range(2)
    )
    expected = recombine_reference(owner.numpy(), donor.numpy(), DIMS[channels])
    result = recombine(owner, donor, channels)
    assert result.dtype == torch.float32
    assert result.shape == shape
    assert relative_error(result, expected) <= 1e-6


@both_channels
def test_partner_form_equals_the_definition_across_chunks(channels, generator, monkeypatch):
    images = natural_like((7, 3, 16, 20), generator)
    partner = torch.randperm(7, generator=generator)
    expected = apr_p_reference(images.numpy(), partner.tolist(), DIMS[channels])
    whole = recombine_partner(images, partner, channels)
    monkeypatch.setattr(module, "_CHUNK_VALUES", 3 * images[0].numel())  # chunks of 3, 3 and 1 images
    chunked = recombine_partner(images, partner, channels)
    assert relative_error(whole, expected) <= 1e-6
    assert relative_error(chunked, expected) <= 1e-6
    assert relative_error(recombine(images, images[partner], channels), expected) <= 1e-6


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13)),
    channels=st.sampled_from(["joint", "separate"]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_any_size(shape, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    owner, donor = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    # The phase of a small bin is as uncertain as the rounding of its transform is large beside it.
    smallest = np.abs(np.fft.fftn(owner.numpy(), axes=DIMS[channels])).min()
    expected = recombine_reference(owner.numpy(), donor.numpy(), DIMS[channels])
    assert relative_error(recombine(owner, donor, channels), expected) <= 1e-6 * max(1, 1 / smallest)


def degenerate(name: str) -> torch.Tensor:
    """(1,3,4,4) images whose zero bins are exactly zero in any FFT: a transform of length 4 only adds and subtracts."""
    images = torch.zeros(1, 3, 4, 4)
    if name == "constant":
        images += 0.5
    elif name == "one channel":
        images[:, 1] = torch.tensor([1, 3, 0, 2, 2, 1, 0, 3, 1, 1, 2, 0, 3, 0, 1, 2]).view(4, 4) / 4
    elif name == "stripes":
        images[..., ::2] = 1
    elif name == "coloured stripes":
        images[:, 0, ::2] = 1
        images[:, 2, :, 1::2] = 0.5
    elif name == "no colour":
        images += torch.tensor([1, 3, 0, 2, 2, 1, 0, 3, 1, 1, 2, 0, 3, 0, 1, 2]).view(4, 4) / 4
    return images


@both_channels
@pytest.mark.parametrize("name", ["black", "constant", "one channel", "stripes", "coloured stripes", "no colour"])
def test_zero_bins_count_as_phase_zero(name, channels, generator):
    owner, donor = degenerate(name), torch.rand(1, 3, 4, 4, generator=generator)
    expected = recombine_reference(owner.numpy(), donor.numpy(), DIMS[channels])
    assert relative_error(recombine(owner, donor, channels), expected) <= 1e-6


@both_channels
@pytest.mark.parametrize("name", ["black", "constant", "one channel", "stripes", "no colour"])
def test_degenerate_donor(name, channels, generator):
    owner, donor = torch.rand(1, 3, 4, 4, generator=generator), degenerate(name)
    expected = recombine_reference(owner.numpy(), donor.numpy(), DIMS[channels])
    torch.testing.assert_close(recombine(owner, donor, channels).double().numpy(), expected, rtol=0, atol=1e-6)


def test_black_owner_gives_the_autocorrelation_peak_at_the_origin():
    donor = torch.zeros(1, 1, 4, 4)
    donor[..., 2, 3] = 1  # a single point: its amplitude is 1 in every bin, so phase 0 moves it to the origin
    expected = torch.zeros(1, 1, 4, 4)
    expected[..., 0, 0] = 1
    torch.testing.assert_close(recombine(torch.zeros(1, 1, 4, 4), donor), expected)


def test_images_without_colour_at_full_size(generator):
    """The colour axis is transformed by hand, so their chroma is exactly zero at any size and in any library."""
    owner = natural_like((4, 1, 32, 32), generator).expand(4, 3, 32, 32)
    donor = natural_like((4, 3, 32, 32), generator)
    assert relative_error(recombine(owner, donor), recombine_reference(owner.numpy(), donor.numpy())) <= 1e-6


@both_channels
def test_degenerate_images_at_full_size_stay_finite(channels, generator):
    images = torch.rand(6, 3, 32, 32, generator=generator)
    images[0] = 0
    images[1] = 0.3
    images[2, 1:] = 0
    images[3, :, ::2] = 0.7
    images[4] = 1
    for shift in range(6):
        partner = torch.arange(6).roll(shift)
        result = recombine_partner(images, partner, channels)
        assert result.isfinite().all()
        # Parseval: the energy is the donor's. (Not asked of 1 and 3: bins that are only rounding have no sure phase.)
        energy, expected = result.square().sum((1, 2, 3)), images[partner].square().sum((1, 2, 3))
        torch.testing.assert_close(energy[[0, 2, 5]], expected[[0, 2, 5]], rtol=1e-4, atol=1e-4)


@both_channels
def test_amplitude_is_the_donors_and_phase_the_owners(channels, generator):
    owner, donor = torch.rand(2, 5, 3, 16, 18, generator=generator).unbind()
    dims = DIMS[channels]
    mixed = torch.fft.fftn(recombine(owner, donor, channels).double(), dim=dims)
    own, other = torch.fft.fftn(owner.double(), dim=dims), torch.fft.fftn(donor.double(), dim=dims)
    torch.testing.assert_close(mixed.abs(), other.abs(), rtol=1e-4, atol=1e-4)
    # The angle between result and owner, as the sine of their difference, weighted where both are well away from zero.
    sine = (mixed * own.conj()).imag / (mixed.abs() * own.abs())
    assert sine[(own.abs() > 0.5) & (other.abs() > 0.5)].abs().max() < 1e-5


@both_channels
def test_own_amplitude_is_the_identity(channels, generator):
    images = natural_like((4, 3, 31, 32), generator)
    torch.testing.assert_close(recombine(images, images, channels), images, rtol=0, atol=2e-6)
    torch.testing.assert_close(recombine_partner(images, torch.arange(4), channels), images, rtol=0, atol=2e-6)


def test_one_channel_is_the_same_joint_and_separate(generator):
    owner, donor = torch.rand(2, 3, 1, 9, 8, generator=generator).unbind()
    assert torch.equal(recombine(owner, donor, "joint"), recombine(owner, donor, "separate"))


def test_mean_brightness_is_the_donors(generator):
    owner, donor = torch.rand(2, 4, 3, 12, 12, generator=generator).unbind()
    mixed = recombine(owner, donor, "separate")
    torch.testing.assert_close(mixed.mean((2, 3)), donor.mean((2, 3)), rtol=0, atol=1e-6)


def test_inputs_and_layout(generator):
    owner, donor = torch.rand(2, 4, 3, 16, 16, generator=generator).unbind()
    before = owner.clone(), donor.clone()
    plain = recombine(owner, donor)
    assert torch.equal(owner, before[0])
    assert torch.equal(donor, before[1])
    last = torch.channels_last
    assert torch.equal(recombine(owner.contiguous(memory_format=last), donor.contiguous(memory_format=last)), plain)
    torch.testing.assert_close(recombine(owner[:1], donor[:1]), plain[:1], atol=1e-5, rtol=0)  # another FFT plan


@both_channels
def test_autocast_and_low_precision_inputs_run_in_float32(channels, generator):
    owner, donor = torch.rand(2, 4, 3, 16, 16, generator=generator).bfloat16().unbind()
    partner = torch.tensor([1, 2, 3, 0])
    plain = recombine(owner.float(), donor.float(), channels)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = recombine(owner, donor, channels)
        permuted = recombine_partner(owner, partner, channels)
    assert mixed.dtype == permuted.dtype == torch.float32
    assert torch.equal(mixed, plain)
    assert torch.equal(permuted, recombine_partner(owner.float(), partner, channels))


def test_bad_arguments():
    images = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"images must be \(B,C,H,W\)"):
        recombine(images[0], images[0])
    with pytest.raises(ValueError, match="one shape"):
        recombine(images, images[:1])
    with pytest.raises(ValueError, match="channels must be one of joint, separate"):
        recombine(images, images, "both")
    with pytest.raises(ValueError, match=r"partner must have shape \(2,\)"):
        recombine_partner(images, torch.arange(3))


@pytest.mark.gpu
@both_channels
def test_on_the_gpu(channels, generator):
    images = natural_like((8, 3, 32, 32), generator)
    partner = torch.randperm(8, generator=generator)
    result = recombine_partner(images.cuda(), partner, channels)
    assert relative_error(result.cpu(), apr_p_reference(images.numpy(), partner.tolist(), DIMS[channels])) <= 1e-6
