"""What a process sets once before it works: device, threads, allocator."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Literal

import torch

from fourier_robust.engine.distributed import launched
from fourier_robust.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_big_blocks() -> None:
    """Tell glibc to keep blocks of up to 1 GiB instead of returning them to the kernel after each tensor.

    Page faults on fresh tensors otherwise cost 1.1 to 1.5 times in CPU training at batch 512 to 1024 (on a Zen 4).
    Resident memory stays at its peak. No effect outside Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)


@dataclass(frozen=True)
class Device:
    """Where and how a process computes; none of it is part of an experiment's identity.

    Args:
        name: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:<index>``. Under torchrun every process
            of a machine takes the CUDA device of its own number there.
        threads: CPU threads; None keeps OMP_NUM_THREADS, else all cores this process may use.
        keep_blocks: see `keep_big_blocks`; only on a CPU.
        channels_last: memory layout of training; with bf16 on a Zen 4 1.9 to 2.4 times faster than contiguous float32.
        compiled: run the training's forward and backward through torch.compile (gains on GPUs at small batches).
        processes: above 1, the job starts so many processes on its machine (one per GPU); how a job of a
            sweep uses several. Without effect under torchrun.
        sync_batch_norm: BatchNorm over the images of all processes in training, instead of those of each; CUDA only.
        micro_batch: images of a training batch that go through the network at a time (on each process), their
            gradients adding up: for less memory. ``auto`` takes all, and half as many whenever memory runs out. With
            BatchNorm its statistics are those of so many images (a warning says so); without it the result is the same
            but for rounding. run.json has the size that ``auto`` came to.

    Raises:
        ValueError: a number out of its range.
    """

    name: str = "auto"
    threads: int | None = None
    keep_blocks: bool = True
    channels_last: bool = True
    compiled: bool = False
    processes: int = 1
    sync_batch_norm: bool = False
    micro_batch: int | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"device.processes={self.processes} must be at least 1")
        if isinstance(self.micro_batch, int) and self.micro_batch < 1:
            raise ValueError(f"device.micro_batch={self.micro_batch} must be at least 1")

    def prepare(self) -> torch.device:
        """Set threads and allocator for this process, and return the device.

        Raises:
            UserError: no such device here, or fewer than processes.
        """
        device = _find(_own(self.name))
        threads = self.threads
        if threads is None and "OMP_NUM_THREADS" not in os.environ and hasattr(os, "sched_getaffinity"):
            threads = len(os.sched_getaffinity(0))
        if threads is not None:
            if threads < 1:
                raise UserError(f"device.threads={threads} must be at least 1")
            torch.set_num_threads(threads)
        if device.type == "cpu" and self.keep_blocks:
            keep_big_blocks()
        if device.type == "cuda" and launched()[1] > 1:
            torch.cuda.set_device(device)
        if self.sync_batch_norm and device.type == "cpu":
            raise UserError("device.sync_batch_norm needs CUDA: torch has it for GPUs only")
        return device


def _own(name: str) -> str:
    """Under torchrun, the CUDA device that is this process's; else `name`."""
    _, size, local = launched()
    if size == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return name
    if name not in ("auto", "cuda"):
        raise UserError(f"device.name={name} with {size} processes: use auto, cuda or cpu, each takes its own device")
    if torch.cuda.is_available() and local >= torch.cuda.device_count():
        raise UserError(
            f"process {local + 1} of this machine has no CUDA device of its own, it has {torch.cuda.device_count()}; "
            "start fewer (--nproc-per-node, device.processes), or take device.name=cpu"
        )
    return f"cuda:{local}"


def _find(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device.name={name} is not a device; use auto, cpu, cuda or cuda:0") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device.name={name} is not supported; use auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device.name={name}, but this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on the device.

    On CUDA: where it is native. On CPUs: with AMX, or with AVX512-BF16 on AMD (Zen 4: a training step 1.9 to 2.4 times
    faster). Intel's AVX512-BF16 without AMX is slower than its float32: 3x3 convolutions with 64 to 128 channels ran
    at 80 against 130 to 150 GFLOP/s on one core, ResNet-18's training step took 1.3 times as long.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    intel = "intel" in str(capabilities.get("cpu_name", "")).lower()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "bf16")) or (
        bool(capabilities.get("avx512_bf16", False)) and not intel
    )
