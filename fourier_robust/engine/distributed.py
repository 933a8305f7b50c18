"""Several processes that train or measure together, one per GPU: who they are, and what they tell each other.

A job starts them itself on its machine (``device.processes=N``), or torchrun does, on one machine or many: ``torchrun
--nproc-per-node=N -m fourier_robust.train ...``. Numbers and decisions travel over gloo on the CPU, gradients over NCCL
where there is CUDA. A process joins one group in its life: a second one would hang now and then.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.errors import BUSY, Busy, UserError

T = TypeVar("T")
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
MEETING = "FR_MEETING"  # variable: the file in which the processes of a job find each other, instead of by torchrun
LOST = "another process of this run ended, so all do; its own message says why"
DTYPES = (
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.float16,
    torch.bfloat16,
)
_LOST = re.compile(r"gloo|NCCL|Connection (closed|reset)|Broken pipe|Timed out", re.IGNORECASE)
_joined = False


class Agreed(UserError):
    """A mistake that every process of the run knows of: all end together, and the first one says it."""


class AgreedBusy(Agreed, Busy):
    """The same where another run does this very work."""


def launched() -> tuple[int, int, int]:
    """Rank, number of processes, and rank on this machine, as who started them tells; (0, 1, 0) for one alone."""
    if any(name not in os.environ for name in VARIABLES) or not {"MASTER_ADDR", MEETING} & os.environ.keys():
        return 0, 1, 0
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])


@dataclass(frozen=True)
class Team:
    """The processes of one run; a run of one process is a team of one, which talks to nobody.

    Every method but `rows` and `send` is a meeting: all processes must call it, in the same order.

    Attributes:
        rank: of this process, from 0; the first one alone writes and prints.
        size: number of processes.
        backend: of the group; None for one process.
    """

    rank: int = 0
    size: int = 1
    backend: str | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """This process's share of `count` rows, a multiple of `size`."""
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def barrier(self) -> None:
        """Wait for all."""
        self.sum([0.0])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over the processes, in float64."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def largest(self, value: float) -> float:
        """The largest of the processes' values."""
        return self._reduced([value], distributed.ReduceOp.MAX)[0]

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the processes; all of one device and dtype, summed as one."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with telling(self):
            distributed.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def copy_first(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by the first process's."""
        if self.size > 1:
            with telling(self), torch.no_grad():
                for tensor in tensors:
                    whole = tensor.contiguous()
                    distributed.broadcast(whole, 0)
                    tensor.copy_(whole)

    def first_does(self, work: Callable[[], T]) -> T | None:
        """The first process does it while the others wait; None for those.

        Raises:
            Agreed: in all processes, where the work raised a UserError in the first; `AgreedBusy` where that was Busy.
        """
        if self.size == 1:
            return work()
        result, said, busy = None, "", False
        if self.first:
            try:
                result = work()
            except UserError as error:
                said, busy = str(error) or type(error).__name__, isinstance(error, Busy)
        length, of_busy = divmod(int(self.largest(2 * len(said.encode()) + busy)), 2)
        if length:
            text = torch.zeros(length, dtype=torch.uint8)
            text[: len(said.encode())] = torch.tensor(list(said.encode()), dtype=torch.uint8)
            self.copy_first([text])
            raise (AgreedBusy if of_busy else Agreed)(bytes(text.tolist()).decode())
        return result

    def send(self, tensors: Sequence[torch.Tensor]) -> None:
        """Hand tensors of any shape to the first process, which calls `receive`."""
        with telling(self):
            distributed.send(torch.tensor([len(tensors)]), 0)
            for tensor in tensors:
                whole = tensor.detach().cpu().contiguous()
                distributed.send(torch.tensor([DTYPES.index(whole.dtype), whole.ndim]), 0)
                if whole.ndim:
                    distributed.send(torch.tensor(whole.shape), 0)
                if whole.numel():
                    distributed.send(whole.reshape(-1).view(torch.uint8), 0)

    def receive(self, rank: int) -> list[torch.Tensor]:
        """In the first process: what process `rank` sends next, on the CPU."""
        with telling(self):
            return [self._tensor(rank) for _ in range(int(self._numbers(rank, 1)[0]))]

    def _tensor(self, rank: int) -> torch.Tensor:
        dtype, ndim = self._numbers(rank, 2).tolist()
        shape = self._numbers(rank, ndim).tolist() if ndim else []
        found = torch.empty(shape, dtype=DTYPES[dtype])
        if found.numel():
            distributed.recv(found.view(-1).view(torch.uint8), rank)
        return found

    @staticmethod
    def _numbers(rank: int, count: int) -> torch.Tensor:
        found = torch.empty(count, dtype=torch.int64)
        distributed.recv(found, rank)
        return found

    def _reduced(self, values: Sequence[float], operation: distributed.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return list(values)
        held = torch.tensor(values, dtype=torch.float64)
        with telling(self):
            distributed.all_reduce(held, operation)
        found: list[float] = held.tolist()
        return found


ALONE = Team()


class Lost(UserError):
    """Another process of the run has gone."""


@contextlib.contextmanager
def telling(team: Team) -> Iterator[None]:
    """Errors of the connection between processes become one line.

    Raises:
        Lost: another process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if team.size == 1 or not _LOST.search(str(error)):
            raise
        raise Lost(LOST) from error


@contextlib.contextmanager
def joined(device: torch.device, patience: timedelta = timedelta(minutes=30)) -> Iterator[Team]:
    """The team of this process while inside; all but the first print nothing.

    Args:
        device: of this process.
        patience: how long a process waits for another one that lives, but does not answer.

    Raises:
        UserError: this process was in a group before.
    """
    global _joined
    rank, size, _ = launched()
    if size == 1:
        yield ALONE
        return
    if _joined or distributed.is_initialized():
        raise UserError("torchrun runs one job per process; for a sweep, give device.processes=N instead of torchrun")
    _joined = True
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    store = distributed.FileStore(os.environ[MEETING], size) if MEETING in os.environ else None
    if store is not None:
        store.set_timeout(patience)
    own = device if device.type == "cuda" else None
    distributed.init_process_group(backend, rank=rank, world_size=size, store=store, timeout=patience, device_id=own)
    team = Team(rank, size, backend)
    with contextlib.nullcontext() if team.first else contextlib.redirect_stdout(io.StringIO()):
        try:
            yield team
            team.barrier()
        except (Agreed, Interrupted) as end:
            team.barrier()  # the others are ended when one is gone: the first has noted everything by now
            with contextlib.suppress(RuntimeError):  # else a thread of the group may abort the process as it exits
                distributed.destroy_process_group()
            if not team.first:
                busy = BUSY if isinstance(end, Busy) else 2
                raise SystemExit(128 + end.signum if isinstance(end, Interrupted) else busy) from end
            raise
        except Lost as end:
            if not team.first:
                raise SystemExit(2) from end
            raise
        except UserError as error:
            raise UserError(f"process {rank} of {size}: {error}") from error
    distributed.destroy_process_group()
