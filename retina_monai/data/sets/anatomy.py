"""Photographs with whatever masks there are of them, for what is learned from anatomy and not from vessels alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from retina_monai.data.listing.layout import SPLITS, Item
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.sets.eyes import TEXTS, fit_eye, input_or_phantoms, read_eye
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.transforms.encoder_tasks import STRUCTURES

__all__ = ["LoadAnatomyd", "check_anatomy", "choose_splits", "find_anatomy", "repeat_photographs"]

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
    return find_datalist(input_or_phantoms(dataset_dir, phantom_dir, count, size, seed, mixed=True), skip)


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
        known = [_is_known(data, key) for key in STRUCTURES]
        empty = np.zeros((1, self.mask_size, self.mask_size), np.uint8)
        masks = fit_eye({key: mask for key, mask in eye.items() if key != "image"}, self.mask_size)
        whole = fit_eye({key: eye[key] for key in ("image", "fov")}, self.size)
        texts: dict[Hashable, Any] = {key: data[key] for key in TEXTS}
        return texts | {
            **{key: torch.from_numpy(picture) for key, picture in whole.items()},
            "anatomy": torch.from_numpy(np.concatenate([masks.get(key, empty) for key in STRUCTURES])),
            "known": torch.tensor(known),
            "grade": float(data.get("grade", "nan")),
        }


def _is_known(item: Mapping[Hashable, Any], structure: str) -> bool:
    return structure in item or structure in item.get("annotated", ())
