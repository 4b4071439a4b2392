"""Write images that are marked as synthetic or not."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from retina_monai import __version__
from retina_monai.files import replacing

__all__ = ["is_synthetic", "software", "write_png"]

COMPRESSION = 4  # level of zlib; the default of 6 takes twice as long and is no smaller for photographs
STRATEGY = {1: zlib.Z_DEFAULT_STRATEGY, 3: zlib.Z_RLE}  # by channels: photographs hold no repeats worth a search


def software() -> str:
    """Name and version of this package, as recorded in its files."""
    return f"retina_monai {__version__}"


def write_png(
    path: str | Path, array: np.ndarray, synthetic: bool = True, text: Mapping[str, str] | None = None
) -> None:
    """Write an image as PNG.

    Args:
        path: output file. Its folder is created if it does not exist.
        array: uint8 image, ``(3, H, W)`` in RGB or ``(1, H, W)`` in grey.
        synthetic: whether to add the text chunk ``SyntheticData`` = ``YES``, named after DICOM's attribute.
        text: further text chunks by keyword.

    Raises:
        RetinaError: if ``path`` cannot be written.
        ValueError: if ``array`` has another data type or shape.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in (1, 3):
        raise ValueError(f"a picture is uint8 (1, H, W) or (3, H, W), got {array.dtype} {array.shape}")
    chunks = PngInfo()
    chunks.add_text("Software", software())
    if synthetic:
        chunks.add_text("SyntheticData", "YES")
    for keyword, value in (text or {}).items():
        chunks.add_text(keyword, value)
    pixels = array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))
    how = {"compress_level": COMPRESSION, "compress_type": STRATEGY[len(array)]}
    with replacing(path) as file:
        Image.fromarray(pixels).save(file, format="PNG", pnginfo=chunks, **how)


def is_synthetic(item: Mapping[str, Any]) -> bool:
    """Whether an item of a datalist, or the PNG text ``SyntheticData`` of its photograph, marks it as synthetic."""
    return bool(item.get("synthetic")) or ("image" in item and _is_marked_synthetic(Path(item["image"])))


def _is_marked_synthetic(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path) as picture:
            return str(picture.info.get("SyntheticData", "")).upper() == "YES"
    except (OSError, ValueError, Image.DecompressionBombError):  # reported when the image is read
        return False
