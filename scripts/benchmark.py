"""Benchmark training, inference, data, metrics, reports, networks and chains on the CPU, for docs/benchmarks.md.

    python scripts/benchmark.py                                    # all: about an hour on two idle cores
    python scripts/benchmark.py --quick                            # smoke test: some minutes, writes no file
    python scripts/benchmark.py --only metrics --rounds 1
    python scripts/benchmark.py --only inference,loading --rounds 5
    python scripts/benchmark.py --only datasets --dataset_dir "['DATA/CHASE_DB1','DATA/HRF']"

Variants are measured in turns, round after round, and each figure is the median of its rounds, so that changes in the
speed of the machine affect all alike. Data are phantoms, except for the sets of ``--dataset_dir``. Run it on an idle
machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fire
from benchmarks.chain import measure_chain
from benchmarks.datasets import measure_datasets
from benchmarks.diffusion import measure_diffusion
from benchmarks.fourier import measure_fourier
from benchmarks.inference import measure_inference
from benchmarks.loading import measure_loading
from benchmarks.measuring import Effort
from benchmarks.metrics import measure_metrics
from benchmarks.networks import pixels_of
from benchmarks.overhead import measure_overhead
from benchmarks.page import page
from benchmarks.readers import measure_readers
from benchmarks.report import measure_report
from benchmarks.training import measure_training

from retina_monai.data import write_phantoms
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.files import write_text

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
FULL = Effort(3, 4, 16, 8, 29, 1.0, ("paper", "released"), True)
FEW: dict[str, Any] = {
    "metric_counts": (10, 20),
    "report_count": 10,
    "chain_samples": 9,
    "chain_counts": (10, 20),
    "fourier_pictures": 1,
    "diffusion_iterations": 1,
    "diffusion_samples": 1,
}
QUICK = Effort(1, 2, 4, 4, 9, 0.2, ("released",), False, **FEW)
PARTS: dict[str, Callable[[Path, Effort], str]] = {
    "training": measure_training,
    "overhead": measure_overhead,
    "inference": measure_inference,
    "loading": measure_loading,
    "datasets": measure_datasets,
    "readers": measure_readers,
    "metrics": measure_metrics,
    "report": measure_report,
    "fourier": measure_fourier,
    "chain": measure_chain,
    "diffusion": measure_diffusion,
}


def command(part: str, effort: Effort, quick: bool) -> str:
    """Command that reproduces a section; data sets are given by name only."""
    sets = [f"DATA/{Path(folder).name}" for folder in effort.dataset_dirs] if part == "datasets" else []
    more = f' --dataset_dir "{sets}"' if sets else ""
    return f"python scripts/benchmark.py --only {part} --rounds {effort.rounds}{more}{' --quick' if quick else ''}"


def chosen(only: str | Sequence[str] | None) -> list[str]:
    """Selected parts in their order. Fire parses ``--only a,b`` to a tuple."""
    names = list(PARTS) if only is None else only.split(",") if isinstance(only, str) else list(only)
    if unknown := [str(name) for name in names if name not in PARTS]:
        raise RetinaError(f"--only {','.join(unknown)} is unknown: choose from {','.join(PARTS)}")
    return [name for name in PARTS if name in names]


def effort_of(quick: bool, rounds: Any, dataset_dir: str | Sequence[str] | None) -> Effort:
    folders = [dataset_dir] if isinstance(dataset_dir, str) else dataset_dir or []
    effort = replace(QUICK if quick else FULL, dataset_dirs=tuple(map(str, folders)))
    if rounds is None:
        return effort
    if not isinstance(rounds, int) or rounds < 1:
        raise RetinaError(f"--rounds must be a positive integer, got {rounds!r}")
    return replace(effort, rounds=rounds)


def warn_if_busy() -> None:
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"warning: the system load is {load:.1f}; figures are only valid on an idle machine", file=sys.stderr)


def measure(parts: Sequence[str], effort: Effort, quick: bool) -> dict[str, str]:
    """Run the benchmarks, and return the text of each section."""
    sections = {}
    with tempfile.TemporaryDirectory() as folder:
        eyes = write_phantoms(Path(folder) / "eyes", effort.phantoms, 2 * pixels_of("released", effort), seed=0)
        for part in parts:
            text = PARTS[part](eyes, effort)
            sections[part.capitalize()] = f"{text}\n\nMade by `{command(part, effort, quick)}`."
    return sections


def main(
    quick: Any = False,
    rounds: int | None = None,
    output: str | None = None,
    only: str | Sequence[str] | None = None,
    dataset_dir: str | Sequence[str] | None = None,
) -> None:
    """Run benchmarks on the CPU, and write tables. Run it on an idle machine.

    Args:
        quick: true runs a short smoke test, which writes no file unless --output is given.
        rounds: number of rounds, of which the median is reported; defaults to 3 (1 if quick).
        output: Markdown file to write; defaults to docs/benchmarks.md. Its other sections are kept if they were
            measured on the same machine.
        only: some of training,overhead,inference,loading,datasets,readers,metrics,report,fourier,chain,diffusion.
        dataset_dir: a data set or a list of them, for datasets; defaults to phantoms.
    """
    short = parse_switch(quick, "quick")
    parts, effort = chosen(only), effort_of(short, rounds, dataset_dir)
    path = None if short and output is None else Path(output or OUTPUT)
    warn_if_busy()
    start = time.perf_counter()
    sections = measure(parts, effort, short)
    text = page(sections, path.read_text() if path is not None and path.is_file() else "")
    print(f"\n{text}\n{time.perf_counter() - start:.0f} s")
    if path is not None:
        write_text(path, text)
        print(path)


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(f"error: {error}") from error
