"""Colour vessel mask: the photograph on the pixels of its vessel map, black elsewhere.

What the two-stage method paints first, and what its second stage leaves as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from retina_monai.settings import WEIGHT, Rule

__all__ = ["ColorVesseld", "color_vessel", "vessel_weight"]

SETTINGS: dict[str, Rule] = {
    "edge": WEIGHT,
}


def color_vessel(image: Tensor, vessel: Tensor, edge: float = 0.0) -> Tensor:
    """Keep a photograph on its vessels.

    Args:
        image: ``(C, H, W)`` in [-1, 1].
        vessel: ``(1, H, W)`` in {0, 1}.
        edge: as for :func:`vessel_weight`.

    Returns:
        ``(C, H, W)`` in [-1, 1]: the image, bit for bit, on vessels; -1 from ``edge`` pixels beside them on.

    Raises:
        ValueError: the two differ in height or width, or as :func:`vessel_weight`.
    """
    if image.shape[1:] != vessel.shape[1:]:
        raise ValueError(f"image is {tuple(image.shape[1:])} and vessel {tuple(vessel.shape[1:])}: give one size")
    weight = vessel_weight(vessel, edge).to(image)
    return torch.where(weight == 1, image, (image + 1) * weight - 1)


def vessel_weight(vessel: Tensor, edge: float = 0.0) -> Tensor:
    """1 on vessels, falling evenly to 0 at a distance from them.

    Args:
        vessel: ``(1, H, W)`` in {0, 1}.
        edge: that distance in pixels, from the middle of the nearest vessel pixel; up to 1, vessels have hard walls.

    Returns:
        ``(1, H, W)``, float32 in [0, 1].

    Raises:
        ValueError: ``edge`` is negative.
    """
    if edge < 0:
        raise ValueError(f"edge must be at least 0, not {edge}")
    drawn = vessel > 0
    if edge <= 1 or not bool(drawn.any()):
        return drawn.float()
    away = torch.from_numpy(distance_transform_edt(~drawn[0].cpu().numpy()))
    return (1 - away / edge).clamp(0, 1).float()[None].to(vessel.device)


class ColorVesseld(MapTransform):
    """Add the colour vessel mask of a photograph: :func:`color_vessel`.

    Args:
        keys: photographs ``(C, H, W)`` in [-1, 1].
        vessel_key: the vessel map ``(1, H, W)``, vessel from ``threshold`` on.
        color_key: where the mask goes; for several photographs, after the key of each and an underscore.
        edge: as for :func:`vessel_weight`.
        threshold: of a map that holds the share of each pixel that vessels cover: half of the pixel.
        allow_missing_keys: as in every MONAI transform.

    Raises:
        ValueError: as :func:`color_vessel`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        vessel_key: str = "vessel",
        color_key: str = "color_vessel",
        edge: float = 0.0,
        threshold: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.vessel_key = vessel_key
        self.color_key = color_key
        self.edge = edge
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        vessel = torch.as_tensor(result[self.vessel_key]) >= self.threshold
        for key in self.key_iterator(result):
            place = self.color_key if len(self.keys) == 1 else f"{key}_{self.color_key}"
            result[place] = color_vessel(result[key], vessel, self.edge)
        return result
