"""Seconds and peak memory of preparing and loading whole data sets, cold and cached."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks.measuring import Effort, table
from benchmarks.networks import bundle_config
from benchmarks.processes import in_own_process
from retina_monai.data import CachedEyes, find_datalist
from retina_monai.data.layout import PICTURES, SPLITS, Item
from retina_monai.data.prepare import prepare
from retina_monai.engines import keep_big_blocks


class Cost(NamedTuple):
    """Of one job in a process of its own."""

    eyes: int
    seconds: float
    peak: float  # MiB, beyond what the process held before

    def cells(self) -> tuple[str, str]:
        return f"{self.seconds:.2f} ({self.eyes / self.seconds:.1f}/s)", f"{self.peak:.0f}"


def measure_datasets(eyes: Path, effort: Effort) -> str:
    """Prepare and load each set that was given, or the phantoms where none was."""
    folders = [Path(folder) for folder in effort.dataset_dirs] or [eyes]
    costs = {}
    for folder in tqdm(folders, "data sets"):
        costs[folder.name, "", "prepare"] = _median(partial(time_preparing, folder), effort.rounds)
        for size in effort.dataset_sizes:
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold", "cached"):
                    job = partial(time_loading_all, folder, size, Path(cache), state == "cold", effort.overrides)
                    costs[folder.name, f"{size}", state] = _median(job, effort.rounds)
    return describe_datasets(costs)


def _median(job: Callable[[], Cost], rounds: int) -> Cost:
    runs = [in_own_process(job) for _ in range(rounds)]
    return Cost(runs[0].eyes, median(run.seconds for run in runs), median(run.peak for run in runs))


def time_preparing(folder: Path) -> Cost:
    """Find, check and describe all eyes, as ``retina_monai prepare`` does."""
    items = _items(folder)
    _forget(items)
    with tempfile.TemporaryDirectory() as output:
        return _cost(len(items), lambda: prepare([folder], Path(output) / "datalist.json"))


def time_loading_all(folder: Path, size: int, cache: Path, cold: bool, overrides: Mapping[str, Any]) -> Cost:
    """Bring all eyes to the network's tensors; cold with nothing cached, by us or by the system, else from disk."""
    torch.set_num_threads(1)
    keep_big_blocks()
    transform = bundle_config("released", {**overrides, "size": size}).get_parsed_content("validate#preprocessing")
    items = [item for item in _items(folder) if "vessel" in item]
    if cold:
        for path in cache.glob("*"):
            path.unlink()
        _forget(items)
    return _cost(len(items), lambda: _read_all(CachedEyes(items, transform, cache, memory_mb=0)))


def _items(folder: Path) -> list[Item]:
    datalist = find_datalist(folder)
    return [item for split in SPLITS for item in datalist[split]]


def _read_all(eyes: CachedEyes) -> None:
    for index in range(len(eyes)):
        eyes[index]


def _cost(eyes: int, job: Callable[[], Any]) -> Cost:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports (man 5 proc)
    before, start = _memory("VmRSS"), time.perf_counter()
    job()
    return Cost(eyes, time.perf_counter() - start, _memory("VmHWM") - before)


def _memory(field: str) -> float:
    """MiB of this process: resident now (``VmRSS``) or at most since the peak was forgotten (``VmHWM``)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def _forget(items: Iterable[Item]) -> None:
    """Let the system drop the files that it has in memory, so that they come from the disk."""
    for path in (item[key] for item in items for key in PICTURES if key in item):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def describe_datasets(costs: Mapping[tuple[str, str, str], Cost]) -> str:
    rows = [(name, str(cost.eyes), what, size, *cost.cells()) for (name, size, what), cost in costs.items()]
    head = ("data set", "eyes", "what", "px", "seconds (eyes per second)", "peak MiB")
    return f"""`prepare` decodes and checks every picture of a set, in as many threads as there are cores. Loading
brings each eye to the tensors that a network of that size is shown, in one thread: *cold* with an empty cache and the
files on the disk, *cached* from the disk cache that the first left. Peak: beyond what the process held after its
imports.

{table(head, rows)}"""
