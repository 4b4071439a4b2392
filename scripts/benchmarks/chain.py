"""Photographs per second of the two-stage chain and the direct generator, and peak memory of a large set."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from benchmarks.costs import Cost, cost_of, median_cost
from benchmarks.measuring import Effort, table
from benchmarks.processes import in_own_process
from retina_monai.bundle import find_bundle
from retina_monai.data import write_phantoms
from retina_monai.networks import initialize_weights
from retina_monai.synthesis import Chain, load_chain, synthesize

DIRECT, CHAINED = "pix2pix_vessel", "two_stage"
BUNDLES = (DIRECT, "pix2pix_color_vessel", "lama_fundus")
BATCHES = (1, 8)
SMALL = {"size": 64, "levels": 4, "features": 4, "detail": 0, "downsamplings": 2, "blocks": 1}
MAPS = 10  # number of vessel maps that are warped to sets of any size


class Rates(NamedTuple):
    """Photographs per second by batch size, for a whole set and for the networks alone."""

    whole: dict[int, float]
    networks: dict[int, float]


def write_bundles(folder: Path, overrides: Mapping[str, Any]) -> None:
    """Copy the bundles with initial weights, which are as fast as released ones, and with the given overrides."""
    for name in BUNDLES:
        shutil.copytree(find_bundle(name) / "configs", folder / name / "configs")
        path = folder / name / "configs" / "inference.json"
        config = json.loads(path.read_text())
        config["size"] = overrides.get("size", config["size"])
        config["network_def"] |= {key: value for key, value in overrides.items() if key in config["network_def"]}
        path.write_text(json.dumps(config))
        shutil.copy(find_bundle(DIRECT) / "configs" / "appearances.json", folder / name / "configs")
        torch.manual_seed(0)
        network = initialize_weights(ConfigParser(config).get_parsed_content("network_def"))
        (folder / name / "models").mkdir()
        torch.save(network.state_dict(), folder / name / "models" / "model.pt")


def load(name: str, bundles: Path) -> Chain:
    return load_chain(bundles / name, trust=True)


def time_chain(name: str, eyes: Path, samples: int, seconds: float, overrides: Mapping[str, Any]) -> Rates:
    """Measure a chain on warped maps of the eyes, after a first run as warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        write_bundles(Path(folder), overrides)
        chain, whole = load(name, Path(folder)), {}
        synthesize(chain, eyes, f"{folder}/first", split="test")
        augment = -(-samples // len(list((eyes / "images").iterdir())))
        for batch in BATCHES:
            start = time.perf_counter()
            made = synthesize(chain, eyes, f"{folder}/{batch}", augment=augment, appearance="random", batch_size=batch)
            whole[batch] = len(list((made / "images").iterdir())) / (time.perf_counter() - start)
        return Rates(whole, {batch: network_rate(chain, batch, seconds) for batch in BATCHES})


@torch.inference_mode()
def network_rate(chain: Chain, batch: int, seconds: float) -> float:
    """Photographs per second of the networks alone, on a true batch with torch's threads, after a warm-up."""
    shapes = [(batch, bundle.network.arguments["in_channels"], chain.size, chain.size) for bundle in chain.bundles]
    pairs = [(bundle.network, torch.rand(shape) * 2 - 1) for bundle, shape in zip(chain.bundles, shapes, strict=True)]

    def paint() -> None:
        for network, picture in pairs:
            network(picture)

    paint()
    start, passes = time.perf_counter(), 0
    while passes == 0 or time.perf_counter() - start < seconds:
        paint()
        passes += 1
    return batch * passes / (time.perf_counter() - start)


def weigh_set(samples: int) -> Cost:
    """Cost of loading the chain and writing a set of small photographs."""
    with tempfile.TemporaryDirectory() as folder:
        bundles, eyes = Path(folder) / "bundles", write_phantoms(Path(folder) / "eyes", MAPS, 2 * SMALL["size"], 0)
        write_bundles(bundles, SMALL)
        how = {"augment": samples // MAPS, "batch_size": BATCHES[-1], "appearance": "random"}
        return cost_of(samples, lambda: synthesize(load(CHAINED, bundles), eyes, f"{folder}/set", **how))


def measure_chain(eyes: Path, effort: Effort) -> str:
    rates = {}
    for name in tqdm((DIRECT, CHAINED), "chains"):
        job = partial(time_chain, name, eyes, effort.chain_samples, effort.seconds, effort.overrides)
        rounds = [in_own_process(job) for _ in range(effort.rounds)]
        rates[name] = Rates(*(_medians([found[part] for found in rounds]) for part in range(2)))
    costs = [median_cost(partial(weigh_set, samples), 1) for samples in effort.chain_counts]
    return describe_chain(rates, costs)


def _medians(found: list[dict[int, float]]) -> dict[int, float]:
    return {batch: median(rates[batch] for rates in found) for batch in BATCHES}


def describe_chain(rates: Mapping[str, Rates], costs: list[Cost]) -> str:
    direct = rates[DIRECT]
    rows = []
    for name, (whole, networks) in rates.items():
        sets = (f"{whole[1]:.2f}", f"{whole[8]:.2f}", f"{whole[8] / whole[1]:.2f}", f"{whole[8] / direct.whole[8]:.2f}")
        rows.append((name, *sets, f"{networks[1]:.1f}", f"{networks[8]:.1f}", f"{networks[8] / networks[1]:.2f}"))
    head = ("chain", "batch 1, per second", "batch 8", "x", "x direct", "networks, batch 1", "true batch 8", "x")
    small, large = costs
    sizes = [(str(cost.eyes), f"{cost.eyes / cost.seconds:.1f}", f"{cost.peak:.0f}") for cost in costs]
    return f"""\
`retina_monai synthesize` of warped maps, with networks of the released size and initial weights, in a separate
process. Reading, warping, generation, texture and files are included. With `--batch_size 8`, photographs are made in
parallel, one per processor, each with one torch thread. *x* is relative to batch size 1, and *x direct* to `{DIRECT}`
at batch size 8. *Networks* is the speed of the networks alone, with torch's threads, on one sample and on a true batch
of 8. `synthesize` does not use true batches, because they change single pixels by a grey level.

{table(head, rows)}

Peak memory of `{CHAINED}` at {SMALL["size"]} px with small networks, beyond that of the process after its imports, at
batch size 8, for sets of {small.eyes} and {large.eyes} warped maps; large over small: {large.peak_over(small)}.

{table(("samples", "per second", "peak, MiB"), sizes)}"""
