"""The draws of some of a batch's images, out of those of the whole batch."""

from __future__ import annotations

from typing import Any

import torch

from fourier_robust.aug.image_ops import Draw
from fourier_robust.aug.views import Params
from fourier_robust.errors import UserError
from fourier_robust.run.seed import derive


def part(params: Params, count: int, rows: slice) -> Params:
    """What `sample` drew for `count` images, for those of `rows`: N parts see what one process sees.

    Tensors hold one entry per image along their first axis. ``partner``, a permutation, becomes one of the part: it
    keeps the order of the partners, so it is as uniform. A whole number is a seed, and every part but the first gets
    one of its own. Anything else (a coin, a share) is the batch's, and every part's.

    Args:
        params: as `sample` gave them.
        count: B of the whole batch.
        rows: of the part.

    Raises:
        UserError: a tensor that does not hold one entry per image.
    """
    return {name: _part(name, value, count, rows) for name, value in params.items()}


def _part(name: str, value: Any, count: int, rows: slice) -> Any:
    if isinstance(value, dict):
        return part(value, count, rows)
    if isinstance(value, Draw):
        return value.at(rows)
    if isinstance(value, torch.Tensor):
        if value.ndim == 0 or len(value) != count:
            raise UserError(f"aug: {name} is not drawn image by image; this augmentation needs a single process")
        return value[rows].argsort().argsort() if name == "partner" else value[rows]
    if isinstance(value, int) and not isinstance(value, bool):
        return derive(value, "part", rows.start) if rows.start else value
    return value
