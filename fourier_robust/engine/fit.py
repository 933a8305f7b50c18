"""The other place where a model meets data: training, resumable at any step (one loop, one state: hence one file).

Every random number derives from (seed, purpose, epoch or step), so no generator state is saved and a run that
was stopped and resumed equals one that was not, bit for bit on the same CPU and number of threads.

Several processes (`Job.team`) share every batch: order and augmentation are drawn for the whole batch in each of them,
and each takes its rows. So they see what one process sees, and may resume what any number of them has begun.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from fourier_robust.aug.part import part
from fourier_robust.aug.views import Augmentation, ModelAugmentation, Views
from fourier_robust.dataset.base import Batch
from fourier_robust.engine.accumulate import micro_batches
from fourier_robust.engine.distributed import Agreed, telling
from fourier_robust.engine.interrupt import Interrupted, StopFlag, stop_on_signals
from fourier_robust.engine.job import Job
from fourier_robust.engine.loss import count_correct, views_loss
from fourier_robust.engine.meter import Means, Meter, sentence
from fourier_robust.engine.predict import Precision, autocast
from fourier_robust.engine.process import bf16_pays
from fourier_robust.engine.replicas import Replicas, share_start
from fourier_robust.engine.validate import validate
from fourier_robust.metric.outcome import outcome
from fourier_robust.reg.none import NoRegularizer
from fourier_robust.reg.step import Step
from fourier_robust.run.seed import derive

REFRESH_STEPS = 20  # a progress bar that reads the device's sums more often would wait for it


@dataclass(frozen=True)
class Trainer:
    """Settings of the loop, and the loop.

    Args:
        epochs: passes over the training split; the last checkpoint is the result.
        batch_size: images per step, of all processes together, before views are made; the last incomplete batch of an
            epoch is dropped.
        precision: of forward and backward; ``auto`` is bf16 autocast where that is faster (`bf16_pays`), else float32.
        label_smoothing: in [0,1).
        ema_decay: keep an exponential moving average of the weights with this decay per step and report it.
        val_precision: of the validation pass.
        val_every: validate every so many epochs, and after the last.
        checkpoint_every: write a checkpoint every so many epochs, and after the last.

    Raises:
        ValueError: a setting out of its range.
    """

    epochs: int
    batch_size: int
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    val_precision: Literal["fp32", "bf16"] = "fp32"
    val_every: int = 1
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "val_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"trainer.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"trainer.label_smoothing={self.label_smoothing} must be in [0,1)")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"trainer.ema_decay={self.ema_decay} must be in (0,1)")

    def fit(self, job: Job, state: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Train to the last epoch; `state` is that of a checkpoint to go on from.

        Returns:
            One dict per epoch, the lines of train.csv.

        Raises:
            UserError: loss, weights or validation loss are not finite, the training split is smaller than a batch, the
                batch can't be shared equally among the processes, or another process ended.
            Interrupted: SIGTERM or SIGINT came; a checkpoint of the step reached has been saved.
        """
        with stop_on_signals() as flag, telling(job.team):
            return _Loop(self, job, flag).run(state)


class _Loop:
    """One training run in progress."""

    def __init__(self, settings: Trainer, job: Job, flag: StopFlag) -> None:
        self.settings, self.job, self.flag = settings, job, flag
        self.steps_per_epoch = len(job.train) // settings.batch_size
        if self.steps_per_epoch == 0:
            raise Agreed(f"trainer.batch_size={settings.batch_size} exceeds the {len(job.train)} training images")
        if settings.batch_size % job.team.size:
            raise Agreed(f"trainer.batch_size={settings.batch_size} can't be shared by {job.team.size} processes")
        self.rows = job.team.rows(settings.batch_size)
        self.precision: Precision = "fp32" if settings.precision == "fp32" else "bf16"
        if settings.precision == "auto" and not bf16_pays(job.device):
            self.precision = "fp32"
        self.layout = torch.channels_last if job.channels_last else torch.contiguous_format
        job.model.to(memory_format=self.layout)
        self.optimizer, self.rule = job.optim.build(
            job.model, settings.epochs, self.steps_per_epoch, settings.batch_size
        )
        self.micro = micro_batches(job, self.precision)
        self.aug = _with_model(job, self.precision)
        self.average: AveragedModel | None = None
        self.generator = torch.Generator()
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.meter = Meter(job.device, team=job.team)
        self.figures = Means(job.device, team=job.team)
        self.seconds = 0.0
        self.saved_step: int | None = None

    def run(self, state: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        if state is None:
            self._initialise()
            share_start(self.job.model, self.job.team)
        if self.settings.ema_decay is not None:
            rule = get_ema_multi_avg_fn(self.settings.ema_decay)
            self.average = AveragedModel(self.job.model, multi_avg_fn=rule, use_buffers=True)
        if state is not None:
            self._restore(state)
            if self.history and self.job.team.first:  # killed between a checkpoint and its line
                self.job.record(self.history)
        once = self.micro is None and isinstance(self.job.reg, NoRegularizer)
        self.replicas = Replicas(self.job.model, self.job.team, once, self.job.compiled)
        while self.step < self.settings.epochs * self.steps_per_epoch:
            self._epoch(self.step // self.steps_per_epoch)
        return self.history

    def _initialise(self) -> None:
        """Let a model that starts from data (speednet's whitening) see the first training images."""
        initialise = getattr(self.job.model, "init_from_data", None)
        if initialise is not None:
            first = torch.arange(min(len(self.job.train), 5000))
            initialise(next(self.job.train.batches(len(first), first)).images)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.job.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.micro is not None and self.micro.halves:
            self.micro.size = state.get("micro_batch")
        self.step = self.saved_step = state["step"]
        self.history = [dict(line) for line in state["history"]]
        self.meter = Meter(self.job.device, state["meter"], self.job.team)
        self.figures = Means(self.job.device, state.get("figures"), self.job.team)
        self.seconds = state["seconds"]

    def _epoch(self, epoch: int) -> None:
        job, size = self.job, self.settings.batch_size
        generator = torch.Generator().manual_seed(derive(job.seed, "order", epoch))
        order = torch.randperm(len(job.train), generator=generator)[: self.steps_per_epoch * size]
        rest = order[(self.step - epoch * self.steps_per_epoch) * size :]
        job.model.train()
        started = time.perf_counter() - self.seconds
        name = f"epoch {epoch + 1}/{self.settings.epochs}"
        done, quiet = len(order) - len(rest), None if job.team.first else True
        with tqdm(total=len(order), initial=done, desc=name, unit="img", leave=False, disable=quiet) as bar:
            for batch in self._batches(rest, epoch):
                self._train_step(batch)
                bar.update(size)
                if self.step % REFRESH_STEPS == 0:
                    self._stop_if_diverged()
                    bar.set_postfix(loss=f"{self.meter.loss:.3f}", acc=f"{self.meter.accuracy:.3f}", refresh=False)
                signum = self._signal()
                if signum and self.step % self.steps_per_epoch:
                    self.seconds = time.perf_counter() - started
                    self._interrupt(signum)
        self._stop_if_diverged()
        self._stop_unless_finite("the weights are", self._finite())
        self._finish_epoch(epoch, time.perf_counter() - started)
        signum = self._signal()
        if signum and epoch + 1 < self.settings.epochs:
            self._interrupt(signum)

    def _batches(self, order: torch.Tensor, epoch: int) -> Iterator[Batch]:
        """This process's rows of every batch of `order`."""
        own = order.view(-1, self.settings.batch_size)[:, self.rows]
        crop_seed = derive(self.job.seed, "crop", epoch)
        return self.job.train.batches(own.shape[1], own.reshape(-1), seed=crop_seed, drop_last=True)

    def _signal(self) -> int:
        """The signal that came to any of the processes, or 0; all know of it after the same step."""
        return int(self.job.team.largest(self.flag.signum or 0))

    def _own(self, purpose: str) -> int:
        """A seed of this step; the first process has that of a process alone."""
        rank = self.job.team.rank
        return derive(self.job.seed, purpose, self.step, *([rank] if rank else []))

    def _train_step(self, batch: Batch) -> None:
        job = self.job
        factor = self.rule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.generator.manual_seed(derive(job.seed, "aug", self.step))
        torch.manual_seed(self._own("dropout"))  # layers with dropout take no generator
        size, shape = self.settings.batch_size, batch.images.shape
        params = self.aug.sample((size, shape[1], shape[2], shape[3]), self.generator)
        if job.team.size > 1:
            params = part(params, size, self.rows)
        views = self.aug.apply(batch.images, batch.labels, params)
        images = views.images.flatten(0, 1).contiguous(memory_format=self.layout)
        joint = self.precision == "fp32" and not job.compiled and job.reg.shares_pass(self.step)
        logits, loss = self._pass(images, views, joint)
        self.replicas.average_gradients()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.replicas.average_statistics()
        if self.average is not None:
            self.average.update_parameters(job.model)
        with torch.no_grad():
            self.meter.add(loss.detach(), count_correct(logits, views), shape[0], self.step)
        self.step += 1

    def _pass(self, images: torch.Tensor, views: Views, joint: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward, backward and penalty: (V,B,K) logits and the loss."""
        job, forward = self.job, self.replicas.forward
        if self.micro is not None:
            return self.micro.backward(forward, images, views, self._criterion, self._own("dropout"))
        if joint:
            images = images.detach().requires_grad_()
        with autocast(job.device, self.precision):
            logits = forward(images)
        logits = logits.unflatten(0, views.images.shape[:2])
        loss = self._criterion(logits, views)
        if not joint:
            loss.backward()
        self._regularize(
            Step(self.step, job.model, views, images, logits, loss, self._criterion, joint, self.generator)
        )
        return logits, loss

    def _criterion(self, logits: torch.Tensor, views: Views) -> torch.Tensor:
        return views_loss(logits, views, self.settings.label_smoothing)

    def _regularize(self, step: Step) -> None:
        self.generator.manual_seed(self._own("reg"))
        self.figures.add(self.job.reg.add_gradient(step))

    def _stop_if_diverged(self) -> None:
        bad = self.meter.whole().bad_step
        if bad is not None:
            self._diverged("the loss is", f"at step {bad} (epoch {bad // self.steps_per_epoch + 1})")

    def _stop_unless_finite(self, what: str, finite: bool) -> None:
        """The same of what the last step has led to, which no later loss may show."""
        if self.job.team.largest(float(not finite)):
            self._diverged(what, f"after step {self.step} (epoch {(self.step - 1) // self.steps_per_epoch + 1})")

    def _finite(self) -> bool:
        """Whether all weights are."""
        return bool(torch.stack([one.isfinite().all() for one in self.job.model.parameters()]).all())

    def _diverged(self, what: str, where: str) -> NoReturn:
        good = "no checkpoint was written before it"
        if self.saved_step is not None:
            good = f"the last good checkpoint is last.pt of step {self.saved_step}"
        raise Agreed(f"{what} not finite {where}; {good}")

    def _interrupt(self, signum: int) -> None:
        self._stop_if_diverged()
        self._stop_unless_finite("the weights are", self._finite())
        if self.saved_step != self.step:
            self._checkpoint()
        epoch, done = divmod(self.step, self.steps_per_epoch)
        where = f"after epoch {epoch}, step {done}/{self.steps_per_epoch} of the next"
        raise Interrupted(signum, f"stopped {where}; saved; the same command goes on from here")

    def _finish_epoch(self, epoch: int, seconds: float) -> None:
        job, settings, last = self.job, self.settings, epoch + 1 == self.settings.epochs
        meter = self.meter.whole()
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": meter.loss,
            "train_accuracy": meter.accuracy,
            "val_loss": None,
            "val_error": None,
            "images_per_s": (meter.images / seconds) if seconds > 0 else None,
            "seconds": seconds,
            "precision": self.precision,
        } | {f"reg_{name}": mean for name, mean in self.figures.means().items()}
        if job.val is not None and (last or (epoch + 1) % settings.val_every == 0):
            seen = validate(self._reported(), job.val, settings.val_precision, job.team)
            if seen is not None:
                result = outcome(seen.logits, seen.labels)
                line |= {"val_loss": float(result.nll.mean()), "val_error": float(result.wrong.mean())}
            self._stop_unless_finite("the validation loss is", math.isfinite(line["val_loss"] or 0.0))
        self.history.append(line)
        self.meter, self.seconds = Meter(job.device, team=job.team), 0.0
        self.figures.restart()
        if last or (epoch + 1) % settings.checkpoint_every == 0:
            self._checkpoint()
        if job.team.first:
            job.record(self.history)
        tqdm.write(sentence(line, settings.epochs))

    def _reported(self) -> nn.Module:
        return self.job.model if self.average is None else self.average.module

    def _checkpoint(self) -> None:
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": self.history,
            "meter": self.meter.whole().state(),
            "figures": self.figures.state(),
            "seconds": self.seconds,
        }
        if self.micro is not None and self.micro.halves:
            state["micro_batch"] = self.micro.size  # with BatchNorm the result depends on it
        if self.average is not None:  # the reported weights are the average's, so the raw ones go here
            state |= {"model": self.job.model.state_dict(), "average": self.average.state_dict()}
        if self.job.team.first:
            self.job.save(self.step, self._reported().state_dict(), state)
        self.job.team.barrier()
        self.saved_step = self.step


def _with_model(job: Job, precision: Precision) -> Augmentation:
    """The job's augmentation, with the model if it needs one."""
    if isinstance(job.aug, ModelAugmentation):
        return job.aug.for_model(job.model, lambda: autocast(job.device, precision))
    return job.aug
