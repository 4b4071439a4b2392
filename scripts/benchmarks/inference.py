"""Pictures per second of the released generator: eager, channels_last and compiled, in fp32 and bf16."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.measuring import Effort, in_turns, table
from benchmarks.networks import BUNDLE, build_networks, phantom_batch, pixels_of
from benchmarks.processes import in_own_process
from retina_monai.bundle import load_network
from retina_monai.engines import keep_big_blocks


class Painter(NamedTuple):
    """A generator with its dtype and memory layout, compiled or not."""

    network: Callable[[Tensor], Tensor]
    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.contiguous_format

    @torch.inference_mode()
    def paint(self, condition: Tensor) -> Tensor:
        return self.network(condition.to(self.dtype, memory_format=self.layout)).float()


@dataclass
class Speed:
    """Pictures per second by batch size, largest difference from the eager generator, seconds to the first picture."""

    rates: dict[int, float]
    difference: float
    first_call: float = 0.0


def time_inference(effort: Effort) -> tuple[dict[str, Speed], str]:
    """Speed of every variant, starting with plain eager mode, and the reason if ``torch.compile`` was skipped."""
    network = build_generator(effort)
    condition = phantom_batch("released", effort, 8)["condition"]
    eager = {"eager, fp32, default malloc": Painter(network)}
    expected = Painter(network).paint(condition)
    speeds = compare(eager, expected, condition, effort)
    keep_big_blocks()
    reason = no_compiler() if effort.compiled else "the quick form leaves it out"
    painters = build_painters(network, compiled=not reason)
    first_calls, failure = call_first(painters, condition)
    speeds |= compare({name: painters[name] for name in first_calls}, expected, condition, effort)
    for name, seconds in first_calls.items():
        speeds[name].first_call = seconds
    return speeds, reason or failure


def build_generator(effort: Effort) -> nn.Module:
    """Build the generator, with the released weights if they exist and fit."""
    network = build_networks("released", effort.overrides)[0].eval()
    weights = BUNDLE / "models" / "model.pt"
    return load_network(network, weights) if weights.is_file() and not effort.overrides else network


def build_painters(network: nn.Module, compiled: bool) -> dict[str, Painter]:
    painters = {}
    for name, dtype in (("fp32", torch.float32), ("bf16 weights", torch.bfloat16)):
        plain = deepcopy(network).to(dtype)
        last = deepcopy(plain).to(memory_format=torch.channels_last)
        painters[f"eager, {name}"] = Painter(plain, dtype)
        painters[f"channels_last, {name}"] = Painter(last, dtype, torch.channels_last)
        for title, frozen in (("compiled", False), ("compiled, frozen", True)) if compiled else ():
            graph = torch.compile(deepcopy(last), dynamic=False, options={"freezing": frozen})
            painters[f"channels_last, {title}, {name}"] = Painter(graph, dtype, torch.channels_last)
    return painters


def no_compiler() -> str:
    """Reason why ``torch.compile`` cannot be used; empty if it can."""
    names = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return "" if any(map(shutil.which, names)) else f"no C++ compiler ({', '.join(names[1:])}) is installed"


def call_first(painters: Mapping[str, Painter], condition: Tensor) -> tuple[dict[str, float], str]:
    """Seconds to the first picture of each variant; compiled ones that fail are skipped, with the reason."""
    seconds, failure = {}, ""
    for name, painter in tqdm(painters.items(), "first calls"):
        start = time.perf_counter()
        try:
            painter.paint(condition[:1])
        except RuntimeError as error:
            if "compiled" not in name:
                raise
            failure = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        else:
            seconds[name] = time.perf_counter() - start
    return seconds, failure


def compare(painters: Mapping[str, Painter], expected: Tensor, condition: Tensor, effort: Effort) -> dict[str, Speed]:
    """Measure in turns; the first turn is a warm-up."""
    differences = {name: float((painter.paint(condition) - expected).abs().max()) for name, painter in painters.items()}
    speeds = {name: Speed({}, difference) for name, difference in differences.items()}
    for batch in (1, len(condition)):
        jobs = {name: partial(rate, painter, condition[:batch], effort.seconds) for name, painter in painters.items()}
        for name, rates in in_turns(jobs, effort.rounds + 1, f"inference, batch {batch}").items():
            speeds[name].rates[batch] = median(rates[1:])
    return speeds


def rate(painter: Painter, condition: Tensor, seconds: float) -> float:
    """Pictures per second."""
    start, pictures = time.perf_counter(), 0
    while pictures == 0 or time.perf_counter() - start < seconds:
        painter.paint(condition)
        pictures += len(condition)
    return pictures / (time.perf_counter() - start)


def measure_inference(eyes: Path, effort: Effort) -> str:
    return describe_inference(*in_own_process(partial(time_inference, effort)), effort)


def describe_inference(speeds: Mapping[str, Speed], left_out: str, effort: Effort) -> str:
    head = ("generator", "batch 1, pictures/s", "x", "batch 8, pictures/s", "x", "largest difference", "first call, s")
    rows = [(name, *inference_figures(speed, speeds["eager, fp32"])) for name, speed in speeds.items()]
    note = f"\n`torch.compile` is not there: {left_out}.\n" if left_out else ""
    return f"""\
The generator of the released size is run at {pixels_of("released", effort)} px in `torch.inference_mode`, in one
process and in turns. The first row was measured before the others, with default malloc settings. *x* is relative to
eager fp32 in the same turns. Differences from eager fp32 are on the [-1, 1] scale, on which one step of an 8-bit
photograph is 0.008. *frozen*: the weights are constants of the compiled graph (`options={{"freezing": True}}`). The
first call of a compiled generator compiles it, without a cache of compiled code.
{note}
{table(head, rows)}"""


def inference_figures(speed: Speed, eager: Speed) -> list[str]:
    figures = []
    for batch, pictures in speed.rates.items():
        figures += [f"{pictures:.1f}", f"{pictures / eager.rates[batch]:.2f}"]
    return [*figures, f"{speed.difference:.1g}", f"{speed.first_call:.1f}" if speed.first_call else ""]
