"""Geometric augmentation of photographs and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.transforms import RandAffined, RandFlipd

__all__ = ["random_geometry"]


def random_geometry(
    keys: Sequence[str], horizontal_flip: float, vertical_flip: float, rotation: float, zoom: float
) -> list[Any]:
    """Random flips, rotation and zoom, the same for all images of a sample.

    Args:
        keys: keys of the images ``(C, H, W)``.
        horizontal_flip, vertical_flip: probabilities of flips.
        rotation: maximum angle in radians.
        zoom: maximum relative change of scale.

    Returns:
        List of MONAI transforms for ``Compose``.
    """
    return [
        RandFlipd(keys, prob=horizontal_flip, spatial_axis=1),
        RandFlipd(keys, prob=vertical_flip, spatial_axis=0),
        RandAffined(keys, prob=1.0, rotate_range=rotation, scale_range=zoom, padding_mode="zeros"),
    ]
