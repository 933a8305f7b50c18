"""Batches of one size out of a stream of batches of any."""

from __future__ import annotations

import torch

from fourier_robust.dataset.base import Batch


class Rebatch:
    """The same images in the same order, `size` at a time; what fills no batch yet is held back.

    A batch that is full already passes as it is. Images of another shape, dtype or device than those held start a new
    batch; the one before is then short.

    Args:
        size: images per batch, > 0.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[Batch] = []

    def add(self, batch: Batch) -> list[Batch]:
        """The batches that are ready once `batch`, of any length, has come."""
        ready = self.rest() if self._held and _kind(batch) != _kind(self._held[0]) else []
        self._held.append(batch)
        count = sum(len(one.labels) for one in self._held)
        if count < self._size:
            return ready
        whole = _joined(self._held)
        last = count - count % self._size
        self._held = [_part(whole, last, count)] if last < count else []
        return ready + [_part(whole, start, start + self._size) for start in range(0, last, self._size)]

    def rest(self) -> list[Batch]:
        """What is held back, as a short batch, or nothing."""
        held, self._held = self._held, []
        return [_joined(held)] if any(len(one.labels) for one in held) else []


def _kind(batch: Batch) -> tuple[object, ...]:
    return batch.images.shape[1:], batch.images.dtype, batch.images.device


def _joined(batches: list[Batch]) -> Batch:
    return batches[0] if len(batches) == 1 else Batch(*(torch.cat(column) for column in zip(*batches, strict=True)))


def _part(batch: Batch, start: int, stop: int) -> Batch:
    whole = start == 0 and stop == len(batch.labels)
    return batch if whole else Batch(*(column[start:stop] for column in batch))
