"""The training loop: replay, resume, divergence, averaging, and what it hands to the optimizer."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from fourier_robust.aug.chain import Chain
from fourier_robust.aug.views import Params, Views
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.engine.job import Job
from fourier_robust.engine.loss import count_correct, views_loss
from fourier_robust.engine.predict import predict
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import outcome
from fourier_robust.reg.none import NoRegularizer

State = dict[str, Any]


class PlainSGD:
    """Momentum SGD at a constant rate."""

    def build(self, model: nn.Module, *_: Any) -> tuple[torch.optim.Optimizer, Callable[[int], float]]:
        groups = [{"params": list(model.parameters()), "lr": 0.05, "base_lr": 0.05}]
        return torch.optim.SGD(groups, momentum=0.9), lambda step: 1.0


class Noise:
    """A step whose draw shows in the images."""

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        return {"noise": 0.1 * torch.rand(shape, generator=generator)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        return (images + params["noise"]).clamp(0, 1)


def split(n: int, seed: int) -> ResidentSplit:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 8, 8, 3), generator=generator, dtype=torch.uint8)
    return ResidentSplit(images, torch.randint(0, 4, (n,), generator=generator))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(6 * 36, 4)
    )


class Run:
    """A job with everything it saved and recorded."""

    def __init__(self, aug: Chain | None = None, model: nn.Module | None = None) -> None:
        self.states: list[tuple[int, State, State]] = []
        self.history: list[dict[str, Any]] = []
        self.job = Job(
            model=model or network(),
            train=split(40, 0),
            val=split(24, 1),
            aug=aug or Chain(noise=Noise()),
            reg=NoRegularizer(),
            optim=PlainSGD(),
            seed=3,
            device=torch.device("cpu"),
            channels_last=True,
            compiled=False,
            save=self.save,
            record=self.record,
        )

    def save(self, step: int, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        self.states.append(
            (step, copy.deepcopy(dict(weights)), {"model": copy.deepcopy(dict(weights)), **copy.deepcopy(dict(state))})
        )

    def record(self, history: list[dict[str, Any]]) -> None:
        self.history = copy.deepcopy(history)


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in ("seconds", "images_per_s")} for line in history]


SETTINGS = Trainer(epochs=3, batch_size=8, precision="fp32")


def test_the_same_seed_gives_the_same_run_bit_for_bit() -> None:
    first, second, other = Run(), Run(), Run()
    other.job.seed = 4
    for run in (first, second, other):
        torch.rand(7)  # the global generator's state must not matter
        SETTINGS.fit(run.job)
    assert equal(first.job.model, second.job.model)
    assert without_times(first.history) == without_times(second.history)
    assert not equal(first.job.model, other.job.model)


class StopAt(Noise):
    """Raises a real signal at the n-th draw."""

    def __init__(self, count: int, signum: int) -> None:
        self.count, self.signum = count, signum

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        self.count -= 1
        if self.count == 0:
            os.kill(os.getpid(), self.signum)
        return super().sample(shape, generator)


@pytest.mark.parametrize("settings", [SETTINGS, Trainer(epochs=3, batch_size=8, precision="fp32", ema_decay=0.9)])
@pytest.mark.parametrize(("stop", "signum"), [(1, signal.SIGTERM), (7, signal.SIGTERM), (10, signal.SIGINT)])
def test_interrupted_and_resumed_equals_uninterrupted(settings: Trainer, stop: int, signum: int) -> None:
    whole = Run()
    settings.fit(whole.job)
    cut = Run(aug=Chain(noise=StopAt(stop, signum)))
    with pytest.raises(Interrupted) as stopped:
        settings.fit(cut.job)
    assert stopped.value.signum == signum
    step, _, state = cut.states[-1]
    assert step == stop == state["step"]
    torch.rand(5)
    rest = Run(model=network())
    settings.fit(rest.job, state)
    assert equal(rest.job.model, whole.job.model)
    assert without_times(rest.history) == without_times(whole.history)
    assert all(torch.equal(rest.states[-1][1][name], tensor) for name, tensor in whole.states[-1][1].items())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_killed_between_the_last_checkpoint_and_its_line() -> None:
    """The next launch, for which no epoch is left, writes the line."""
    whole, rest = Run(), Run(model=network())
    SETTINGS.fit(whole.job)
    SETTINGS.fit(rest.job, whole.states[-1][2])
    assert rest.history == whole.history
    assert len(rest.history) == 3
    assert not rest.states


class Bomb(Noise):
    """Makes the loss infinite from the n-th draw on."""

    def __init__(self, count: int) -> None:
        self.count = count

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        self.count -= 1
        return {"noise": torch.full(shape, float("nan") if self.count < 0 else 0.0)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        return images + params["noise"]


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_last_good_checkpoint() -> None:
    run = Run(aug=Chain(bomb=Bomb(7)))
    with pytest.raises(UserError, match=r"not finite at step 7 \(epoch 2\); the last good checkpoint .* step 5"):
        SETTINGS.fit(run.job)
    assert [step for step, _, _ in run.states] == [5]
    assert all(torch.isfinite(tensor).all() for tensor in run.states[0][1].values())
    early = Run(aug=Chain(bomb=Bomb(0)))
    with pytest.raises(UserError, match=r"step 0 .*no checkpoint"):
        SETTINGS.fit(early.job)


class Leap(PlainSGD):
    """Its last step goes to where numbers end."""

    def __init__(self, rate: float, at: int) -> None:
        self.rate, self.at = rate, at

    def build(self, model: nn.Module, *_: Any) -> tuple[torch.optim.Optimizer, Callable[[int], float]]:
        optimizer, _ = super().build(model)
        return optimizer, lambda step: self.rate if step == self.at else 1.0


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (float("inf"), "the weights are not finite after step 10"),
        (1e25, "the validation loss is not finite after step 10"),
    ],
)
def test_what_the_last_step_has_led_to_is_looked_at(rate: float, said: str) -> None:
    """No later loss would show it, and the checkpoint would be called good."""
    run = Run()
    run.job.optim = Leap(rate, 9)
    with pytest.raises(UserError, match=rf"^{said} \(epoch 2\); the last good checkpoint is last\.pt of step 5"):
        SETTINGS.fit(run.job)
    assert [step for step, _, _ in run.states] == [5]


def test_history_holds_the_validation_numbers_of_predict() -> None:
    run = Run()
    history = SETTINGS.fit(run.job)
    assert [line["epoch"] for line in history] == [1, 2, 3]
    assert [line["step"] for line in history] == [5, 10, 15]
    assert run.job.val is not None
    result = outcome(*predict(run.job.model, run.job.val.batches(256))[:2])
    assert history[-1]["val_error"] == float(result.wrong.mean())
    assert history[-1]["val_loss"] == float(result.nll.mean())


def test_validation_and_checkpoints_every_so_often_and_at_the_end() -> None:
    run = Run()
    history = Trainer(epochs=5, batch_size=8, precision="fp32", val_every=2, checkpoint_every=3).fit(run.job)
    assert [line["val_error"] is not None for line in history] == [False, True, False, True, True]
    assert [step for step, _, _ in run.states] == [15, 25]


def test_the_average_is_reported_and_follows_its_formula() -> None:
    run = Run()
    steps: list[torch.Tensor] = []
    update = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *args: Any) -> None:
        update(self, *args)
        steps.append(run.job.model[-1].weight.detach().clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", watched)
        Trainer(epochs=1, batch_size=8, precision="fp32", ema_decay=0.9).fit(run.job)
    expected = steps[0]
    for weight in steps[1:]:
        expected = 0.9 * expected + 0.1 * weight
    reported = run.states[-1][1]["5.weight"]
    assert torch.allclose(reported, expected, atol=1e-7)
    assert not torch.allclose(reported, steps[-1])


def test_every_image_is_seen_once_per_epoch_in_a_new_order() -> None:
    run = Run()
    seen: list[list[int]] = []
    batches = run.job.train.batches

    def watched(size: int, order: torch.Tensor, **rest: Any) -> Any:
        seen.append(order.tolist())
        return batches(size, order, **rest)

    run.job.train.batches = watched
    SETTINGS.fit(run.job)
    assert [sorted(order) for order in seen] == [list(range(40))] * 3
    assert seen[0] != seen[1] != seen[2]


def test_batch_larger_than_the_split() -> None:
    with pytest.raises(UserError, match="batch_size=64 exceeds the 40"):
        Trainer(epochs=1, batch_size=64).fit(Run().job)


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": 0}, {"label_smoothing": 1.0}, {"ema_decay": 1.0}, {"val_every": 0}]
)
def test_settings_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"trainer.{next(iter(bad))}"):
        Trainer(**({"epochs": 1, "batch_size": 8} | bad))


def test_loss_is_the_weighted_sum_of_means() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 4, generator=generator)
    labels = torch.tensor([0, 1, 2, 3, 0])
    soft = torch.rand(2, 5, 4, generator=generator).softmax(-1)
    clean, mixed = (functional.cross_entropy(logits[v], labels) for v in range(2))
    hard = Views(torch.empty(2, 5, 3, 8, 8), labels.expand(2, 5), (1.0, 1.0))
    assert views_loss(logits, hard) == pytest.approx(float(clean + mixed))
    assert views_loss(logits, hard._replace(weights=(2.0, 0.0))) == pytest.approx(2 * float(clean))
    expected = -(soft * logits.log_softmax(-1)).sum(-1).mean(-1)
    assert views_loss(logits, hard._replace(targets=soft)) == pytest.approx(float(expected.sum()))
    smooth = -(0.8 * logits[0].log_softmax(-1)[range(5), labels] + 0.2 * logits[0].log_softmax(-1).mean(-1)).mean()
    one = Views(torch.empty(1, 5, 3, 8, 8), labels[None], (1.0,))
    assert views_loss(logits[:1], one, label_smoothing=0.2) == pytest.approx(float(smooth))


def test_correct_counts_the_first_view() -> None:
    logits = torch.eye(4)[torch.tensor([[0, 1, 2], [3, 3, 3]])]
    labels = torch.tensor([0, 1, 3])
    views = Views(torch.empty(2, 3, 3, 8, 8), labels.expand(2, 3), (1.0, 1.0))
    assert count_correct(logits, views) == 2
    assert count_correct(logits, views._replace(targets=torch.eye(4)[labels].expand(2, 3, 4))) == 2
