"""``manifest.jsonl``: the finished samples of a generated set, a line of JSON each, written after the files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from retina_monai.errors import RetinaError

__all__ = ["read_manifest"]

NEEDED = ("name", "image", "vessel", "fov", "patient", "dataset")
FILL = b" \t\r\0"  # what file systems put, after a power cut, where the end of a line was to be


def read_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """The samples whose line in ``manifest.jsonl`` is whole.

    A line that an interruption cut short (an object that begins and does not end, or nothing) does not count, wherever
    it stands: the run that goes on writes its first line after it. Of two lines of one sample the later counts, in the
    place of the first. A line of anything else is refused: the file is not of a generated set, or was changed.

    Args:
        folder: of the generated set; one without a manifest has no finished samples.

    Returns:
        Of each sample what its line says: ``name`` (what its files are called), ``image``, ``vessel``, ``fov`` (paths
        relative to the folder), ``patient``, ``dataset``, and more.

    Raises:
        RetinaError: the file cannot be read, or a line is JSON but no sample.
    """
    path = Path(folder) / "manifest.jsonl"
    samples: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(_content(path).split(b"\n"), 1):
        sample = _sample(line.strip(FILL), f"{path}: line {number}")
        samples |= {} if sample is None else {sample["name"]: sample}
    return list(samples.values())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise RetinaError(f"{path} cannot be read ({error.strerror}): change its permissions") from error


def _sample(line: bytes, where: str) -> dict[str, Any] | None:
    try:
        sample = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if not line or (line.startswith(b"{") and not isinstance(error, RecursionError)):
            return None
        raise RetinaError(f"{where} is not JSON: remove it, or give another folder") from error
    if not isinstance(sample, dict) or not all(_is_text(sample.get(key)) for key in NEEDED):
        needed = f"{', '.join(NEEDED[:-1])} and {NEEDED[-1]}"
        raise RetinaError(f"{where} is no sample: each has {needed} as text; remove it, or give another folder")
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
