"""Seconds and memory of LaMa's generator with fast Fourier convolutions and with plain convolutions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from benchmarks.costs import Cost, cost_of
from benchmarks.measuring import Effort, in_turns, table
from benchmarks.processes import in_own_process
from retina_monai.engines import keep_big_blocks
from retina_monai.networks import LamaGenerator

CONFIG = Path(__file__).resolve().parents[2] / "bundles" / "lama_fundus" / "configs" / "inference.json"
WARM_UP = 2  # pictures


class Variant(NamedTuple):
    """A measurement: the share of global channels, training or inference, and the size."""

    share: float
    training: bool
    size: int


def measure_fourier(eyes: Path, effort: Effort) -> str:
    """Measure inference and a training step at each size."""
    variants = [
        Variant(share, training, size)
        for size in effort.fourier_sizes
        for training in (False, True)
        for share in (0.0, float(arguments()["global_share"]))
    ]
    jobs = {variant: partial(in_own_process, partial(cost, variant, effort)) for variant in variants}
    costs = {variant: average(runs) for variant, runs in in_turns(jobs, effort.rounds, "fourier").items()}
    rows = [row(variant, costs, effort) for variant in variants]
    head = ("size", "work", "convolutions", "weights, M", "s a picture", "x", "peak, MiB", "x")
    return f"""\
`LamaGenerator` in the released form of `lama_fundus` is run with batch size 1 in fp32, on {effort.fourier_pictures}
pictures after {WARM_UP} for warm-up, each time in a separate process. *Fourier* uses fast Fourier convolutions (three
quarters of the channels of a residual block are global); *plain* has no global channels and uses 3x3 convolutions.
*training* is forward and backward. *x* is relative to the plain one. Peak memory is measured beyond that of the
process before.

{table(head, rows)}"""


def row(variant: Variant, costs: dict[Variant, Cost], effort: Effort) -> tuple[str, ...]:
    own, plain = costs[variant], costs[variant._replace(share=0.0)]
    weights = sum(weight.numel() for weight in build(variant.share, effort).parameters()) / 1e6
    return (
        str(variant.size),
        "training" if variant.training else "painting",
        "Fourier" if variant.share else "plain",
        f"{weights:.1f}",
        f"{own.seconds / own.eyes:.3f}",
        f"{own.seconds / plain.seconds:.2f}",
        f"{own.peak:.0f}",
        own.peak_over(plain),
    )


def cost(variant: Variant, effort: Effort) -> Cost:
    """Cost of the pictures after the warm-up."""
    keep_big_blocks()
    network = build(variant.share, effort).train(variant.training)
    image = torch.rand(1, 4, variant.size, variant.size, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def work(times: int) -> None:
        for _ in range(times):
            step(network, image, variant.training)

    peak = cost_of(1, partial(work, WARM_UP)).peak
    return cost_of(effort.fourier_pictures, partial(work, effort.fourier_pictures))._replace(peak=peak)


def step(network: nn.Module, image: Tensor, training: bool) -> None:
    with torch.set_grad_enabled(training):
        pred = network(image)
    if training:
        network.zero_grad()
        pred.square().mean().backward()


def build(share: float, effort: Effort) -> LamaGenerator:
    torch.manual_seed(0)
    overrides = {key: value for key, value in effort.overrides.items() if key in ("features", "blocks")}
    return LamaGenerator(**{**arguments(), **overrides, "global_share": share})


def arguments() -> dict[str, float]:
    """Arguments of the released network."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    network: LamaGenerator = parser.get_parsed_content("network_def")
    return network.arguments


def average(runs: list[Cost]) -> Cost:
    return Cost(runs[0].eyes, median(run.seconds for run in runs), median(run.peak for run in runs))
