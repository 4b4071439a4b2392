"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from retina_monai.errors import RetinaError

__all__ = ["make_folder", "process_mask", "replacing", "write_json", "write_text"]


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of ``path`` when the block ends well and vanishes when it does not.

    Raises:
        RetinaError: ``path`` cannot be written.
    """
    path = Path(path)
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(partial, 0o666 & ~process_mask())
        os.replace(partial, path)
    except OSError as error:
        raise RetinaError(f"{path} cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)


def process_mask() -> int:
    """The process's umask, which tempfile ignores and which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        RetinaError: ``path`` cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN becomes null.

    Raises:
        RetinaError: ``path`` cannot be written.
        ValueError: an infinite number, which JSON has no word for.
    """
    write_text(path, json.dumps(_without_nan(value), indent=4, allow_nan=False) + "\n")


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those above it, unless it is there.

    Raises:
        RetinaError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RetinaError(f"{path} cannot be made ({error.strerror or error}); choose another place") from error
    return Path(path)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
