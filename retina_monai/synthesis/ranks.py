"""Processes of one torchrun job: rank 0 prepares the run, then all ranks work independently."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from torch import distributed

__all__ = ["Ranks", "joined"]

PATIENCE = timedelta(days=365)
"""Timeout while waiting for a rank that still works; a rank that exited is noticed at once."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """Rank of this process and number of processes.

    Attributes:
        rank: from 0.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    def from_first(self, work: Callable[[], Result]) -> Result:
        """Call ``work`` on rank 0 and return its result on all ranks.

        Raises:
            Exception: any exception of ``work``, on rank 0. The other ranks then exit as in :meth:`wait`.
        """
        if self.count == 1:
            return work()
        shared: list[Any] = [False, None]
        try:
            if self.rank == 0:
                shared = [True, work()]
        finally:
            self.wait()
            distributed.broadcast_object_list(shared)
        if not shared[0]:
            self.wait()  # torchrun stops all ranks when one exits, and rank 0 has yet to print its error
        result: Result = shared[1]
        return result

    def wait(self) -> None:
        """Wait for all ranks. If one has failed, exit silently with status 1."""
        if self.count == 1:
            return
        try:
            distributed.monitored_barrier(timeout=PATIENCE)
        except RuntimeError:  # connection closed
            raise SystemExit(1) from None


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes started by torchrun, if any.

    They exchange Python objects and no tensors, so the backend is gloo on GPUs too.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Ranks()
        return
    own = not distributed.is_initialized()
    if own:
        distributed.init_process_group("gloo")
    yield Ranks(distributed.get_rank(), count)
    if own:
        distributed.destroy_process_group()
