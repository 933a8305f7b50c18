"""One of the two places where a model meets data: a pass that gives logits."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.memory import in_halves
from fourier_robust.engine.rebatch import Rebatch

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


def predict(model: nn.Module, batches: Iterable[Batch], precision: Precision = "fp32") -> Prediction:
    """Logits of every image of `batches`, in evaluation mode; the model's mode is restored afterwards.

    A batch that does not fit into memory goes through in halves.

    Args:
        model: takes (B,C,H,W) in [0,1], gives (B,K); on the device of the batches.
        batches: at least one.
        precision: of the forward pass; logits are float32 either way.

    Raises:
        ValueError: no batches.
    """
    with evaluating(model):
        parts = [_predict(model, batch, precision) for batch in batches]
    if not parts:
        raise ValueError("nothing to predict: no batches")
    return _on_cpu(_joined(parts))


def predict_each(
    model: nn.Module, sources: Iterable[Iterable[Batch]], batch_size: int, precision: Precision = "fp32"
) -> Iterator[Prediction]:
    """A prediction per source, in their order, as `predict` gives it; batches are filled across their borders.

    So hundreds of small sources cost as many passes as one large. A source's prediction comes before the next source is
    asked for, unless its last images wait for others to fill their batch.

    Args:
        model: see `predict`.
        sources: the batches of each, of any size; asked for one after the other.
        batch_size: images per pass, > 0.
        precision: see `predict`.

    Raises:
        ValueError: a source without images.
    """
    rebatch = Rebatch(batch_size)
    parts: list[Prediction] = []  # of images whose source is not finished
    read: deque[int] = deque()  # images of each source that was read to its end

    def finished(batches: Iterable[Batch]) -> Iterator[Prediction]:
        nonlocal parts
        parts += [_predict(model, batch, precision) for batch in batches]
        held = sum(len(part.labels) for part in parts)
        while read and held >= read[0]:
            whole, count = _joined(parts), read.popleft()
            yield _on_cpu(Prediction(*(column[:count] for column in whole)))
            parts, held = [Prediction(*(column[count:] for column in whole))], held - count

    with evaluating(model):
        for source in sources:
            count = 0
            for batch in source:
                count += len(batch.labels)
                yield from finished(rebatch.add(batch))
            if not count:
                raise ValueError("nothing to predict: no images")
            read.append(count)
            yield from finished(())
        yield from finished(rebatch.rest())


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; the model's own mode again afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _predict(model: nn.Module, batch: Batch, precision: Precision) -> Prediction:
    """Of one batch, on its device; its indices on the CPU. In halves where memory runs out."""

    def run(part: Batch) -> Prediction:
        device = part.images.device
        images = part.images.contiguous(memory_format=memory_format(device, precision))
        with torch.inference_mode(), autocast(device, precision):
            return Prediction(model(images).float(), part.labels, part.indices)

    return in_halves(run, batch, _joined)


def _joined(parts: list[Prediction]) -> Prediction:
    return Prediction(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _on_cpu(prediction: Prediction) -> Prediction:
    return Prediction(*(column.cpu() for column in prediction))
