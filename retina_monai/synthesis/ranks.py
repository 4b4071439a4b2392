"""Processes that torchrun starts to share a run: they wait for the first, which looks, and then go on by themselves."""

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
"""For which a process waits for another that still works; one that ended is noticed at once."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that share a run.

    Attributes:
        rank: from 0.
        count: of the processes.
    """

    rank: int = 0
    count: int = 1

    def from_first(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns in the first process, in all of them.

        Raises:
            Exception: of ``work``, in the first process; the others end after it as :meth:`wait` says.
        """
        if self.count == 1:
            return work()
        told: list[Any] = [False, None]
        try:
            if self.rank == 0:
                told = [True, work()]
        finally:
            self.wait()
            distributed.broadcast_object_list(told)
        if not told[0]:
            self.wait()  # torchrun ends all when one has ended, and the first has yet to say why
        result: Result = told[1]
        return result

    def wait(self) -> None:
        """Until all are here; where one has failed, this one ends with status 1 and nothing to say."""
        if self.count == 1:
            return
        try:
            distributed.monitored_barrier(timeout=PATIENCE)
        except RuntimeError:  # a connection is closed
            raise SystemExit(1) from None


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun describes, or this one alone.

    They exchange words and no tensors: by gloo, on GPUs too.
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
