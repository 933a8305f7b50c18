"""APR-P: what is drawn, which views come out, and that the cheap form of an unmixed batch trains alike."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from reference.apr import JOINT, SEPARATE, apr_p_reference
from torch import nn

from fourier_robust.aug.apr_p import APRP

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
SHAPE = (6, 3, 16, 16)


@pytest.fixture
def batch(generator):
    return torch.rand(SHAPE, generator=generator), torch.randint(0, 10, SHAPE[:1], generator=generator)


@pytest.mark.parametrize(("channels", "dims"), [("joint", JOINT), ("separate", SEPARATE)])
def test_upstream_equals_the_definition_in_pixels(channels, dims, batch, generator):
    images, labels = batch
    step = APRP(p=1.0, channels=channels, compat="upstream")
    params = step.sample(SHAPE, generator)
    views = step.apply(images, labels, params)
    expected = apr_p_reference(images.numpy(), params["partner"].tolist(), dims)
    assert torch.equal(views.images[0], images)
    assert np.linalg.norm(views.images[1].double().numpy() - expected) <= 1e-6 * np.linalg.norm(expected)
    assert torch.equal(views.targets, torch.stack((labels, labels)))
    assert views.weights == (1.0, 1.0)


def test_normalised_space_equals_the_definition(batch, generator):
    images, labels = batch
    mean, std = (np.array(values)[:, None, None] for values in (MEAN, STD))
    step = APRP(p=1.0, space="normalised", mean=MEAN, std=STD, compat="upstream")
    params = step.sample(SHAPE, generator)
    mixed = step.apply(images, labels, params).images[1].double().numpy()
    expected = apr_p_reference((images.double().numpy() - mean) / std, params["partner"].tolist()) * std + mean
    np.testing.assert_allclose(mixed, expected, rtol=0, atol=5e-6)


def test_clean_is_upstream_limited_to_the_unit_interval(batch, generator):
    images, labels = batch
    params = APRP(p=1.0).sample(SHAPE, generator)
    clean = APRP(p=1.0).apply(images, labels, params).images
    upstream = APRP(p=1.0, compat="upstream").apply(images, labels, params).images
    assert upstream.min() < 0
    assert upstream.max() > 1
    assert torch.equal(clean, upstream.clamp(0, 1))


def test_no_leaves_one_view_of_weight_two(batch, generator):
    images, labels = batch
    step = APRP(p=0.0)
    views = step.apply(images, labels, step.sample(SHAPE, generator))
    assert torch.equal(views.images, images[None])
    assert torch.equal(views.targets, labels[None])
    assert views.weights == (2.0,)


def test_one_view_of_weight_two_has_the_gradient_of_the_batch_forwarded_twice(batch, generator):
    """The released code's unmixed step, CE(x) + CE(x) on the concatenated batch, through batch norm in float64."""
    images, labels = batch
    torch.manual_seed(0)
    twice = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).double()
    once = copy.deepcopy(twice)
    first, second = twice(torch.cat((images, images)).double()).chunk(2)
    (nn.functional.cross_entropy(first, labels) + nn.functional.cross_entropy(second, labels)).backward()
    step = APRP(p=0.0)
    views = step.apply(images, labels, step.sample(SHAPE, generator))
    sum(
        weight * nn.functional.cross_entropy(once(view.double()), target)
        for view, target, weight in zip(views.images, views.targets, views.weights, strict=True)
    ).backward()
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_the_coin_falls_with_probability_p(generator):
    step, trials = APRP(p=0.6), 4000
    mixed = sum(step.sample((2, 3, 4, 4), generator)["mix"] for _ in range(trials))
    assert abs(mixed / trials - 0.6) < 4 * (0.6 * 0.4 / trials) ** 0.5
    assert not any(APRP(p=0.0).sample((1, 3, 4, 4), generator)["mix"] for _ in range(100))
    assert all(APRP(p=1.0).sample((1, 3, 4, 4), generator)["mix"] for _ in range(100))


def test_partner_is_a_uniform_permutation_with_fixed_points(generator):
    draws = torch.stack([APRP().sample((4, 3, 2, 2), generator)["partner"] for _ in range(2400)])
    assert draws.sort(dim=1).values.eq(torch.arange(4)).all()
    counts = torch.unique(draws, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 100) / 10).square().sum() < 52  # chi squared, 23 degrees of freedom: p = 0.0005


def test_a_draw_does_not_depend_on_the_coin_and_replays(batch):
    images, labels = batch
    draws = [APRP(p=p).sample(SHAPE, torch.Generator().manual_seed(7)) for p in (0.0, 1.0)]
    assert torch.equal(draws[0]["partner"], draws[1]["partner"])
    assert [draw["mix"] for draw in draws] == [False, True]
    first, second = (APRP().apply(images, labels, draws[1]) for _ in range(2))
    assert torch.equal(first.images, second.images)


def test_a_batch_of_one_is_its_own_partner(generator):
    images = torch.rand(1, 3, 16, 16, generator=generator)
    step = APRP(p=1.0)
    views = step.apply(images, torch.tensor([3]), step.sample((1, 3, 16, 16), generator))
    torch.testing.assert_close(views.images[1], images, rtol=0, atol=2e-6)


def test_soft_labels_stay_the_owners(batch, generator):
    images, _ = batch
    soft = torch.rand(SHAPE[0], 5, generator=generator).softmax(dim=1)
    step = APRP(p=1.0)
    assert torch.equal(step.apply(images, soft, step.sample(SHAPE, generator)).targets, torch.stack((soft, soft)))


def test_input_unchanged_under_autocast_and_channels_last(batch, generator):
    images, labels = batch
    step = APRP(p=1.0)
    params = step.sample(SHAPE, generator)
    plain = step.apply(images, labels, params).images
    before = images.clone()
    with torch.autocast("cpu", torch.bfloat16):
        again = step.apply(images.contiguous(memory_format=torch.channels_last), labels, params).images
    assert again.dtype == torch.float32
    assert torch.equal(again, plain)
    assert torch.equal(images, before)


def test_mean_and_std_may_be_lists_of_a_config(batch, generator):
    from omegaconf import OmegaConf

    images, labels = batch
    lists = OmegaConf.create({"mean": list(MEAN), "std": list(STD)})
    params = APRP(p=1.0).sample(SHAPE, generator)
    results = [
        APRP(p=1.0, space="normalised", mean=mean, std=std).apply(images, labels, params).images
        for mean, std in ((MEAN, STD), (list(MEAN), list(STD)), (lists.mean, lists.std))
    ]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, r"p must lie in \[0, 1\], got 1.5"),
        ({"p": float("nan")}, "p must lie"),
        ({"channels": "rgb"}, "channels must be one of joint, separate, got 'rgb'"),
        ({"space": "raw"}, "space must be one of pixels, normalised"),
        ({"compat": "wrap"}, "compat must be one of clean, upstream"),
        ({"space": "normalised", "std": STD}, "mean is needed"),
        ({"space": "normalised", "mean": MEAN}, "std is needed"),
        ({"space": "normalised", "mean": MEAN, "std": (0.2, 0.0, 0.2)}, "std must hold one positive number"),
        ({"space": "normalised", "mean": MEAN, "std": (0.2,)}, "std must hold one positive number"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        APRP(**arguments)


@pytest.mark.realdata
def test_share_of_values_outside_the_unit_interval_on_real_images(realdata):
    """The figure of the docstring, 4.8 % on CIFAR-10, on 512 real images."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("unpack_cifar10", realdata / "unpack_cifar10.py")
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    pixels = torch.from_numpy(np.asarray(reader.read("test")[0][:512])).view(-1, 3, 32, 32).float() / 255
    step = APRP(p=1.0, compat="upstream")
    params = step.sample(tuple(pixels.shape), torch.Generator().manual_seed(0))
    mixed = step.apply(pixels, torch.zeros(512, dtype=torch.int64), params).images[1]
    outside = ((mixed < 0) | (mixed > 1)).float().mean()
    assert 0.035 < outside < 0.065
