"""One of the two places where a model meets data: a pass that gives logits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from fourier_robust.dataset.base import Batch

Precision = Literal["fp32", "bf16"]


class Prediction(NamedTuple):
    """logits (N,K) float32, labels (N,) int64 and indices (N,) int64, all on the CPU, in the order of the batches."""

    logits: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast, or nothing for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def memory_format(device: torch.device, precision: Precision) -> torch.memory_format:
    """Layout that is fastest for inference: channels_last except for float32 on a CPU (0.73 to 1.02 there)."""
    plain = precision == "fp32" and device.type == "cpu"
    return torch.contiguous_format if plain else torch.channels_last


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[Batch], precision: Precision = "fp32") -> Prediction:
    """Logits of every image of `batches`, in evaluation mode; the model's mode is restored afterwards.

    Args:
        model: takes (B,C,H,W) in [0,1], gives (B,K); on the device of the batches.
        batches: at least one.
        precision: of the forward pass; logits are float32 either way.

    Raises:
        ValueError: no batches.
    """
    was_training = model.training
    model.eval()
    logits, labels, indices = [], [], []
    try:
        for batch in batches:
            device = batch.images.device
            images = batch.images.contiguous(memory_format=memory_format(device, precision))
            with autocast(device, precision):
                logits.append(model(images).float())
            labels.append(batch.labels)
            indices.append(batch.indices)
    finally:
        model.train(was_training)
    if not logits:
        raise ValueError("nothing to predict: no batches")
    return Prediction(torch.cat(logits).cpu(), torch.cat(labels).cpu(), torch.cat(indices))
