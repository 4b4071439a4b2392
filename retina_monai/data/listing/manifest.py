"""``manifest.jsonl``: one JSON line for each finished sample of a generated set, written after the sample's files.

In a run of several processes, each further process writes its own file (``manifest.1.jsonl``, ...) until the first
process merges them. Lines are read one at a time to save memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.errors import RetinaError
from retina_monai.files import replacing
from retina_monai.kinds import PICTURES

__all__ = ["iterate_manifest", "manifest_path", "merge_manifest", "read_manifest"]

NEEDED = ("name", "patient", "dataset")
FILL = b" \t\r\n\0"  # after a power cut, file systems may pad an unfinished line with zeros
PLACE = np.dtype([("index", np.int64), ("file", np.int64), ("offset", np.int64)])


def manifest_path(folder: str | Path, rank: int = 0) -> Path:
    """The manifest of a process. The first process uses ``manifest.jsonl``."""
    return Path(folder) / (f"manifest.{rank}.jsonl" if rank else "manifest.jsonl")


def read_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """Read the finished samples of a generated set, from the manifests of all processes.

    Lines that an interruption truncated (an incomplete object or an empty line) are ignored wherever they are, since a
    resumed run appends after them. If a sample has two lines, the later one is used in the position of the first. Any
    other line is an error: the file does not belong to a generated set or was modified.

    Args:
        folder: folder of the generated set. Without a manifest, it has no finished samples.

    Returns:
        One dictionary per sample: ``name`` (of its files), the image paths by kind, relative to the folder,
        ``patient``, ``dataset``, and further keys.

    Raises:
        RetinaError: if the file cannot be read, or a line is neither a sample nor truncated.
    """
    return list({sample["name"]: sample for sample in iterate_manifest(folder)}.values())


def iterate_manifest(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Iterate over the lines that :func:`read_manifest` reads. A sample with two lines is yielded twice."""
    for path in _files(folder):
        for _, sample in _samples(path):
            yield sample


def merge_manifest(folder: str | Path) -> None:
    """Merge the complete lines of all processes into ``manifest.jsonl``, sorted by ``index``, one line per sample.

    After an interruption, the next call merges the rest. The memory use is 24 bytes per sample.

    Raises:
        RetinaError: if the file cannot be written, or as :func:`read_manifest`.
    """
    files = _files(folder)
    found = ((_index(sample), number, offset) for number, path in enumerate(files) for offset, sample in _samples(path))
    places = np.sort(np.fromiter(found, PLACE), order=PLACE.names)
    with replacing(manifest_path(folder)) as merged:
        merged.writelines(_lines(files, places))
    for path in files:
        if path != manifest_path(folder):
            path.unlink()


def _files(folder: str | Path) -> list[Path]:
    paths = [manifest_path(folder), *sorted(Path(folder).glob("manifest.*.jsonl"))]
    return [path for path in paths if path.is_file()]


def _samples(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The byte offset of each sample's line, and the sample."""
    offset = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                sample = _sample(line.strip(FILL), f"{path}: line {number}")
                if sample is not None:
                    yield offset, sample
                offset += len(line)
    except OSError as error:
        raise RetinaError(f"{path} cannot be read ({error.strerror}): change its permissions") from error


def _lines(files: Sequence[Path], places: NDArray[np.void]) -> Iterator[bytes]:
    """The lines at the given places. Of several lines of a sample, which share an index, the last is used."""
    with ExitStack() as stack:
        opened = [stack.enter_context(open(path, "rb")) for path in files]
        for _, group in groupby(places, key=lambda place: int(place["index"])):
            lines = {}
            for _, number, offset in group:
                opened[number].seek(offset)
                line = opened[number].readline().strip(FILL)
                lines[json.loads(line.decode("utf-8-sig"))["name"]] = line + b"\n"
            yield from lines.values()


def _index(sample: dict[str, Any]) -> int:
    index = sample.get("index")
    return index if isinstance(index, int) else -1


def _sample(line: bytes, where: str) -> dict[str, Any] | None:
    try:
        sample = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if not line or (line.startswith(b"{") and not isinstance(error, RecursionError)):
            return None
        raise RetinaError(f"{where} is not JSON: remove it, or give another folder") from error
    pictures = [key for key in PICTURES if key in sample] if isinstance(sample, dict) else []
    if not pictures or not all(_is_text(sample.get(key)) for key in (*NEEDED, *pictures)):
        raise RetinaError(
            f"{where} is not a sample: each has {', '.join(NEEDED)} and the path of a picture as text; remove it, or "
            "give another folder"
        )
    if not _is_file_name(sample["name"]):
        raise RetinaError(f"{where}: name is {sample['name']!r:.80}, which cannot be a file name: remove the line")
    return sample


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_file_name(name: str) -> bool:
    try:
        os.fsencode(name)
    except ValueError:  # lone surrogate
        return False
    return name not in (".", "..") and not {"/", "\\", "\0"} & set(name)
