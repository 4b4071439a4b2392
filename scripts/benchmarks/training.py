"""Iterations per second of the bundle's training and of a reference loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from monai.bundle import ConfigWorkflow

from benchmarks.bare_loop import BareLoop
from benchmarks.measuring import EPOCH, Effort, Stopwatch, Timing, in_turns, table
from benchmarks.networks import PRECISIONS, SIZES, TITLES, build_networks, config_files, phantom_batch, pixels_of
from benchmarks.processes import in_own_process

PUBLISHED = {
    "norm": "batch",
    "upsampling": "transpose",
    "detail": 0,
    "dropout": 0.5,
    "discriminator_norm": "batch",
    "discriminator_scales": 1,
    "network_def#circular_fov": False,
}


def time_reference(size: str, effort: Effort) -> Timing:
    """Time the reference loop on one batch in memory, without loading, saving or logging."""
    loop = BareLoop(*build_networks(size, PUBLISHED | dict(effort.overrides)))
    batch = phantom_batch(size, effort)
    loop.block(batch, effort.warm_up)
    return loop.block(batch, effort.iterations)


def time_bundle(size: str, precision: str, eyes: Path, effort: Effort) -> Timing:
    """Time the bundle's full training: loading, augmentation, averaging, checkpoint and MLflow."""
    with tempfile.TemporaryDirectory() as output_dir:
        settings = {"dataset_dir": str(eyes), "cache_dir": f"{eyes}-cache", "output_dir": output_dir}
        settings |= {"precision": precision, "ema": True, "max_epochs": 1}
        settings |= effort.overrides_of(config_files(size))
        workflow = ConfigWorkflow(config_files(size), workflow_type="training", logging_file=False, **settings)
        workflow.initialize()
        watch = Stopwatch(effort.warm_up)
        watch.attach(workflow.parser.get_parsed_content("train#trainer"))
        workflow.run()
        workflow.finalize()
    return watch.epochs[0]


def training_jobs(eyes: Path, effort: Effort) -> dict[tuple[str, str], Callable[[], Timing]]:
    jobs: dict[tuple[str, str], Callable[[], Timing]] = {}
    for size in SIZES:
        jobs[size, "reference"] = partial(time_reference, size, effort)
        jobs |= {(size, name): partial(time_bundle, size, name, eyes, effort) for name in PRECISIONS}
    return jobs


def measure_training(eyes: Path, effort: Effort) -> str:
    jobs = {key: partial(in_own_process, job) for key, job in training_jobs(eyes, effort).items()}
    return describe_training(in_turns(jobs, effort.rounds, "training"), effort)


def describe_training(timings: Mapping[tuple[str, str], Sequence[Timing]], effort: Effort) -> str:
    head = ("size", "loop", "ms", "it/s", "x", "its rounds", "end of an epoch, s", "x with it")
    rows = [training_row(key, timings) for key in timings]
    return f"""\
Batch size 1, {pixels_of("released", effort)} px. Each run is a separate process with {effort.iterations} iterations
after {effort.warm_up} for warm-up.

- *Reference*: the published pix2pix of that size in a plain loop (torch's default Adam, fp32, default malloc, batch
  norm, transposed convolutions) on one batch in memory. Nothing is loaded, saved or logged.
- *Bundle*: `train.json` (for the paper's size also `paper.json`, but with `ema` on) through `monai.bundle` on cached
  phantoms, with augmentation, weight averaging, checkpoints and MLflow in SQLite. The released size also has a second
  discriminator, a segmentation network and their losses.

*x* is the number of iterations per second relative to the reference. The end of an epoch (checkpoint, weights,
MLflow) is listed separately; the last column includes it, spread over {EPOCH} iterations. Validation, by default
every fifth epoch, is not included. The aim at the paper's size is 1.3 in fp32 and 1.7 in bf16.

{table(head, rows)}"""


def training_row(key: tuple[str, str], timings: Mapping[tuple[str, str], Sequence[Timing]]) -> tuple[str, ...]:
    size, name = key
    own, reference = timings[key], timings[size, "reference"]
    gains = [before.iteration / after.iteration for before, after in zip(reference, own, strict=True)]
    gain_with_end = median(before.with_end / after.with_end for before, after in zip(reference, own, strict=True))
    seconds, end = (median(values) for values in zip(*own, strict=True))
    title = "reference" if name == "reference" else f"bundle, {name}"
    spread = f"{min(gains):.2f} to {max(gains):.2f}"
    figures = (f"{1000 * seconds:.0f}", f"{1 / seconds:.2f}", f"{median(gains):.2f}", spread, f"{end:.2f}")
    return (TITLES[size], title, *figures, f"{gain_with_end:.2f}")
