"""The real Fourier basis: unit norm, orthogonality, where the power lies, phases, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from fourier_robust.fourier.basis import fourier_basis, random_phases

SIZES = [(8, 8), (7, 7), (6, 9), (5, 8)]


def half_plane(height: int, width: int) -> torch.Tensor:
    """One frequency of each pair (u,v), (-u,-v), by a loop over the grid."""
    kept: dict[tuple[int, int], tuple[int, int]] = {}
    for down in range(-(height // 2), height // 2 + 1):
        for across in range(-(width // 2), width // 2 + 1):
            pair = {(down % height, across % width), (-down % height, -across % width)}
            kept.setdefault(min(pair), (down, across))
    return torch.tensor(list(kept.values()))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("phase", ["cosine", "sine", "mixed", "random"])
def test_unit_norm_and_two_coefficients(height: int, width: int, phase: str, generator: torch.Generator) -> None:
    freqs = half_plane(height, width)
    angles = random_phases(len(freqs), generator) if phase == "random" else phase
    basis = fourier_basis(freqs, height, width, angles, torch.float64)
    assert torch.allclose(basis.square().sum((1, 2)), torch.ones(len(freqs), dtype=torch.float64), atol=1e-12)
    power = torch.fft.fft2(basis, norm="ortho").abs().square()
    for (down, across), plane in zip(freqs.tolist(), power, strict=True):
        places = {(down % height, across % width), (-down % height, -across % width)}
        expected = torch.zeros(height, width, dtype=torch.float64)
        for place in places:
            expected[place] = 1 / len(places)
        assert torch.allclose(plane, expected, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_cosines_and_sines_are_a_basis(height: int, width: int) -> None:
    freqs = half_plane(height, width)
    cosine, sine = (fourier_basis(freqs, height, width, name, torch.float64) for name in ("cosine", "sine"))
    own_mirror = (cosine - sine).abs().amax((1, 2)) < 1e-12  # DC and its like have no sine part
    both = torch.cat([cosine, sine[~own_mirror]]).flatten(1)
    assert len(both) == height * width
    assert torch.allclose(both @ both.T, torch.eye(height * width, dtype=torch.float64), atol=1e-12)


def test_by_its_formula() -> None:
    rows, columns = torch.meshgrid(torch.arange(6.0).double(), torch.arange(9.0).double(), indexing="ij")
    angle = 2 * math.pi * (2 * rows / 6 - 3 * columns / 9)
    freqs, scale = torch.tensor([[2, -3]]), math.sqrt(2 / 54)
    for phase, expected in (
        ("cosine", angle.cos()),
        ("sine", angle.sin()),
        ("mixed", (angle.cos() - angle.sin()) / math.sqrt(2)),
    ):
        found = fourier_basis(freqs, 6, 9, phase, torch.float64)[0]
        assert torch.allclose(found, scale * expected, atol=1e-12)
    given = fourier_basis(freqs, 6, 9, torch.tensor([0.3]), torch.float64)[0]
    assert torch.allclose(given, scale * (angle + 0.3).cos(), atol=1e-7)


def test_the_directional_derivative_is_the_coefficient(generator: torch.Generator) -> None:
    gradient = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    along = (gradient * fourier_basis(torch.tensor([[2, 3]]), 16, 16, dtype=torch.float64)[0]).sum()
    expected = math.sqrt(2) * torch.fft.fft2(gradient, norm="ortho")[2, 3].real
    assert float(along) == pytest.approx(float(expected), abs=1e-12)


def test_dtype_and_replay(generator: torch.Generator) -> None:
    freqs = torch.tensor([[1, 2], [3, -1]])
    assert fourier_basis(freqs, 224, 224).dtype == torch.float32
    exact = fourier_basis(freqs, 224, 224, dtype=torch.float64)
    assert (fourier_basis(freqs, 224, 224).double() - exact).abs().max() < 1e-8
    state = generator.get_state()
    drawn = random_phases(100, generator)
    generator.set_state(state)
    assert torch.equal(random_phases(100, generator), drawn)
    assert 0 <= float(drawn.min()) < 1 < 5.5 < float(drawn.max()) < 2 * math.pi


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"frequency \(0, 17\) is outside the grid of 32x32 pixels: .* reach 16 down"):
        fourier_basis(torch.tensor([[16, 16], [0, 17]]), 32, 32)
    with pytest.raises(ValueError, match=r"frequency \(-4, 0\) is outside the grid of 7x9"):
        fourier_basis(torch.tensor([[-4, 0]]), 7, 9)
    with pytest.raises(ValueError, match="whole numbers"):
        fourier_basis(torch.tensor([[0.5, 1.0]]), 8, 8)
    with pytest.raises(ValueError, match="phase must be one of cosine, sine, mixed or radians"):
        fourier_basis(torch.tensor([[1, 1]]), 8, 8, "random")
    with pytest.raises(TypeError, match="needs float32 or float64"):
        fourier_basis(torch.tensor([[1, 1]]), 8, 8, dtype=torch.float16)
