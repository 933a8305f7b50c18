"""Memory runs out: evaluation in halves, training in parts of the batch, both with the same result."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from engine.two_processes import SETTINGS, Run, SquaredLogits, network, split
from torch import nn

from fourier_robust.arch.normalize import Normalized
from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.chain import Chain
from fourier_robust.dataset.base import Batch
from fourier_robust.engine.distributed import ALONE
from fourier_robust.engine.features import features
from fourier_robust.engine.gradient import GradientOf, input_gradients
from fourier_robust.engine.last_layer import last_layer, last_linear
from fourier_robust.engine.memory import in_halves
from fourier_robust.engine.predict import predict, predict_each
from fourier_robust.errors import UserError
from fourier_robust.run import memory
from fourier_robust.run.memory import out_of_memory
from fourier_robust.score.odin import ODIN

SAID = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


class Small(nn.Module):
    """A network in a memory for `most` images, which fails half-way through."""

    def __init__(self, net: nn.Module, most: int) -> None:
        super().__init__()
        self.net, self.most = net, most
        self.tried: list[int] = []
        self.raises: type[Exception] = RuntimeError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.tried.append(len(images))
        found: torch.Tensor = self.net(images)
        if len(images) > self.most:
            raise self.raises(SAID)
        return found


@pytest.fixture(autouse=True)
def _silent_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_said", False)


@pytest.mark.parametrize("raises", [RuntimeError, torch.cuda.OutOfMemoryError])
def test_a_batch_that_does_not_fit_goes_in_halves(raises: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    net, images = network(), split(11, 0)
    small = Small(net, 3)
    small.raises = raises
    whole, part = predict(net, images.batches(11)), predict(small, images.batches(11))
    assert small.tried == [11, 5, 2, 3, 6, 3, 3]
    assert torch.equal(part.indices, torch.arange(11))
    assert torch.equal(part.labels, images.labels)
    assert torch.allclose(part.logits, whole.logits, atol=1e-6)
    (each,) = predict_each(small, [images.batches(11)], 11)
    assert torch.equal(each.logits, part.logits)
    assert capsys.readouterr().err.count("out of memory with 11 images") == 1


def test_other_errors_pass_and_a_single_image_is_the_end() -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assert not out_of_memory(ValueError(SAID))
    with pytest.raises(RuntimeError, match="mat1"):
        predict(Broken(), split(4, 0).batches(4))
    with pytest.raises(UserError, match=r"out of memory with a single image: .*DefaultCPUAllocator"):
        predict(Small(network(), 0), split(4, 0).batches(4))


def test_features_and_moved_images_in_halves() -> None:
    net, images = network(), split(11, 0)
    linear, odin = last_linear(net, torch.zeros(1, 3, 8, 8)), ODIN()
    (whole,) = last_layer(net, images.batches(11), linear, [odin])
    parts = list(last_layer(Small(net, 4), images.batches(11), linear, [odin]))
    assert len(parts) == 1
    assert torch.equal(parts[0].labels, images.labels)
    assert whole.features is not None
    assert parts[0].features is not None
    assert torch.allclose(parts[0].logits, whole.logits, atol=1e-6)
    assert torch.allclose(parts[0].features, whole.features, atol=1e-6)
    assert torch.allclose(parts[0].moved[0], whole.moved[0], atol=1e-5)


def test_input_gradients_in_halves() -> None:
    images, wanted = split(11, 0), GradientOf("loss", "pixel")
    models = [Normalized(net, (0.5,) * 3, (0.5,) * 3) for net in (network(), Small(network(), 4))]
    whole, part = (next(iter(input_gradients(model, images.batches(11), wanted))) for model in models)
    assert torch.equal(part.labels, whole.labels)
    assert torch.allclose(part.gradients, whole.gradients, atol=1e-7)


def test_features_of_layers_in_halves() -> None:
    net, images = network(), split(11, 0)
    small = Small(net, 4)
    names = [name for name, _ in net.named_modules() if name][:2]
    (whole,) = features(net, images.batches(11), names)
    (parts,) = features(small, images.batches(11), [f"net.{name}" for name in names])
    assert small.tried == [11, 5, 2, 3, 6, 3, 3]
    assert torch.equal(parts.labels, whole.labels)
    assert torch.equal(parts.indices, whole.indices)
    for name in names:
        assert torch.allclose(parts.layers[f"net.{name}"], whole.layers[name], atol=1e-6)


def test_results_that_do_not_fit_together_are_one_line() -> None:
    def join(parts: list[int]) -> int:
        raise RuntimeError(SAID)

    def work(part: Batch) -> int:
        if len(part.labels) > 2:
            raise RuntimeError(SAID)
        return len(part.labels)

    (batch,) = split(4, 0).batches(4)
    with pytest.raises(UserError, match="out of memory for the results of 4 images"):
        in_halves(work, batch, join)
    assert in_halves(work, batch, sum) == 4


def weights(run: Run) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in run.job.model.state_dict().values()])


@pytest.mark.parametrize("size", [1, 3, 8, 100, "auto"])
def test_parts_of_a_batch_train_as_the_whole(size: Any) -> None:
    aug = Chain(APRP(0.6))
    whole, parts = Run(ALONE, aug), Run(ALONE, aug, micro_batch=size)
    expected, found = SETTINGS.fit(whole.job), SETTINGS.fit(parts.job)
    error = (weights(parts) - weights(whole)).abs().max()
    assert error < 1e-6
    assert (error == 0) == (size in (8, 100, "auto"))
    for one, other in zip(expected, found, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
        assert other["train_accuracy"] == one["train_accuracy"]


def test_auto_halves_when_memory_runs_out_and_nothing_of_the_attempt_stays(capsys: pytest.CaptureFixture[str]) -> None:
    class Dry(Small):
        """Rejects a batch after BatchNorm has learned from it."""

    whole, parts = Run(ALONE, norm=True, micro_batch=2), Run(ALONE, norm=True, micro_batch="auto")
    net = copy.deepcopy(parts.job.model)
    whole.job.model, parts.job.model = Dry(copy.deepcopy(net), 100), Dry(net, 3)
    SETTINGS.fit(whole.job)
    SETTINGS.fit(parts.job)
    assert parts.job.model.tried[:6] == [8, 4, 2, 2, 2, 2]
    assert set(parts.job.model.tried[6:20]) == {2}
    assert torch.equal(weights(parts), weights(whole))  # the running statistics of BatchNorm among them
    parts.job.model.tried.clear()
    SETTINGS.fit(parts.job, parts.states[0])
    assert parts.job.model.tried[:8] == [2] * 8  # a run that goes on begins with the size that it had come to
    said = capsys.readouterr().out
    assert "out of memory with 8 images at once: 4 from here on" in said
    assert "out of memory with 4 images at once: 2 from here on" in said
    assert said.count("warning: BatchNorm sees parts of the batch now") == 1
    assert [state["micro_batch"] for state in parts.states[:1]] == [2]
    dry = Run(ALONE, micro_batch="auto")
    dry.job.model = Dry(dry.job.model, 0)
    with pytest.raises(UserError, match="out of memory with a single image"):
        SETTINGS.fit(dry.job)
    assert "BatchNorm" not in capsys.readouterr().out


def test_without_asking_training_stops() -> None:
    run = Run(ALONE)
    run.job.model = Small(run.job.model, 3)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        SETTINGS.fit(run.job)


def test_a_regularizer_needs_the_whole_batch() -> None:
    with pytest.raises(UserError, match="micro_batch needs reg=none"):
        SETTINGS.fit(Run(ALONE, reg=SquaredLogits(), micro_batch=2).job)
