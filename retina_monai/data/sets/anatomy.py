"""Photographs with whatever masks there are of them, for what is learned from anatomy and not from vessels alone."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from numpy.typing import NDArray

from retina_monai.data.listing.layout import SPLITS, Item
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms
from retina_monai.data.sets.eyes import TEXTS, read_eye
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.transforms.encoder_tasks import STRUCTURES
from retina_monai.transforms.field_of_view import black_outside, crop_square, fov_box, resize_area

__all__ = ["LoadAnatomyd", "check_anatomy", "choose_splits", "find_anatomy", "repeat_photographs"]

logger = logging.getLogger("retina_monai")
PHANTOM = "phantom"


def find_anatomy(
    dataset_dir: str | Path | list[str] | None,
    phantom_dir: str | Path,
    count: int = 40,
    size: int = 512,
    seed: int = 0,
    skip_unreadable: bool | str = False,
) -> dict[str, Any]:
    """The datalist of a folder or of several, of all eyes, or of phantoms with pathology where none is given.

    Args:
        dataset_dir: what the user gave: a folder whose layout is recognised, or a list of them; ``None``: phantoms.
        phantom_dir: where phantoms are written, once.
        count, size, seed: of the phantoms: how many, pixels a side, and the seed; grades and myopia are mixed.
        skip_unreadable: a switch: leave out eyes with a file that is broken.

    Raises:
        RetinaError: as ``find_datalist`` and ``write_phantoms``.
    """
    skip = parse_switch(skip_unreadable, "skip_unreadable")
    if dataset_dir is None:
        folder = Path(phantom_dir) / f"{count}x{size}-seed{seed}-mixed"
        logger.warning(
            "no directory was given: using %d phantoms (drawn by a procedure, not eyes) in %s", count, folder
        )
        dataset_dir = folder if folder.is_dir() else write_phantoms(folder, count, size, seed, "mixed", "mixed")
    return find_datalist(dataset_dir, skip)


def check_anatomy(datalist: Mapping[str, Any]) -> None:
    """Refuse to train, or to validate, on photographs of which nothing is known.

    Args:
        datalist: lists of eyes by their split; there need be none to validate.

    Raises:
        RetinaError: no eye of a split has a mask, nor was looked for what a mask would show.
    """
    for split in ("training", "validation"):
        items = datalist[split]
        if items and not any(_is_known(item, key) for item in items for key in STRUCTURES):
            raise RetinaError(
                f"no eye for {split} has a mask of {', '.join(STRUCTURES)}: give a data set with masks of some of them"
            )


def choose_splits(datalist: Mapping[str, Any], splits: str | Sequence[str], fewest: int = 1) -> list[Item]:
    """The eyes of some splits.

    Args:
        datalist: lists of eyes by their split.
        splits: one, or several.
        fewest: patients that are needed.

    Raises:
        RetinaError: an unknown split, or fewer patients in all.
    """
    chosen = [splits] if isinstance(splits, str) else splits
    if not isinstance(chosen, Sequence) or not chosen or any(split not in SPLITS for split in chosen):
        raise RetinaError(f"splits is {splits!r}: it takes one of {', '.join(SPLITS)}, or a list of them")
    items = [item for split in dict.fromkeys(chosen) for item in datalist[split]]
    patients = len({item["patient"] for item in items})
    if patients < fewest:
        raise RetinaError(
            f"the data set has eyes of {patients} patients for {' and '.join(chosen)}, and {fewest} are needed: name "
            "more --splits, or give a larger data set"
        )
    return items


def repeat_photographs(items: Sequence[Item], times: int) -> list[Item]:
    """The items, with each that is no phantom that many times: real eyes are few, and count as much."""
    return [item for item in items for _ in range(1 if item["dataset"] == PHANTOM else times)]


class LoadAnatomyd(Transform):
    """Datalist item -> ``image``, ``fov``, ``anatomy``, ``known`` and ``grade``, and its texts.

    Photograph and masks are cropped to the field of view (computed where the set has none), padded square and resized
    by area.

    Args:
        size: pixels a side of ``image`` uint8 ``(3, S, S)`` and ``fov`` uint8 ``(1, S, S)``, in [0, 255].
        mask_size: pixels a side of ``anatomy``, uint8 ``(K, M, M)`` in [0, 255]: the share of each pixel that each of
            ``STRUCTURES`` covers, 0 where it is not known; ``known`` is Boolean ``(K,)``.

    Raises:
        RetinaError: as :func:`retina_monai.data.sets.eyes.read_eye`.
    """

    def __init__(self, size: int, mask_size: int) -> None:
        self.size, self.mask_size = size, mask_size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        eye = read_eye(data, STRUCTURES)
        image, box = black_outside(eye["image"], eye["fov"]), fov_box(eye["fov"])
        known = [_is_known(data, key) for key in STRUCTURES]
        empty = torch.zeros((1, self.mask_size, self.mask_size), dtype=torch.uint8)
        fitted = {key: _fit(eye[key] * np.uint8(255), box, self.mask_size) for key in STRUCTURES if key in eye}
        texts: dict[Hashable, Any] = {key: data[key] for key in TEXTS}
        return texts | {
            "image": _fit(image, box, self.size),
            "fov": _fit(eye["fov"] * np.uint8(255), box, self.size),
            "anatomy": torch.cat([fitted.get(key, empty) for key in STRUCTURES]),
            "known": torch.tensor(known),
            "grade": float(data.get("grade", "nan")),
        }


def _is_known(item: Mapping[Hashable, Any], structure: str) -> bool:
    return structure in item or structure in item.get("annotated", ())


def _fit(picture: NDArray[np.uint8], box: tuple[int, int, int, int], size: int) -> torch.Tensor:
    square = resize_area(crop_square(picture, box).astype(np.float32), size)
    return torch.from_numpy(np.rint(square).astype(np.uint8))
