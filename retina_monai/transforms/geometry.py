"""The random geometry with which photographs and their masks are augmented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.transforms import RandAffined, RandFlipd

__all__ = ["random_geometry"]


def random_geometry(
    keys: Sequence[str], horizontal_flip: float, vertical_flip: float, rotation: float, zoom: float
) -> list[Any]:
    """Flips, rotation and zoom of all pictures of a sample alike.

    Args:
        keys: of the pictures ``(C, H, W)``.
        horizontal_flip, vertical_flip: probabilities.
        rotation: largest angle in radians.
        zoom: largest relative change of scale.

    Returns:
        MONAI transforms, to be listed in a ``Compose``.
    """
    return [
        RandFlipd(keys, prob=horizontal_flip, spatial_axis=1),
        RandFlipd(keys, prob=vertical_flip, spatial_axis=0),
        RandAffined(keys, prob=1.0, rotate_range=rotation, scale_range=zoom, padding_mode="zeros"),
    ]
