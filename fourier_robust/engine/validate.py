"""The validation pass of a training run: each process takes its share of the images, the first puts them together."""

from __future__ import annotations

import torch
from torch import nn

from fourier_robust.dataset.base import Split
from fourier_robust.engine.distributed import Team
from fourier_robust.engine.predict import Precision, Prediction, predict

BATCH = 256


def validate(model: nn.Module, split: Split, precision: Precision, team: Team) -> Prediction | None:
    """Predictions of every image, in the split's order, each once; None in all processes but the first.

    Raises:
        RuntimeError: an image is missing or came twice.
    """
    if team.size == 1:
        return predict(model, split.batches(BATCH), precision)
    sharing = min(team.size, len(split))  # a process needs an image
    order = torch.arange(len(split))[team.rank :: sharing] if team.rank < sharing else None
    own = None if order is None else predict(model, split.batches(BATCH, order), precision)
    if not team.first:
        if own is not None:
            team.send(own)
        return None
    assert own is not None
    parts = [own, *(Prediction(*team.receive(rank)) for rank in range(1, sharing))]
    logits, labels, indices = (torch.cat(column) for column in zip(*parts, strict=True))
    place = indices.argsort()
    if not torch.equal(indices[place], torch.arange(len(split))):
        raise RuntimeError(f"validation: {len(split)} images wanted, {len(indices)} came, each must come once")
    return Prediction(logits[place], labels[place], indices[place])
