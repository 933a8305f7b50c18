"""Prediction: order, mode, precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from fourier_robust.dataset.base import Batch, ResidentSplit
from fourier_robust.engine.predict import predict, predict_each
from fourier_robust.engine.process import Device
from fourier_robust.errors import UserError


def some_split(n: int = 10) -> ResidentSplit:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 4, 4, 3), generator=generator, dtype=torch.uint8)
    return ResidentSplit(images, torch.arange(n) % 3)


def test_logits_follow_the_order_of_the_batches_and_do_not_depend_on_their_size() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3))
    split = some_split()
    whole = predict(model, split.batches(10))
    order = torch.tensor([3, 1, 9])
    part = predict(model, split.batches(1, order))
    assert torch.equal(part.indices, order)
    assert torch.equal(part.labels, split.labels[order])
    assert torch.allclose(part.logits, whole.logits[order], atol=1e-6)


def test_mode_and_running_statistics_are_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3)).train()
    before = model[0].running_mean.clone()
    predict(model, some_split().batches(4))
    assert model.training
    assert torch.equal(model[0].running_mean, before)
    model.eval()
    predict(model, some_split().batches(4))
    assert not model.training


def test_bf16_is_another_number_of_the_same_size() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 3))
    full, half = (predict(model, some_split().batches(4), precision) for precision in ("fp32", "bf16"))
    assert half.logits.dtype == torch.float32
    assert not torch.equal(full.logits, half.logits)
    assert torch.allclose(full.logits, half.logits, atol=0.03)


def test_pixels_reach_the_model_in_unit_range() -> None:
    seen: list[torch.Tensor] = []

    class Watch(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.mean((2, 3))

    split = some_split()
    predict(Watch(), split.batches(10))
    assert seen[0].dtype == torch.float32
    levels = seen[0] * 255
    assert torch.equal(levels.round(), levels.round().clamp(0, 255))
    assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_nothing_to_predict() -> None:
    with pytest.raises(ValueError, match="no batches"):
        predict(nn.Identity(), iter(()))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps"])
def test_unknown_device_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match=r"device\.name="):
        Device(name=name).prepare()


def test_each_source_gets_its_own_logits_from_shared_batches() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3)).train()
    split = some_split(40)
    orders = [torch.arange(first, last) for first, last in ((0, 3), (3, 4), (4, 8), (8, 30), (30, 40))]
    seen: list[int] = []
    model[0].register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    found = list(predict_each(model, (split.batches(7, order) for order in orders), 8))
    assert seen == [8] * 5
    assert model.training
    for prediction, order in zip(found, orders, strict=True):
        alone = predict(model, split.batches(100, order))
        assert torch.equal(prediction.indices, order)
        assert torch.equal(prediction.labels, alone.labels)
        assert torch.allclose(prediction.logits, alone.logits, atol=1e-6)


def test_a_prediction_comes_before_the_next_source_is_asked_for_unless_it_fills_the_batch() -> None:
    split, asked = some_split(), []

    def sources() -> Iterator[Iterator[Batch]]:
        for number in range(6):
            asked.append(number)
            yield split.batches(10)

    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    next(predict_each(model, sources(), 10))
    assert asked == [0]
    next(predict_each(model, sources(), 11))
    assert asked == [0, 0, 1]


def test_a_source_without_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        list(predict_each(nn.Flatten(), [some_split().batches(4), iter(())], 4))
