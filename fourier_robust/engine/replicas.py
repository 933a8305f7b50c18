"""One copy of the model per process, kept equal from step to step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fourier_robust.arch.batch_norm import batch_norms
from fourier_robust.engine.distributed import Team


class Replicas:
    """Gradients become their mean over the processes, and so do BatchNorm's running statistics.

    The mean of the processes' mean gradients is the gradient of the mean over the whole batch. Where the loss's
    backward pass is the step's only one, DistributedDataParallel sends gradients while the pass still runs. Where a
    regularizer or a further part of the batch adds to them, they are sent once, when all have been added: the model
    stays as it is then, so every regularizer works as in one process, on its process's images.

    Args:
        model: on the device; the first process's weights are taken.
        team: its processes.
        once: the loss's backward pass is the step's only one.
        compiled: through torch.compile.

    Attributes:
        forward: the model for the loss's forward pass.
    """

    def __init__(self, model: nn.Module, team: Team, once: bool, compiled: bool) -> None:
        self.model, self.team = model, team
        self._overlapped = once and team.size > 1
        wrapped: nn.Module = model
        if self._overlapped:
            new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # torch 2.15
            unsent: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
            wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True, **unsent)
        self.forward: Callable[[torch.Tensor], torch.Tensor] = torch.compile(wrapped) if compiled else wrapped

    def average_gradients(self) -> None:
        """Between backward and the optimizer's step: all processes then step alike."""
        if self.team.size > 1 and not self._overlapped:
            self.team.average([weight.grad for weight in self.model.parameters() if weight.grad is not None])

    def average_statistics(self) -> None:
        """BatchNorm's running statistics; those of layers that see the whole batch (`SyncBatchNorm`) are equal."""
        if self.team.size > 1:
            layers = [one for one in batch_norms(self.model) if not isinstance(one, nn.SyncBatchNorm)]
            both = [tensor for one in layers for tensor in (one.running_mean, one.running_var) if tensor is not None]
            self.team.average(both)


def share_start(model: nn.Module, team: Team) -> None:
    """All processes start from the first one's weights and buffers."""
    team.copy_first([*model.parameters(), *model.buffers()])
