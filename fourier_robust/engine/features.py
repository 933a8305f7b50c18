"""Beside `predict`: a pass that gives what named layers of the model put out, one batch at a time."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.memory import in_halves
from fourier_robust.engine.predict import Precision, autocast, evaluating, memory_format
from fourier_robust.errors import UserError


class Features(NamedTuple):
    """of each layer (B,...) float32 on the model's device; labels (B,) and indices (B,) int64 on the CPU."""

    layers: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    indices: torch.Tensor


def check_layers(model: nn.Module, layers: Sequence[str]) -> None:
    """Refuse names that are no module of the model.

    Raises:
        UserError: names the nearest there are, or those at the top.
    """
    known = [name for name, _ in model.named_modules() if name]
    for layer in layers:
        if layer not in known:
            near = difflib.get_close_matches(layer, known, n=5)
            top = [name for name in known if name.count(".") < 2]
            there = f"nearest: {', '.join(near)}" if near else f"it has {', '.join(top)}"
            raise UserError(f"the model has no module {layer}; {there}")


def features(
    model: nn.Module, batches: Iterable[Batch], layers: Sequence[str], precision: Precision = "fp32"
) -> Iterator[Features]:
    """What each layer puts out for each image, in evaluation mode; the model's mode is restored afterwards.

    A copy, since the next layer may work in place on what it got. A batch that does not fit into memory goes through
    in halves.

    Args:
        model: takes (B,C,H,W) in [0,1]; on the device of the batches.
        batches: images and labels.
        layers: names as of ``model.named_modules()``.
        precision: of the forward pass; features are float32 either way.

    Raises:
        UserError: a name is unknown, or its module does not put out one tensor (B,...) in a pass.
    """
    check_layers(model, layers)
    found: dict[str, list[Any]] = {layer: [] for layer in layers}

    def keep(layer: str, output: Any) -> None:
        tensor = isinstance(output, torch.Tensor)
        found[layer].append(output.to(torch.float32, copy=True) if tensor else output)

    def run(part: Batch) -> Features:
        device = part.images.device
        images = part.images.contiguous(memory_format=memory_format(device, precision))
        try:
            with torch.inference_mode(), autocast(device, precision):
                model(images)
            whole = {layer: _only(layer, found[layer], len(images)) for layer in layers}
        finally:
            for outputs in found.values():  # also of an attempt that ran out of memory
                outputs.clear()
        return Features(whole, part.labels, part.indices)

    hooks = [
        model.get_submodule(layer).register_forward_hook(lambda _, __, output, layer=layer: keep(layer, output))
        for layer in dict.fromkeys(layers)
    ]
    try:
        with evaluating(model):
            for batch in batches:
                seen = in_halves(run, batch, _joined)
                yield seen._replace(labels=batch.labels.cpu())
    finally:
        for hook in hooks:
            hook.remove()


def _joined(parts: list[Features]) -> Features:
    layers = {layer: torch.cat([part.layers[layer] for part in parts]) for layer in parts[0].layers}
    labels, indices = (torch.cat(column) for column in list(zip(*parts, strict=True))[1:])
    return Features(layers, labels, indices)


def _only(layer: str, outputs: list[Any], count: int) -> torch.Tensor:
    if len(outputs) != 1:
        raise UserError(f"layer {layer} works {len(outputs)} times in a pass; it must be once")
    (output,) = outputs
    if not isinstance(output, torch.Tensor) or output.ndim < 1 or len(output) != count:
        what = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise UserError(f"layer {layer} puts out {what}, not one tensor with a row per image")
    return output
