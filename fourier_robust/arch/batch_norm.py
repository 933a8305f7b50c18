"""Which statistics BatchNorm takes for a while: those of the batch, or those of training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from torch import nn

BNMode = Literal["train", "eval"]


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The BatchNorm layers, of any dimension."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@contextlib.contextmanager
def batch_norm(model: nn.Module, mode: BNMode) -> Iterator[None]:
    """BatchNorm in `mode` and its running statistics left alone; everything is put back afterwards.

    ``train`` takes the statistics of the batch, ``eval`` those of training. ``train`` also holds where ``model.eval()``
    is called within: the layers have no running statistics then, and take those of the batch in either mode.
    """
    layers = batch_norms(model)
    before = [(layer.training, layer.track_running_stats, layer.running_mean, layer.running_var) for layer in layers]
    for layer in layers:
        layer.training = mode == "train"
        layer.track_running_stats = mode == "eval" and layer.track_running_stats
        if mode == "train":
            layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer, (training, tracking, mean, var) in zip(layers, before, strict=True):
            layer.training, layer.track_running_stats = training, tracking
            layer.running_mean, layer.running_var = mean, var
