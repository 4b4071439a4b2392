"""The page of benchmarks: a description of the machine, and one section per part."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

SECTIONS = (
    "Training",
    "Overhead",
    "Inference",
    "Loading",
    "Datasets",
    "Readers",
    "Metrics",
    "Report",
    "Fourier",
    "Chain",
    "Diffusion",
)


def machine() -> str:
    """Processor, cores and versions, without anything that identifies the machine."""
    bf16 = "native" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "emulated"
    software = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai"))
    return (
        f"Machine: {processor()}, {os.cpu_count()} cores, torch's threads {torch.get_num_threads()}, "
        f"{torch.backends.cpu.get_cpu_capability()}, bf16 {bf16}; {platform.system()} {platform.machine()}, "
        f"{' '.join(platform.libc_ver())}, Python {platform.python_version()}, {software}."
    )


def processor() -> str:
    """Name of the processor, on Linux from ``/proc/cpuinfo``."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "an unknown processor")


def page(sections: Mapping[str, str], previous: str) -> str:
    """Text of the page; keeps previous sections measured on the same machine."""
    kept = sections_of(previous) if machine() in previous else {}
    parts = kept | dict(sections)
    body = "\n".join(f"## {title}\n\n{parts[title].strip()}\n" for title in SECTIONS if title in parts)
    return f"""# Benchmarks

All figures are measured on the CPU with phantoms. Alternatives are run in turns, and each figure is the median over
the rounds. Ratios carry over to similar machines; absolute figures do not. `python scripts/benchmark.py` repeats all
measurements, and `--only` selects some. Public data sets are measured only with `--dataset_dir`.

{machine()}

{body}"""


def sections_of(document: str) -> dict[str, str]:
    parts = [part.partition("\n") for part in document.split("\n## ")[1:]]
    return {title: text for title, _, text in parts}
