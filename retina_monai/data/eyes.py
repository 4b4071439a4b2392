"""Read an eye: photograph, vessel map and field of view, cropped, square, and of one size."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from retina_monai.data.layouts import find_datalist
from retina_monai.data.phantom import write_phantoms
from retina_monai.data.reading import read_mask, read_photograph
from retina_monai.errors import RetinaError
from retina_monai.transforms.field_of_view import compute_fov, crop_square, fov_box, resize_area

__all__ = ["LoadEyed", "find_eyes", "find_fov", "input_or_phantoms"]

logger = logging.getLogger("retina_monai")
TEXTS = ("name", "patient", "dataset")


def find_eyes(
    dataset_dir: str | Path | list[str] | None, phantom_dir: str | Path, count: int = 40, size: int = 512, seed: int = 0
) -> dict[str, Any]:
    """The datalist of a folder or of several, or of phantoms where none is given.

    Args:
        dataset_dir: what the user gave: a folder whose layout is recognised, or a list of them; ``None``: phantoms.
        phantom_dir: where phantoms are written, once.
        count, size, seed: of the phantoms: how many, pixels a side, and the seed.

    Raises:
        RetinaError: as ``find_datalist`` and ``write_phantoms``.
    """
    return find_datalist(input_or_phantoms(dataset_dir, phantom_dir, count, size, seed))


def input_or_phantoms(
    folder: str | Path | list[str] | None, phantom_dir: str | Path, count: int = 8, size: int = 512, seed: int = 0
) -> str | Path | list[str]:
    """``folder`` where the user gave one, else the folder of a set of phantoms, made when it is first asked for.

    Args:
        folder: what the user gave.
        phantom_dir, count, size, seed: as for :func:`find_eyes`.

    Raises:
        RetinaError: as ``write_phantoms``.
    """
    if folder is not None:
        return folder
    phantoms = Path(phantom_dir) / f"{count}x{size}-seed{seed}"
    logger.warning("no directory was given: using %d phantoms (drawn by a procedure, not eyes) in %s", count, phantoms)
    return phantoms if phantoms.is_dir() else write_phantoms(phantoms, count, size, seed)


def find_fov(image: np.ndarray, path: str | Path) -> np.ndarray:
    """:func:`compute_fov`, whose error names the photograph's file."""
    try:
        return compute_fov(image)
    except RetinaError as error:
        raise RetinaError(f"{path}: {error}") from error


class LoadEyed(Transform):
    """Datalist item -> ``image``, ``vessel`` and ``fov`` as uint8 ``(C, size, size)`` in [0, 255], and its texts.

    Photograph and masks are cropped to the field of view (computed where the set has none), padded square and
    resized by area; a vessel map and a field of view hold the share of each pixel that they cover.

    Args:
        size: pixels a side.

    Raises:
        RetinaError: a file that cannot be read, or a mask of another size than its photograph.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = read_photograph(data["image"])
        vessel = read_mask(data["vessel"])
        fov = read_mask(data["fov"]) if "fov" in data else find_fov(image, data["image"])
        for key, mask in (("vessel", vessel), ("fov", fov)):
            if mask.shape[1:] != image.shape[1:]:
                raise RetinaError(
                    f"{data.get(key, data['image'])} is {mask.shape[2]} x {mask.shape[1]} pixels, but its photograph "
                    f"{data['image']} is {image.shape[2]} x {image.shape[1]}"
                )
        box = fov_box(fov)
        texts: dict[Hashable, Any] = {key: data[key] for key in TEXTS}
        pictures = {"image": image, "vessel": vessel * np.uint8(255), "fov": fov * np.uint8(255)}
        return texts | {key: self._fit(picture, box) for key, picture in pictures.items()}

    def _fit(self, picture: np.ndarray, box: tuple[int, int, int, int]) -> torch.Tensor:
        square = resize_area(crop_square(picture, box).astype(np.float32), self.size)
        return torch.from_numpy(np.rint(square).astype(np.uint8))
