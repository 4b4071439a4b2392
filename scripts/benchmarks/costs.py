"""Seconds and peak memory of a job."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.processes import in_own_process


class Cost(NamedTuple):
    """Cost of one job in a separate process."""

    eyes: int
    seconds: float
    peak: float  # MiB, beyond the memory of the process before the job

    def peak_over(self, other: Cost) -> str:
        """Ratio of the peaks; empty if the other job took no additional memory."""
        return f"{self.peak / other.peak:.2f}" if other.peak > 0 else ""

    def cells(self) -> tuple[str, str]:
        return f"{self.seconds:.2f} ({self.eyes / self.seconds:.1f}/s)", f"{self.peak:.0f}"


def median_cost(job: Callable[[], Cost], rounds: int) -> Cost:
    """Median cost of a job that measures its own cost, each time in a separate process."""
    runs = [in_own_process(job) for _ in range(rounds)]
    return Cost(runs[0].eyes, median(run.seconds for run in runs), median(run.peak for run in runs))


def cost_of(eyes: int, job: Callable[[], Any]) -> Cost:
    """Cost of a job in this process."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak of the imports (man 5 proc)
    before, start = _memory("VmRSS"), time.perf_counter()
    job()
    return Cost(eyes, time.perf_counter() - start, _memory("VmHWM") - before)


def _memory(field: str) -> float:
    """Memory of this process in MiB: resident (``VmRSS``) or peak since the reset (``VmHWM``)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
