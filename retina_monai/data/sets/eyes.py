"""Read an eye: photograph, vessel map and field of view, cropped, square, and of one size."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from retina_monai.data.files.checking import check_eye, read_pictures
from retina_monai.data.listing.layout import Item
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.kinds import MASKS
from retina_monai.transforms.field_of_view import black_outside, compute_fov, crop_square, fov_box, resize_area

__all__ = [
    "LoadEyed",
    "find_eyes",
    "find_fov",
    "fit",
    "fit_eye",
    "input_or_phantoms",
    "load_eye",
    "read_eye",
    "with_vessels",
]

logger = logging.getLogger("retina_monai")
TEXTS = ("name", "patient", "dataset")


def find_eyes(
    dataset_dir: str | Path | list[str] | None,
    phantom_dir: str | Path,
    count: int = 40,
    size: int = 512,
    seed: int = 0,
    skip_unreadable: bool | str = False,
) -> dict[str, Any]:
    """The datalist of a folder or of several, or of phantoms where none is given: of the eyes that have a vessel map.

    Args:
        dataset_dir: what the user gave: a folder whose layout is recognised, or a list of them; ``None``: phantoms.
        phantom_dir: where phantoms are written, once.
        count, size, seed: of the phantoms: how many, pixels a side, and the seed.
        skip_unreadable: a switch: leave out eyes with a file that is broken.

    Raises:
        RetinaError: as ``find_datalist`` and ``write_phantoms``; no eye has a vessel map.
    """
    skip = parse_switch(skip_unreadable, "skip_unreadable")
    datalist = find_datalist(input_or_phantoms(dataset_dir, phantom_dir, count, size, seed), skip)
    eyes = {split: with_vessels(items) for split, items in datalist.items()}
    if not any(eyes.values()):
        raise RetinaError(f"dataset_dir {dataset_dir} has no eye with a vessel map: give a data set that has, too")
    return eyes


def with_vessels(items: Sequence[Item]) -> list[Item]:
    """The items that have a vessel map; how many have none is logged."""
    kept = [item for item in items if "vessel" in item]
    if len(kept) < len(items):
        logger.warning("left out %d of %d eyes, which have no vessel map", len(items) - len(kept), len(items))
    return kept


def input_or_phantoms(
    folder: str | Path | list[str] | None,
    phantom_dir: str | Path,
    count: int = 8,
    size: int = 512,
    seed: int = 0,
    mixed: bool = False,
) -> str | Path | list[str]:
    """``folder`` where the user gave one, else the folder of a set of phantoms, made when it is first asked for.

    Args:
        folder: what the user gave.
        phantom_dir, count, size, seed: as for :func:`find_eyes`.
        mixed: phantoms of all grades of diabetic retinopathy, with and without myopia, instead of healthy ones.

    Raises:
        RetinaError: as ``write_phantoms``.
    """
    if folder is not None:
        return folder
    phantoms = Path(phantom_dir) / f"{count}x{size}-seed{seed}{'-mixed' if mixed else ''}"
    logger.warning("no directory was given: using %d phantoms (drawn by a procedure, not eyes) in %s", count, phantoms)
    if phantoms.is_dir():
        return phantoms
    return write_phantoms(phantoms, count, size, seed, "mixed" if mixed else 0, "mixed" if mixed else False)


def find_fov(image: np.ndarray, path: str | Path) -> np.ndarray:
    """:func:`compute_fov`, whose error names the photograph's file."""
    try:
        return compute_fov(image)
    except RetinaError as error:
        raise RetinaError(f"{path}: {error}") from error


def read_eye(item: Mapping[Hashable, Any], keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read a photograph, its field of view (computed where the item has none) and masks, and check them.

    Args:
        item: line of a datalist.
        keys: of the masks that are wanted; those that the item lacks are left out.

    Returns:
        ``image`` uint8 ``(3, H, W)`` in [0, 255]; ``fov`` and the masks uint8 ``(1, H, W)`` of {0, 1}.

    Raises:
        RetinaError: a file that cannot be read, or as :func:`retina_monai.data.files.checking.check_eye`.
    """
    pictures, faults = read_pictures(item, ("image", "fov", *keys))
    if faults:
        raise RetinaError("; ".join(faults))
    image = pictures["image"]
    fov = pictures["fov"] if "fov" in pictures else find_fov(image, item["image"])
    check_eye(image, None, item, fov, {key: pictures[key] for key in keys if key in pictures})
    return pictures | {"fov": fov}


def load_eye(item: Mapping[Hashable, Any], kinds: Sequence[str], size: int) -> dict[str, np.ndarray]:
    """Read pictures of an eye and bring them to one size.

    Args:
        item: line of a datalist.
        kinds: of the masks that are wanted (:mod:`retina_monai.kinds`); those that the item lacks are left out.
        size: pixels a side.

    Returns:
        As :func:`fit_eye`, of ``image``, ``fov`` and the masks.

    Raises:
        RetinaError: as :func:`read_eye`.
    """
    return fit_eye(read_eye(item, kinds), size)


def fit_eye(eye: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Crop an eye to its field of view, pad it square and resize it by area.

    Args:
        eye: pictures by kind, as :func:`read_eye` gives them; ``fov`` among them.
        size: pixels a side.

    Returns:
        uint8 ``(C, size, size)`` in [0, 255] by kind: the photograph black outside of the field of view; of a mask, the
        share of each pixel that it covers.
    """
    box = fov_box(eye["fov"])
    pictures = {key: picture * np.uint8(255) if key in MASKS else picture for key, picture in eye.items()}
    if "image" in eye:
        pictures["image"] = black_outside(eye["image"], eye["fov"])
    return {key: fit(picture, box, size) for key, picture in pictures.items()}


def fit(picture: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """A picture uint8 ``(C, H, W)`` cropped to a box, padded square and resized by area: uint8 ``(C, size, size)``."""
    return np.rint(resize_area(crop_square(picture, box).astype(np.float32), size)).astype(np.uint8)


class LoadEyed(Transform):
    """Datalist item -> ``image``, ``vessel`` and ``fov`` as uint8 ``(C, size, size)`` in [0, 255], and its texts.

    Photograph and masks are cropped to the field of view (computed where the set has none), padded square and
    resized by area; a vessel map and a field of view hold the share of each pixel that they cover.

    Args:
        size: pixels a side.

    Raises:
        RetinaError: as :func:`read_eye`.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        texts: dict[Hashable, Any] = {key: data[key] for key in TEXTS}
        eye = load_eye(data, ("vessel",), self.size)
        return texts | {key: torch.from_numpy(picture) for key, picture in eye.items()}
