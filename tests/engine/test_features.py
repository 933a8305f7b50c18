"""Features: of the right layer, before the next one touches them; what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.features import check_layers, features
from fourier_robust.errors import UserError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Flatten()
        self.line = nn.Linear(12, 4)
        self.relu = nn.ReLU(inplace=True)
        self.pair = nn.RNN(4, 2)
        self.idle = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pair(self.relu(self.relu(self.line(self.flat(images)))))[0]


def some_split() -> ResidentSplit:
    pixels = torch.randint(0, 256, (10, 2, 2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ResidentSplit(pixels, torch.arange(10) % 3)


def test_what_a_layer_puts_out_is_kept_as_it_was() -> None:
    torch.manual_seed(0)
    model, split = Net().train(), some_split()
    found = list(features(model, split.batches(4), ["line", "flat"]))
    images = torch.cat([batch.images for batch in split.batches(4)])
    expected = model.line(images.flatten(1))
    got = torch.cat([batch.layers["line"] for batch in found])
    assert torch.allclose(got, expected, atol=1e-6)
    assert (got < 0).any()  # the in-place ReLU behind it has not worked on it
    assert torch.equal(torch.cat([batch.layers["flat"] for batch in found]), images.flatten(1))
    assert torch.equal(torch.cat([batch.indices for batch in found]), torch.arange(10))
    assert torch.equal(torch.cat([batch.labels for batch in found]), split.labels)
    assert model.training
    assert not model.line._forward_hooks


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("lime", r"no module lime; nearest: line"),
        ("xyz", r"no module xyz; it has flat, line, relu, pair, idle"),
        ("relu", "relu works 2 times in a pass"),
        ("idle", "idle works 0 times in a pass"),
        ("pair", "pair puts out tuple, not one tensor"),
    ],
)
def test_refused(layer: str, said: str) -> None:
    model = Net()
    with pytest.raises(UserError, match=said):
        list(features(model, some_split().batches(4), ["line", layer]))
    assert not model.line._forward_hooks
    check_layers(model, ["line", "pair"])
