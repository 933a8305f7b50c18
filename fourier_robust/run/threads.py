"""One thread where more would change the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes with one CPU thread inside, with as many as before after; also a decorator.

    MKL plans a batched FFT differently for one thread and for several, and the last bit of a float32 differs; after
    rounding to grey levels that is a pixel here and there, and an identity that changes with the machine's cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
