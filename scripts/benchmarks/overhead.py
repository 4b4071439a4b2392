"""Overhead of the engine and its handlers compared with a bare loop on the same networks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.bare_loop import BareLoop, adam
from benchmarks.measuring import EPOCH, Effort, Stopwatch, Timing, in_turns, percent, table
from benchmarks.networks import PRECISIONS, TITLES, build_networks, phantom_batch
from benchmarks.processes import in_own_process
from retina_monai.data.sets.dataset import SeededSampler
from retina_monai.engines import AdversarialTrainer, Averaged, keep_big_blocks
from retina_monai.handlers import EpochLine, EpochLosses, SeededEpochs, StopOnNaN, Tracker, sqlite_uri
from retina_monai.objectives import Pix2Pix


def time_overhead(size: str, precision: str, effort: Effort) -> dict[str, list[Timing]]:
    """Time blocks of a bare loop and of two engines in turns in one process; the first turn is a warm-up."""
    keep_big_blocks()
    batch, networks = phantom_batch(size, effort), build_networks(size, effort.overrides)
    bare = BareLoop(*deepcopy(networks), fused=True, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        blocks: dict[str, Callable[[], Timing]] = {"bare": partial(bare.block, batch, effort.block)}
        for name, averaged in (("engine", False), ("averaged", True)):
            trainer = build_trainer(deepcopy(networks), precision, [batch] * effort.block, averaged, f"{folder}/{name}")
            blocks[name] = partial(run_epoch, trainer, watch := Stopwatch())
            watch.attach(trainer)
        timings = in_turns(blocks, 2 * effort.rounds + 1, f"overhead, {size}, {precision}")
    return {name: block[1:] for name, block in timings.items()}


def build_trainer(
    networks: tuple[nn.Module, nn.Module], precision: str, batches: list[dict[str, Tensor]], averaged: bool, folder: str
) -> AdversarialTrainer:
    """The engine with the handlers that act in each iteration, on batches in memory."""
    objective = Pix2Pix(*networks, condition_key="condition")
    handlers = [
        SeededEpochs(seed=0, sampler=SeededSampler(batches)),
        StopOnNaN(),
        Averaged(networks[0], enabled=averaged),
        EpochLosses(),
        Tracker(sqlite_uri(folder), "benchmark", folder),
        EpochLine(),
    ]
    return AdversarialTrainer(
        objective=objective,
        optimizers={name: adam(network, fused=True) for name, network in objective.networks.items()},
        precision=precision,
        device=torch.device("cpu"),
        max_epochs=1,
        data_loader=batches,
        epoch_length=len(batches),
        handlers=handlers,
    )


def run_epoch(trainer: AdversarialTrainer, watch: Stopwatch) -> Timing:
    """Train for one more epoch."""
    trainer.state.max_epochs = trainer.state.epoch + 1
    trainer.run()
    return watch.epochs[-1]


def measure_overhead(eyes: Path, effort: Effort) -> str:
    keys = [(size, precision) for size in effort.overhead_sizes for precision in PRECISIONS]
    timings = {key: in_own_process(partial(time_overhead, *key, effort)) for key in keys}
    return describe_overhead(timings, effort)


def describe_overhead(timings: Mapping[tuple[str, str], Mapping[str, Sequence[Timing]]], effort: Effort) -> str:
    head = ("size", "precision", "bare, ms", "engine", "with epoch's end", "engine, average", "with epoch's end")
    rows = [(TITLES[size], precision, *overhead_figures(own)) for (size, precision), own in timings.items()]
    return f"""\
The networks of the bundle are trained in a bare loop and in `AdversarialTrainer` with its handlers. Both run in one
process, in turns, in blocks of {effort.block} iterations, with the same batch and precision, the published losses,
fused Adam, and malloc set to keep large blocks. The handlers are `SeededEpochs`, `StopOnNaN`, `EpochLosses`,
`EpochLine` and `Tracker` with SQLite. The last two columns add `Averaged`, which the bare loop does not have. The end
of an epoch (means, log line, MLflow) is spread over {EPOCH} iterations. The aim is at most 5 %.

{table(head, rows)}"""


def overhead_figures(timings: Mapping[str, Sequence[Timing]]) -> list[str]:
    bare = timings["bare"]
    figures = [f"{1000 * median(block.iteration for block in bare):.1f}"]
    for name in ("engine", "averaged"):
        pairs = list(zip(timings[name], bare, strict=True))
        figures.append(percent(median(own.iteration / plain.iteration for own, plain in pairs)))
        figures.append(percent(median(own.with_end / plain.iteration for own, plain in pairs)))
    return figures
