"""Files that are written whole or not at all, and that say they are synthetic."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from retina_monai import __version__
from retina_monai.errors import RetinaError

__all__ = ["process_mask", "replacing", "software", "write_json", "write_png"]


def software() -> str:
    """Name and version of this package, as its files carry it."""
    return f"retina_monai {__version__}"


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


def write_png(path: str | Path, array: np.ndarray, synthetic: bool = True) -> None:
    """Write a picture as PNG.

    Args:
        path: the file; its folder is made if need be.
        array: uint8 (3, H, W) in RGB, or (1, H, W) in grey.
        synthetic: mark the file with the text chunk ``SyntheticData`` = ``YES`` (after DICOM's attribute of that name).

    Raises:
        RetinaError: ``path`` cannot be written.
        ValueError: ``array`` is of another type or shape.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in (1, 3):
        raise ValueError(f"a picture is uint8 (1, H, W) or (3, H, W), not {array.dtype} {array.shape}")
    text = PngInfo()
    text.add_text("Software", software())
    if synthetic:
        text.add_text("SyntheticData", "YES")
    pixels = array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))
    with replacing(path) as file:
        Image.fromarray(pixels).save(file, format="PNG", pnginfo=text)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON.

    Raises:
        RetinaError: ``path`` cannot be written.
    """
    text = json.dumps(value, indent=4) + "\n"
    with replacing(path) as file:
        file.write(text.encode())
