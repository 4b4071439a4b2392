"""Seconds and peak memory of preparing and loading whole data sets, cold and cached."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.costs import Cost, cost_of, median_cost
from benchmarks.measuring import Effort, table
from benchmarks.networks import bundle_config
from retina_monai.data import CachedEyes, find_datalist
from retina_monai.data.export.prepare import prepare
from retina_monai.data.listing.layout import SPLITS, Item
from retina_monai.engines import keep_big_blocks
from retina_monai.kinds import PICTURES


def measure_datasets(eyes: Path, effort: Effort) -> str:
    """Prepare and load each given data set, or the phantoms if none is given."""
    folders = [Path(folder) for folder in effort.dataset_dirs] or [eyes]
    costs = {}
    for folder in tqdm(folders, "data sets"):
        costs[folder.name, "", "prepare"] = median_cost(partial(time_preparing, folder), effort.rounds)
        for size in effort.dataset_sizes:
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold", "cached"):
                    job = partial(time_loading_all, folder, size, Path(cache), state == "cold", effort.overrides)
                    costs[folder.name, f"{size}", state] = median_cost(job, effort.rounds)
    return describe_datasets(costs)


def time_preparing(folder: Path) -> Cost:
    """Cost of ``retina_monai prepare``: find, check and describe all eyes."""
    items = _items(folder)
    _forget(items)
    with tempfile.TemporaryDirectory() as output:
        return cost_of(len(items), lambda: prepare([folder], Path(output) / "datalist.json"))


def time_loading_all(folder: Path, size: int, cache: Path, cold: bool, overrides: Mapping[str, Any]) -> Cost:
    """Cost of loading all eyes as tensors: cold without any cache, including the system's, else from the disk cache."""
    torch.set_num_threads(1)
    keep_big_blocks()
    transform = bundle_config("released", {**overrides, "size": size}).get_parsed_content("validate#preprocessing")
    items = [item for item in _items(folder) if "vessel" in item]
    if cold:
        for path in cache.glob("*"):
            path.unlink()
        _forget(items)
    return cost_of(len(items), lambda: _read_all(CachedEyes(items, transform, cache, memory_mb=0)))


def _items(folder: Path) -> list[Item]:
    datalist = find_datalist(folder)
    return [item for split in SPLITS for item in datalist[split]]


def _read_all(eyes: CachedEyes) -> None:
    for index in range(len(eyes)):
        eyes[index]


def _forget(items: Iterable[Item]) -> None:
    """Drop the files from the system's page cache."""
    for path in (item[key] for item in items for key in PICTURES if key in item):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def describe_datasets(costs: Mapping[tuple[str, str, str], Cost]) -> str:
    rows = [(name, str(cost.eyes), what, size, *cost.cells()) for (name, size, what), cost in costs.items()]
    head = ("data set", "eyes", "what", "px", "seconds (eyes per second)", "peak MiB")
    return f"""\
`prepare` decodes and checks every picture of a set, with as many threads as there are cores. Loading produces the
network's tensors of the given size in one thread: *cold* with an empty cache, *cached* from the disk cache left by
the cold run. Peak memory is measured beyond that of the process after its imports.

{table(head, rows)}"""
