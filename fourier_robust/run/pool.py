"""Jobs spread over worker processes of one thread each, or done one by one in this process."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from fourier_robust.run.threads import one_thread

Job = TypeVar("Job")
_AHEAD = 4  # jobs per worker in its queue
_task: Callable[[Any], Any] | None = None  # of a worker process


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(task: Callable[[Job], Any], jobs: Sequence[Job], workers: int) -> Generator[Job, None, None]:
    """Do ``task(job)`` for all `jobs` and yield each when it is done; the first error ends it.

    Workers are spawned (a fork of a process with threads may hang) and end with this process, even when it is killed.

    Args:
        task: can be pickled; goes to each worker once.
        jobs: can be pickled; begun in this order.
        workers: processes; 0 or 1: none but this one, also with one thread.
    """
    if workers > 1:
        yield from _in_processes(task, jobs, workers)
        return
    with one_thread():
        for job in jobs:
            task(job)
            yield job


def _in_processes(task: Callable[[Job], Any], jobs: Sequence[Job], workers: int) -> Generator[Job, None, None]:
    context = multiprocessing.get_context("spawn")
    # As bytes: torch would hand tensors over in shared memory, of which a container may have little. Through a queue:
    # what a new process is given directly is written before it reads, and would wait for ever for one that was killed.
    tasks, content = context.Queue(), pickle.dumps(task)
    for _ in range(workers):
        tasks.put(content)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _begin, (tasks,))
    waiting = iter(jobs)
    futures: dict[Future[None], Job] = {}
    try:
        while True:
            for job in itertools.islice(waiting, _AHEAD * workers - len(futures)):
                try:
                    futures[pool.submit(_do, job)] = job
                except (ValueError, OSError) as error:  # pipes closed, for a worker has died, while another was started
                    if isinstance(error, OSError) and error.errno is not None:  # of the system: no process, no memory
                        raise
                    raise BrokenProcessPool("a worker died while others were started") from error
            if not futures:
                return
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                future.result()
                yield futures.pop(future)
    except BrokenProcessPool:
        for child in set(multiprocessing.active_children()) - others:
            child.kill()  # the pool ends those it knows, and waits for ever for one that it has just started
        raise
    finally:
        tasks.cancel_join_thread()
        pool.shutdown(cancel_futures=True)


def _begin(tasks: Any) -> None:
    global _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent answers it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _task = pickle.loads(tasks.get())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(job: Any) -> None:
    assert _task is not None
    _task(job)
