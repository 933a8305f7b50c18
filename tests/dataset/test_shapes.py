"""The embedded set: areas and poses in closed form, what the class says of the texture, and what a swap keeps."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from fourier_robust.dataset.shapes import Shapes, donors_of_another_class
from fourier_robust.dataset.shapes_draw import SHAPES, SIZE, Pose, coverage
from fourier_robust.dataset.shapes_texture import TEXTURES, textured
from fourier_robust.fourier.recombine import recombine

CONF = Path(__file__).parents[2] / "conf" / "dataset" / "shapes.yaml"
CLASSES = range(10)


def lens(first: float, second: float, apart: float) -> float:
    """Area common to two disks, from their radii and the distance of their centres."""
    to_chord = (apart**2 + first**2 - second**2) / (2 * apart)
    segments = (
        radius**2 * math.acos(height / radius) - height * math.sqrt(radius**2 - height**2)
        for radius, height in ((first, to_chord), (second, apart - to_chord))
    )
    return sum(segments)


AREAS = {  # in squared radii
    "disk": math.pi * 0.8**2,
    "ring": math.pi * (0.92**2 - 0.48**2),
    "square": 1.4**2,
    "frame": 1.56**2 - 0.84**2,
    "triangle": 3 * math.sqrt(3) * 0.48**2,
    "cross": 2 * 0.54 * 1.8 - 0.54**2,
    "star": 5 * 0.42 * math.sin(math.pi / 5),
    "bars": 2 * 0.48 * 1.7,
    "elbow": 0.54 * 1.7 + 0.54 * 1.44 - 0.54 * 0.54,
    "crescent": math.pi * 0.9**2 - lens(0.9, 0.72, 0.5),
}


def small(**arguments: float) -> Shapes:
    return Shapes(**{"num_train": 300, "num_val": 100, "num_test": 200, **arguments})


def pose(radius: float = 10.0, x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> Pose:
    """One and the same pose for each of the ten classes."""
    centre = torch.tensor([[x], [y]]).expand(2, 10)
    return Pose(torch.full((10,), radius), centre, torch.full((10,), turn))


def area_of(shape: str, **where: float) -> float:
    label = list(SHAPES).index(shape)
    return float(coverage(torch.arange(10), pose(**where))[label].sum())


@pytest.mark.parametrize("turn", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_each_shape_covers_its_area(shape: str, turn: float) -> None:
    assert area_of(shape, turn=turn) == pytest.approx(100 * AREAS[shape], rel=0.02)


def test_place_is_x_right_and_y_down_in_pixels() -> None:
    labels = torch.arange(10)
    moved = coverage(labels, pose(x=2, y=-3))
    torch.testing.assert_close(moved, coverage(labels, pose()).roll((-3, 2), (1, 2)), atol=1e-5, rtol=0)


def test_a_quarter_turn_is_a_turned_image() -> None:
    labels = torch.arange(10)
    turned = coverage(labels, pose(turn=math.pi / 2))
    torch.testing.assert_close(turned, coverage(labels, pose()).rot90(1, (1, 2)), atol=1e-4, rtol=0)


def test_no_shape_looks_like_another_at_any_angle_mirrored_or_not() -> None:
    labels = torch.arange(10)
    upright = coverage(labels, pose())
    for turn in torch.arange(0, 2 * math.pi, math.radians(5)).tolist():
        turned = coverage(labels, pose(turn=turn))
        for other in (turned, turned.flip(2)):
            shared = torch.minimum(upright[:, None], other[None]).sum((2, 3))
            either = torch.maximum(upright[:, None], other[None]).sum((2, 3))
            assert (shared / either).fill_diagonal_(0).max() < 0.85


def test_every_shape_stays_inside_the_image() -> None:
    worst = coverage(torch.arange(10), pose(radius=11.5, x=3, y=3, turn=math.radians(30)))
    assert worst.sum((1, 2)) == pytest.approx([11.5**2 * AREAS[shape] for shape in SHAPES], rel=0.03)


def test_same_seed_same_images_another_seed_others() -> None:
    for name in ("train", "val", "test", "test_swapped"):
        assert small().split(name).identity == small().split(name).identity
        assert small().split(name).identity != small(seed=1).split(name).identity


def test_the_size_of_a_split_changes_no_other() -> None:
    longer = small(num_train=310, num_val=0)
    assert longer.split("test").identity == small().split("test").identity
    assert longer.split("test_swapped").identity == small().split("test_swapped").identity


def test_the_number_of_threads_changes_no_pixel() -> None:
    threads = torch.get_num_threads()
    names = ("test", "test_swapped")
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append([Shapes(num_test=1000).split(name).identity for name in names])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_no_image_twice() -> None:
    drawn = [small().drawing(name).images for name in ("train", "val", "test")]
    assert len({image.numpy().tobytes() for split in drawn for image in split}) == 600


def test_classes_are_balanced_to_within_one() -> None:
    assert Shapes(num_test=205).split("test").labels.bincount().tolist() == [21] * 5 + [20] * 5
    labels = small().split("train").labels
    assert labels.bincount().tolist() == [30] * 10
    assert labels[:100].bincount().max() < 25  # shuffled


def test_batches_are_pixels_of_32_by_32() -> None:
    images, labels, index = next(small().split("test_swapped").batches(7))
    assert images.shape == (7, 3, SIZE, SIZE)
    assert images.dtype == torch.float32
    assert labels.dtype == index.dtype == torch.int64
    assert 0 <= images.min() < images.max() <= 1


def test_agreement_one_ties_the_texture_to_the_class() -> None:
    drawing = small(agreement=1).drawing("train")
    assert torch.equal(drawing.textures, drawing.labels)


def test_agreement_zero_leaves_texture_and_class_independent() -> None:
    drawing = Shapes(num_train=5000).drawing("train")
    counts = np.histogram2d(drawing.labels, drawing.textures, bins=10)[0]
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / counts.sum()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = 9 * 9
    assert chi_square < degrees + 4 * math.sqrt(2 * degrees)


def test_agreement_is_a_probability_beside_the_uniform_draw() -> None:
    drawing = Shapes(num_train=5000, agreement=0.4).drawing("train")
    expected = 0.4 + 0.6 / 10
    share = (drawing.textures == drawing.labels).double().mean().item()
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 5000))


def test_textures_lie_in_their_bands(generator: torch.Generator) -> None:
    """Mean |frequency| of a layer, weighted by power: the recorded index is the one that was drawn."""
    bands = {"shade": (0, 2), "stripes": (2, 5), "hatching": (6.5, 11.5), "specks": (8, 13), "ripples": (2.5, 6.5)}
    window = np.outer(np.hanning(SIZE), np.hanning(SIZE))
    freq = np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIZE, 1 / SIZE)] * 2))
    for name, (low, high) in bands.items():
        family = torch.full((50,), list(TEXTURES).index(name))
        layer = textured(family, generator)
        power = np.abs(np.fft.fft2(window * layer.sum(1).numpy())) ** 2
        assert low < np.median((power * freq).sum((1, 2)) / power.sum((1, 2))) < high, name


def test_every_texture_has_mean_zero_and_the_contrast_asked_for(generator: torch.Generator) -> None:
    layer = textured(torch.arange(10).repeat_interleave(100), generator)
    assert layer.mean((2, 3)).abs().max() < 1e-5
    contrast = layer.std((2, 3)).mean(1).view(10, 100).mean(1)
    assert contrast == pytest.approx([0.125] * 10, rel=0.25)  # the middle of the range


def test_noise_is_the_standard_deviation_of_a_difference() -> None:
    quiet, noisy = (small(noise=noise).drawing("test").images.double() / 255 for noise in (0.0, 0.05))
    inside = ((quiet > 0.25) & (quiet < 0.75)).all(-1)  # the clipped ends left out
    assert (noisy - quiet)[inside].std().item() == pytest.approx(0.05, rel=0.02)


def test_donors_are_of_another_class() -> None:
    dataset = Shapes()
    labels = dataset.split("test").labels
    assert (labels[dataset.donors(labels)] != labels).all()


def test_donors_are_uniform_over_the_other_classes(generator: torch.Generator) -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 1, 1])
    counts = torch.zeros(7, 7)
    for _ in range(2000):
        counts[torch.arange(7), donors_of_another_class(labels, generator)] += 1
    allowed = labels[:, None] != labels[None]
    assert (counts[~allowed] == 0).all()
    expected = 2000 / allowed.sum(1, keepdim=True).expand(7, 7)
    assert ((counts - expected)[allowed].abs() < 5 * expected[allowed].sqrt()).all()


def test_swapped_images_keep_their_phase_and_take_the_amplitude() -> None:
    dataset = small()
    split = dataset.split("test")
    (own,) = (batch.images.numpy().astype(np.float64) for batch in split.batches(200))
    (swapped,) = (batch.images.numpy() for batch in dataset.split("test_swapped").batches(200))
    donor = dataset.donors(split.labels).numpy()
    spectrum, other = (np.fft.fftn(pixels, axes=(1, 2, 3)) for pixels in (own, own[donor]))
    mixed = np.fft.ifftn(np.abs(other) * np.exp(1j * np.angle(spectrum)), axes=(1, 2, 3)).real
    assert np.abs(swapped - mixed.clip(0, 1)).max() < 0.5 / 255 + 1e-4

    found = np.fft.fftn(recombine(torch.from_numpy(own), torch.from_numpy(own[donor])).numpy(), axes=(1, 2, 3))
    agreement = (found * spectrum.conj()).real.sum() / (np.abs(found) * np.abs(spectrum)).sum()
    assert agreement == pytest.approx(1, abs=1e-5)
    assert np.abs(np.abs(found) - np.abs(other)).max() < 1e-3 * np.abs(other).max()


def test_swapped_images_keep_labels_and_order() -> None:
    dataset = small()
    assert torch.equal(dataset.split("test").labels, dataset.split("test_swapped").labels)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_train", 0),
        ("num_val", -1),
        ("num_test", 1),
        ("agreement", 1.1),
        ("agreement", -0.1),
        ("noise", -0.01),
        ("num_classes", 11),
        ("size", 64),
        ("mean", (0.5, 0.5)),
        ("std", (0.2, 0.2, 0.0)),
    ],
)
def test_bad_arguments_are_named(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=argument):
        Shapes(**{argument: value})


def test_unknown_and_empty_splits_are_named() -> None:
    with pytest.raises(ValueError, match="train_swapped"):
        small().split("train_swapped")
    with pytest.raises(ValueError, match="num_val"):
        small(num_val=0).split("val")


def test_the_yaml_holds_the_defaults_and_they_are_the_measured_constants() -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF))
    assert node.pop("_target_") == f"{Shapes.__module__}.{Shapes.__name__}"
    defaults = {name: value.default for name, value in inspect.signature(Shapes).parameters.items()}
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in node.items()} == defaults
    pixels = Shapes(num_train=4000).drawing("train").images.double() / 255
    assert pixels.mean((0, 1, 2)).tolist() == pytest.approx(defaults["mean"], abs=0.01)
    assert pixels.std((0, 1, 2)).tolist() == pytest.approx(defaults["std"], abs=0.01)
