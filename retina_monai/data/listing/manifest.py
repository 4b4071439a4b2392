"""``manifest.jsonl``: the finished samples of a generated set, a line of JSON each, written after the files.

Processes that share a set write files of their own, ``manifest.1.jsonl`` and so on, until the first brings all lines
together. Nothing here holds more than one line at a time.
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
FILL = b" \t\r\n\0"  # zeros are what file systems put, after a power cut, where the end of a line was to be
PLACE = np.dtype([("index", np.int64), ("file", np.int64), ("offset", np.int64)])


def manifest_path(folder: str | Path, rank: int = 0) -> Path:
    """The file to which a process appends its lines; the first, or only one, to ``manifest.jsonl`` itself."""
    return Path(folder) / (f"manifest.{rank}.jsonl" if rank else "manifest.jsonl")


def read_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """The samples whose line in ``manifest.jsonl`` is whole; of a set that is not finished, in other processes' too.

    A line that an interruption cut short (an object that begins and does not end, or nothing) does not count, wherever
    it stands: the run that goes on writes its first line after it. Of two lines of one sample the later counts, in the
    place of the first. A line of anything else is refused: the file is not of a generated set, or was changed.

    Args:
        folder: of the generated set; one without a manifest has no finished samples.

    Returns:
        The line of each sample: ``name`` (what its files are called), the paths of its pictures by kind, relative to
        the folder, ``patient``, ``dataset``, and more.

    Raises:
        RetinaError: the file cannot be read, or a line is JSON but no sample.
    """
    return list({sample["name"]: sample for sample in iterate_manifest(folder)}.values())


def iterate_manifest(folder: str | Path) -> Iterator[dict[str, Any]]:
    """As :func:`read_manifest`, one after the other; a sample of which there are two lines comes twice."""
    for path in _files(folder):
        for _, sample in _samples(path):
            yield sample


def merge_manifest(folder: str | Path) -> None:
    """Bring the whole lines of all processes into ``manifest.jsonl``, by ``index``, each sample once.

    What was not merged when an interruption came is merged by the next call. Memory: 24 bytes for each sample.

    Raises:
        RetinaError: as :func:`read_manifest`, or the file cannot be written.
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
    """Where the line of each sample begins, in bytes, and what it says."""
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
    """The lines at these places; of several of one sample, which have one index, the last."""
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
            f"{where} is no sample: each has {', '.join(NEEDED)} and the path of a picture as text; remove it, or give "
            "another folder"
        )
    if not _is_file_name(sample["name"]):
        raise RetinaError(f"{where}: name is {sample['name']!r:.80}, which no file can be called: remove the line")
    return sample


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_file_name(name: str) -> bool:
    try:
        os.fsencode(name)
    except ValueError:  # half a character
        return False
    return name not in (".", "..") and not {"/", "\\", "\0"} & set(name)
