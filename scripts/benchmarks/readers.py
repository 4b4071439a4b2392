"""Pictures per second of this library's readers and MONAI's."""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import itk
import nibabel
import numpy as np
import torch
from monai.data import NibabelReader, PILReader
from monai.transforms import LoadImage
from PIL import Image

from benchmarks.measuring import Effort, in_turns, table
from benchmarks.processes import in_own_process
from retina_monai.data import generate_phantom
from retina_monai.data.files.reading import read_photograph

OURS, MONAI = "read_photograph", "MONAI"
Rates = dict[tuple[str, str], list[float]]


def write_pictures(folder: Path, size: int) -> dict[str, Path]:
    """Write a phantom's photograph in every supported format; return the paths by title of the format."""
    pixels = np.ascontiguousarray(generate_phantom(0, size)["image"].transpose(1, 2, 0))
    picture = Image.fromarray(pixels)
    paths = {name: folder / f"eye.{name.lower()}" for name in ("PNG", "TIFF", "PPM", "BMP")}
    for path in paths.values():
        picture.save(path)
    paths["JPEG"] = folder / "eye.jpg"
    picture.save(paths["JPEG"], quality=92)
    paths["PPM, gzipped"] = folder / "eye.ppm.gz"
    paths["PPM, gzipped"].write_bytes(gzip.compress(paths["PPM"].read_bytes()))
    paths["NIfTI, gzipped"] = folder / "eye.nii.gz"
    nibabel.save(nibabel.Nifti1Image(pixels.transpose(1, 0, 2), np.eye(4)), paths["NIfTI, gzipped"])
    paths["MHA"] = folder / "eye.mha"
    itk.imwrite(itk.image_from_array(pixels, is_vector=True), str(paths["MHA"]))
    return paths


def monai_reader(path: Path) -> LoadImage | None:
    """MONAI's reader of the format; ``None`` if it does not support the format or its colours (ITK's byte vectors)."""
    if path.name.endswith((".ppm.gz", ".mha")):
        return None
    return LoadImage(reader=NibabelReader() if path.suffix == ".gz" else PILReader(), image_only=True)


def time_readers(size: int, effort: Effort) -> Rates:
    """Pictures per second by round, for each format and reader, with one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[tuple[str, str], Callable[[], float]] = {}
        for title, path in write_pictures(Path(folder), size).items():
            jobs[title, OURS] = partial(_rate, read_photograph, path, effort.seconds)
            if reader := monai_reader(path):
                jobs[title, MONAI] = partial(_rate, reader, path, effort.seconds)
        return in_turns(jobs, effort.rounds, "readers")


def _rate(read: Callable[[Path], object], path: Path, seconds: float) -> float:
    read(path)
    start, count = time.perf_counter(), 0
    while not count or time.perf_counter() - start < seconds:
        read(path)
        count += 1
    return count / (time.perf_counter() - start)


def measure_readers(eyes: Path, effort: Effort) -> str:
    """Measure the readers on a phantom of the size of a CHASE_DB1 photograph."""
    return describe_readers(in_own_process(partial(time_readers, effort.reader_size, effort)), effort.reader_size)


def describe_readers(rates: Mapping[tuple[str, str], list[float]], size: int) -> str:
    rows = []
    for title in dict.fromkeys(title for title, _ in rates):
        ours = median(rates[title, OURS])
        theirs = median(rates[title, MONAI]) if (title, MONAI) in rates else None
        rows.append(
            (title, f"{ours:.0f}", *(("", "") if theirs is None else (f"{theirs:.0f}", f"{ours / theirs:.2f}")))
        )
    head = ("format", f"`{OURS}`, pictures/s", "MONAI's `LoadImage`, pictures/s", "x")
    return f"""\
A photograph of {size} x {size} pixels is read from a file in the system's cache, with one thread. `read_photograph`
returns uint8 with rows first and checks the file; MONAI's `LoadImage` returns float32 with metadata. MONAI has no
reader for colour MHA or gzipped PPM. *x* is the speed of `read_photograph` relative to MONAI, in turns.

{table(head, rows)}"""
