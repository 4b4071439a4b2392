"""Photographs with all available masks, for training on anatomy other than vessels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from retina_monai.data.listing.layout import SPLITS, Item
from retina_monai.data.sets.eyes import TEXTS, find_eyes, fit_eye, read_eye
from retina_monai.errors import RetinaError
from retina_monai.kinds import MASKS
from retina_monai.transforms.encoder_tasks import STRUCTURES

__all__ = ["LoadAnatomyd", "check_anatomy", "choose_splits", "find_anatomy", "repeat_photographs"]

PHANTOM = "phantom"


find_anatomy = partial(find_eyes, kind=None, mixed=True)
"""The datalist of one or several data sets with all their eyes, or of phantoms with and without pathology."""


def check_anatomy(datalist: Mapping[str, Any]) -> None:
    """Check that the eyes for training and for validation have annotations.

    Args:
        datalist: items by split. The validation split may be empty.

    Raises:
        RetinaError: if no eye of a split has a mask, or is annotated as having no such structure.
    """
    for split in ("training", "validation"):
        items = datalist[split]
        if items and not any(_is_known(item, key) for item in items for key in STRUCTURES):
            raise RetinaError(
                f"no eye for {split} has a mask of {', '.join(STRUCTURES)}: give a data set with masks of some of them"
            )


def choose_splits(datalist: Mapping[str, Any], splits: str | Sequence[str], fewest: int = 1) -> list[Item]:
    """The eyes of one or several splits.

    Args:
        datalist: items by split.
        splits: one split or a list of splits.
        fewest: minimum number of patients.

    Raises:
        RetinaError: if a split is unknown or there are too few patients.
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
    """Repeat each real eye ``times`` times, which balances real eyes with phantoms.

    Phantoms, and eyes with a mask that a network segmented (``vessel_by``, ``disc_by``), are not repeated.
    """
    segmented = [f"{kind}_by" for kind in MASKS]
    once = [item["dataset"] == PHANTOM or any(key in item for key in segmented) for item in items]
    return [item for item, single in zip(items, once, strict=True) for _ in range(1 if single else times)]


class LoadAnatomyd(Transform):
    """Load ``image``, ``fov``, ``anatomy``, ``known`` and ``grade`` of a datalist item, and copy its texts.

    Photograph and masks are cropped to the field of view (computed if the item has none), padded to a square and
    resized by area averaging. The sample has

    - ``image`` uint8 ``(3, S, S)`` and ``fov`` uint8 ``(1, S, S)`` in [0, 255],
    - ``anatomy`` uint8 ``(K, M, M)`` in [0, 255], the share of each pixel covered by each of ``STRUCTURES``, 0 where it
      is unknown,
    - ``known`` Boolean ``(K,)``, whether each structure is annotated,
    - ``grade``, NaN where it is unknown.

    Args:
        size: side length ``S`` in pixels of ``image`` and ``fov``.
        mask_size: side length ``M`` in pixels of ``anatomy``.

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
