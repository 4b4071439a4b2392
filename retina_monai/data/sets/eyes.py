"""Read eyes: photograph, vessel map and field of view, cropped to a square and resized."""

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
from retina_monai.kinds import KINDS, MASKS
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
    "with_kind",
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
    kind: str | Sequence[str] | None = "vessel",
    mixed: bool = False,
) -> dict[str, Any]:
    """The datalist of one or several data sets, or of phantoms, limited to eyes with masks of the given kinds.

    Args:
        dataset_dir: data set with a known layout, a list of data sets, or ``None`` to use phantoms.
        phantom_dir: folder where phantoms are written once.
        count, size, seed, mixed: properties of the phantoms, see :func:`input_or_phantoms`.
        skip_unreadable: switch, whether to leave out eyes with a broken file.
        kind: kind of mask that every eye must have, or a list of kinds, or ``None`` to keep all eyes.

    Raises:
        RetinaError: if no eye has these masks, or as ``find_datalist`` and ``write_phantoms``.
    """
    skip = parse_switch(skip_unreadable, "skip_unreadable")
    datalist = find_datalist(input_or_phantoms(dataset_dir, phantom_dir, count, size, seed, mixed), skip)
    for one in [kind] if isinstance(kind, str) else kind or ():
        datalist = {split: with_kind(items, one) for split, items in datalist.items()}
        if not any(datalist.values()):
            raise RetinaError(
                f"dataset_dir {dataset_dir} has no eye with a {KINDS[one].name}: give a data set that has one"
            )
    return datalist


def with_kind(items: Sequence[Item], kind: str) -> list[Item]:
    """The items with a picture of a kind. The number of other items is logged."""
    kept = [item for item in items if kind in item]
    if len(kept) < len(items):
        logger.warning("left out %d of %d eyes, which have no %s", len(items) - len(kept), len(items), KINDS[kind].name)
    return kept


def input_or_phantoms(
    folder: str | Path | list[str] | None,
    phantom_dir: str | Path,
    count: int = 8,
    size: int = 512,
    seed: int = 0,
    mixed: bool = False,
) -> str | Path | list[str]:
    """Return ``folder``, or if it is ``None`` the folder of a set of phantoms, which is created on first use.

    Args:
        folder: folder given by the user.
        phantom_dir: folder where phantoms are written once.
        count, size, seed: number, side length in pixels and seed of the phantoms.
        mixed: whether the phantoms have all grades of diabetic retinopathy, with and without myopia, instead of being
            healthy.

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
    """Compute the field of view by :func:`compute_fov`, with the file name in errors."""
    try:
        return compute_fov(image)
    except RetinaError as error:
        raise RetinaError(f"{path}: {error}") from error


def read_eye(item: Mapping[Hashable, Any], keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read and check a photograph, its field of view (computed if the item has none) and its masks.

    Args:
        item: item of a datalist.
        keys: keys of the masks to read. Keys that the item lacks are ignored.

    Returns:
        Dictionary of ``image`` uint8 ``(3, H, W)`` in [0, 255], and ``fov`` and the masks uint8 ``(1, H, W)`` in
        {0, 1}.

    Raises:
        RetinaError: if a file cannot be read, or as :func:`retina_monai.data.files.checking.check_eye`.
    """
    pictures, faults = read_pictures(item, ("image", "fov", *keys))
    if faults:
        raise RetinaError("; ".join(faults))
    image = pictures["image"]
    fov = pictures["fov"] if "fov" in pictures else find_fov(image, item["image"])
    check_eye(image, None, item, fov, {key: pictures[key] for key in keys if key in pictures})
    return pictures | {"fov": fov}


def load_eye(item: Mapping[Hashable, Any], kinds: Sequence[str], size: int) -> dict[str, np.ndarray]:
    """Read the images of an eye and resize them.

    Args:
        item: item of a datalist.
        kinds: kinds of mask to read (:mod:`retina_monai.kinds`). Kinds that the item lacks are ignored.
        size: side length in pixels.

    Returns:
        ``image``, ``fov`` and the masks, in the format of :func:`fit_eye`.

    Raises:
        RetinaError: as :func:`read_eye`.
    """
    return fit_eye(read_eye(item, kinds), size)


def fit_eye(eye: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Crop an eye to its field of view, pad it to a square and resize it by area averaging.

    Args:
        eye: images by kind as returned by :func:`read_eye`, including ``fov``.
        size: side length in pixels.

    Returns:
        Images by kind, uint8 ``(C, size, size)`` in [0, 255]. The photograph is black outside the field of view. Masks
        hold the share of each pixel that they cover.
    """
    box = fov_box(eye["fov"])
    pictures = {key: picture * np.uint8(255) if key in MASKS else picture for key, picture in eye.items()}
    if "image" in eye:
        pictures["image"] = black_outside(eye["image"], eye["fov"])
    return {key: fit(picture, box, size) for key, picture in pictures.items()}


def fit(picture: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Crop a uint8 image ``(C, H, W)`` to a box, pad it to a square and resize it to ``(C, size, size)`` by area."""
    return np.rint(resize_area(crop_square(picture, box).astype(np.float32), size)).astype(np.uint8)


class LoadEyed(Transform):
    """Load ``image``, masks and ``fov`` of a datalist item, uint8 ``(C, size, size)`` in [0, 255], and its texts.

    Images are cropped to the field of view (computed if the item has none), padded to a square and resized by area
    averaging. Masks and field of view hold the share of each pixel that they cover.

    Args:
        size: side length in pixels.
        masks: kinds of mask to read.

    Raises:
        RetinaError: as :func:`read_eye`.
    """

    def __init__(self, size: int, masks: Sequence[str] = ("vessel",)) -> None:
        self.size, self.masks = size, tuple(masks)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        texts: dict[Hashable, Any] = {key: data[key] for key in TEXTS}
        eye = load_eye(data, self.masks, self.size)
        return texts | {key: torch.from_numpy(picture) for key, picture in eye.items()}
