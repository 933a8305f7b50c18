"""BatchNorm's statistics for a while: those asked for, in either mode of the model, and everything put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fourier_robust.arch.batch_norm import batch_norm, batch_norms


def net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5))
    model[1].running_mean.fill_(3.0)
    return model


@pytest.mark.parametrize("training", [True, False])
def test_statistics_of_batch_or_training_in_either_mode(training: bool) -> None:
    model, images = net().train(training), torch.rand(6, 3, 8, 8)
    running = [buffer.clone() for buffer in model.buffers()]
    with torch.no_grad(), batch_norm(model, "train"):
        model.eval()
        of_batch = model(images)
        model.train()
        assert torch.equal(model(images), of_batch)
    model.train(training)
    with torch.no_grad(), batch_norm(model, "eval"):
        of_training = model(images)
    assert all(torch.equal(one, other) for one, other in zip(model.buffers(), running, strict=True))
    assert of_batch.mean(0).abs().max() < 1e-6
    with torch.no_grad():
        assert torch.equal(model.eval()(images), of_training)
        assert torch.equal(model.train()(images), of_batch)  # this one counts
    assert not torch.equal(model[1].running_mean, running[0])


def test_all_is_put_back_after_an_error() -> None:
    model = net()
    model[4].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in ("train", "eval"):
        with pytest.raises(KeyboardInterrupt), batch_norm(model, mode):  # type: ignore[arg-type]
            raise KeyboardInterrupt
        assert [layer.training for layer in batch_norms(model)] == [True, False]
        assert all(layer.track_running_stats for layer in batch_norms(model))
        assert model.state_dict().keys() == before.keys()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
