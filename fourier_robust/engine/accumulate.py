"""One step's forward and backward pass in parts of the batch: less memory, the same gradient."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

from fourier_robust.arch.batch_norm import batch_norms
from fourier_robust.aug.views import Views
from fourier_robust.engine.distributed import Agreed
from fourier_robust.engine.job import Job
from fourier_robust.engine.predict import Precision, autocast
from fourier_robust.errors import UserError
from fourier_robust.reg.none import NoRegularizer
from fourier_robust.run.memory import free, out_of_memory, reason_of

Criterion = Callable[[torch.Tensor, Views], torch.Tensor]


class MicroBatches:
    """Runs the images of a step `size` at a time, each part's loss by its share of the batch, gradients adding up.

    A mean over images is the weighted mean of its parts' means: without BatchNorm and dropout the gradient is that of
    the whole batch but for rounding. BatchNorm takes the statistics of each part, and its running ones learn from each.

    Args:
        model: whose gradients add up.
        size: images per part (of all views together), or ``auto``: the whole batch; where that runs out of memory,
            half of it, from then on, with a warning if the model has BatchNorm layers.
        context: precision of the forward pass.
    """

    def __init__(
        self, model: nn.Module, size: int | Literal["auto"], context: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.model, self.context = model, context
        self.size = None if size == "auto" else size
        self.halves = size == "auto"
        self._warned = False

    def backward(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],
        images: torch.Tensor,
        views: Views,
        criterion: Criterion,
        seed: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradient of the loss of (V*B,C,H,W) `images`; returns detached (V,B,K) logits and the 0-d loss.

        Args:
            forward: the model, or its compiled form.
            images: the views in a row.
            views: of the whole batch.
            criterion: (V,B,K) logits and views -> 0-d loss, a mean over images.
            seed: of dropout, whose masks are drawn anew if a pass has to be.

        Raises:
            UserError: not even a single image fits.
        """
        count = views.images.shape[1]
        while True:
            kept = [(one, one.clone()) for one in self._running()] if self.halves else []
            try:
                torch.manual_seed(seed)
                return self._pass(forward, images, views, criterion, min(self.size or count, count))
            except (RuntimeError, MemoryError) as error:
                if not self.halves or not out_of_memory(error):
                    raise
                size, reason = min(self.size or count, count), reason_of(error)
            if size == 1:
                raise UserError(f"out of memory with a single image: {reason}")
            self.size = (size + 1) // 2
            self.model.zero_grad(set_to_none=True)
            with torch.no_grad():
                for one, before in kept:
                    one.copy_(before)
            free()
            print(f"warning: out of memory with {size} images at once: {self.size} from here on", flush=True)
            if batch_norms(self.model) and not self._warned:
                self._warned = True
                print("warning: BatchNorm sees parts of the batch now: the result is not that of the whole", flush=True)

    def _pass(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],
        images: torch.Tensor,
        views: Views,
        criterion: Criterion,
        size: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shape = views.images.shape[:2]
        logits, total = [], torch.zeros((), device=images.device)
        layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else None
        for rows in (slice(start, start + size) for start in range(0, shape[1], size)):
            part = Views(views.images[:, rows], views.targets[:, rows], views.weights)
            pixels = images.unflatten(0, shape)[:, rows].flatten(0, 1)
            with self.context():
                found = forward(pixels.contiguous(memory_format=layout or torch.contiguous_format))
            found = found.unflatten(0, part.images.shape[:2])
            loss = criterion(found, part) * (part.images.shape[1] / shape[1])
            loss.backward()
            logits.append(found.detach())
            total += loss.detach()
        return torch.cat(logits, 1), total

    def _running(self) -> list[torch.Tensor]:
        every = [(one.running_mean, one.running_var, one.num_batches_tracked) for one in batch_norms(self.model)]
        return [tensor for layer in every for tensor in layer if tensor is not None]


def micro_batches(job: Job, precision: Precision) -> MicroBatches | None:
    """What runs a step in parts, where that was asked for.

    Raises:
        UserError: something looks at the batch as a whole.
    """
    if job.micro_batch is None:
        return None
    if not isinstance(job.reg, NoRegularizer):
        raise Agreed("device.micro_batch needs reg=none: a regularizer looks at the batch as a whole")
    if any(isinstance(module, nn.SyncBatchNorm) for module in job.model.modules()):
        raise Agreed("device.micro_batch and device.sync_batch_norm exclude each other")
    return MicroBatches(job.model, job.micro_batch, lambda: autocast(job.device, precision))
