"""Run measurements in separate processes, so that they share no allocator settings, threads or compiled code."""

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
    """Run ``job`` in a new process, and return its result."""
    with plain_environment(), ProcessPoolExecutor(1, get_context("spawn"), initializer=quieten) as pool:
        return pool.submit(job).result()


@contextmanager
def plain_environment() -> Iterator[None]:
    """Use the CPU only, default settings of torch and glibc, and an empty temporary cache of compiled code."""
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
