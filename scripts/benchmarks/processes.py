"""Processes of their own: allocator settings, threads and compiled code of one measurement do not reach another."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

NOT_INHERITED = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "MLFLOW_")
Result = TypeVar("Result")


def in_own_process(job: Callable[[], Result]) -> Result:
    """What ``job`` returns when a new process runs it."""
    with plain_environment(), ProcessPoolExecutor(1, get_context("spawn"), initializer=quieten) as pool:
        return pool.submit(job).result()


@contextmanager
def plain_environment() -> Iterator[None]:
    """The processor alone, as torch and glibc come, with a cache of compiled code that is empty and goes away."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as cache:
        for name in [name for name in os.environ if name.startswith(NOT_INHERITED)]:
            del os.environ[name]
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TORCHINDUCTOR_CACHE_DIR": cache, "MLFLOW_LOGGING_LEVEL": "ERROR"}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def quieten() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
