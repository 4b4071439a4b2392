"""Seconds and peak memory of a quick report."""

from __future__ import annotations

import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import Effort, table
from benchmarks.processes import in_own_process
from retina_monai.data import write_phantoms
from retina_monai.evaluation.report.report import evaluate
from retina_monai.synthesis import synthesize


def measure_report(eyes: Path, effort: Effort) -> str:
    """Measure a report on phantoms as real eyes, and photographs generated from the vessels of as many others."""
    count = effort.report_count
    seconds, peak = in_own_process(partial(time_report, count, effort.report_families))
    row = (f"{count} + {count}", effort.report_families, str(torch.get_num_threads()), f"{seconds:.0f}", f"{peak:.0f}")
    return f"""\
`retina_monai evaluate --mode quick` compares {count} phantoms in the role of the real set with photographs that the
released weights paint around the vessels of {count} others, in a separate process. Page, JSON and MLflow are
included; making the sets is not. Usefulness is not judged in this mode. Peak memory is that of the whole process.

{table(("photographs", "families", "threads", "seconds", "peak, MiB"), [row])}"""


def time_report(count: int, families: str) -> tuple[float, float]:
    """Seconds, and peak memory of the process in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        real, grown = (write_phantoms(Path(folder) / f"seed{seed}", count, 512, seed=seed) for seed in (0, 1))
        synthetic = synthesize(input_dir=grown, appearance="random", output_dir=Path(folder) / "synthetic")
        start = time.perf_counter()
        evaluate(synthetic, real, Path(folder) / "report", families=families)
        return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
