"""What to do when a batch does not fit into memory: the same in two halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fourier_robust.dataset.base import Batch
from fourier_robust.errors import UserError
from fourier_robust.run.memory import by_halves, out_of_memory

T = TypeVar("T")


def in_halves(work: Callable[[Batch], T], batch: Batch, join: Callable[[list[T]], T]) -> T:
    """``work(batch)``, or where that runs out of memory, of its two halves, and of theirs, down to single images.

    Args:
        work: treats every image by itself, so that the size of a batch changes nothing but rounding.
        batch: B images.
        join: results of parts, in order -> that of the whole; not asked where the batch fits.

    Raises:
        UserError: a single image does not fit, or the joined result does not.
    """

    def of(rows: slice) -> T:
        whole = rows == slice(0, len(batch.labels))
        return work(batch if whole else Batch(*(column[rows] for column in batch)))

    parts = by_halves(of, 0, len(batch.labels))
    if len(parts) == 1:
        return parts[0]
    try:
        return join(parts)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(f"out of memory for the results of {len(batch.labels)} images: give batch_size=...") from error
