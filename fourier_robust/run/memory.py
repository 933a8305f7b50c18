"""What to do when images do not fit into memory: the same in two halves."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from fourier_robust.errors import UserError

T = TypeVar("T")
_said = False


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that a device, or the CPU's allocator, had no more memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def reason_of(error: BaseException) -> str:
    """Its first line, or its kind: Python's own MemoryError says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def by_halves(work: Callable[[slice], T], first: int, last: int) -> list[T]:
    """``[work(slice(first, last))]``, or where that runs out of memory, of its halves, and of theirs, down to one.

    Args:
        work: treats every image by itself, so that the size of a part changes nothing but rounding.
        first: image, counted from 0.
        last: behind the last image.

    Raises:
        UserError: a single image does not fit.
    """
    try:
        return [work(slice(first, last))]
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        count, reason = last - first, reason_of(error)
    # outside the handler: the error holds the frames, and they hold the tensors
    if count <= 1:
        raise UserError(f"out of memory with a single image: {reason}")
    free()
    _say_once(f"out of memory with {count} images: such batches go in halves (batch_size=... avoids the attempt)")
    middle = first + count // 2
    return [*by_halves(work, first, middle), *by_halves(work, middle, last)]


def with_fewer(work: Callable[[int], T], count: int) -> T:
    """``work(count)``, or where that runs out of memory, all of it anew with half as many images at a time.

    Raises:
        UserError: a single image does not fit.
    """
    while True:
        try:
            return work(count)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            reason = reason_of(error)
        if count <= 1:
            raise UserError(f"out of memory with a single image: {reason}")
        free()
        _say_once(f"out of memory with {count} images: begun anew with fewer at a time (batch_size=... avoids that)")
        count = (count + 1) // 2


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
