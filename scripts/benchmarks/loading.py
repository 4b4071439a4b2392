"""Eyes per second of the cached data set."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from benchmarks.measuring import Effort, table
from benchmarks.networks import bundle_config, pixels_of
from benchmarks.processes import in_own_process
from retina_monai.data import CachedEyes
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.engines import keep_big_blocks


def time_loading(eyes: Path, effort: Effort) -> dict[str, float]:
    """Eyes per second on one thread."""
    torch.set_num_threads(1)
    keep_big_blocks()
    config = bundle_config("released", effort.overrides)
    plain, augmented = (config.get_parsed_content(f"{part}#preprocessing") for part in ("validate", "train"))
    items = find_datalist(eyes)["training"]
    rates = defaultdict(list)
    for epoch in tqdm(range(effort.rounds), "loading"):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            on_disk = CachedEyes(items, plain, folder, memory_mb=0)
            rates["nothing cached"].append(read_all(on_disk, epoch, start))
            rates["from the disk cache"].append(read_all(on_disk, epoch))
            rates["from memory"].append(read_all(CachedEyes(items, plain, folder), epoch))
            rates["from memory, with augmentation"].append(read_all(CachedEyes(items, augmented, folder), epoch))
    return {name: median(values) for name, values in rates.items()}


def read_all(eyes: CachedEyes, epoch: int, start: float | None = None) -> float:
    """Eyes per second since ``start``, or since now."""
    start = time.perf_counter() if start is None else start
    for index in range(len(eyes)):
        eyes[epoch, index]
    return len(eyes) / (time.perf_counter() - start)


def measure_loading(eyes: Path, effort: Effort) -> str:
    rates = in_own_process(partial(time_loading, eyes, effort))
    return describe_loading(rates, pixels_of("released", effort))


def describe_loading(rates: Mapping[str, float], size: int) -> str:
    return f"""\
`CachedEyes` loads phantoms of {2 * size} px (photograph, vessel map and field of view in PNG) and returns the
network's tensors of {size} px, in one process with one thread. With nothing cached, pictures are decoded, cropped to
the field of view, padded to a square, resized and written to the disk cache. Augmentation flips, rotates and zooms at
{2 * size} px.

{table(("eyes", "per second"), [(name, f"{value:.0f}") for name, value in rates.items()])}"""
