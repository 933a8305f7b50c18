"""What to do when a batch does not fit into memory: the same in two halves."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from fourier_robust.dataset.base import Batch
from fourier_robust.errors import UserError

T = TypeVar("T")
_said = False


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that a device, or the CPU's allocator, had no more memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def in_halves(work: Callable[[Batch], T], batch: Batch, join: Callable[[list[T]], T]) -> T:
    """``work(batch)``, or where that runs out of memory, of its two halves, and of theirs, down to single images.

    Args:
        work: treats every image by itself, so that the size of a batch changes nothing but rounding.
        batch: B images.
        join: results of parts, in order -> that of the whole.

    Raises:
        UserError: a single image does not fit.
    """
    try:
        return work(batch)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        count, reason = len(batch.labels), str(error).strip().splitlines()[0]
    # outside the handler: the error holds the frames, and they hold the tensors
    if count == 1:
        raise UserError(f"out of memory with a single image: {reason}")
    free()
    _say_once(f"out of memory with {count} images: such batches go in halves (batch_size=... avoids the attempt)")
    half = count // 2
    parts = [Batch(*(column[rows] for column in batch)) for rows in (slice(half), slice(half, None))]
    return join([in_halves(work, part, join) for part in parts])


def free() -> None:
    """Give back what a failed attempt left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _say_once(text: str) -> None:
    global _said
    if not _said:
        _said = True
        print(f"warning: {text}", file=sys.stderr)
