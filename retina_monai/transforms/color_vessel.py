"""Colour vessel mask: the photograph on the pixels of its vessel map, black elsewhere.

The first stage of the two-stage method generates it, and the second stage keeps it unchanged.
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
    """Set a photograph to black outside its vessels.

    Args:
        image: photograph ``(C, H, W)`` in [-1, 1].
        vessel: vessel map ``(1, H, W)`` in {0, 1}.
        edge: see :func:`vessel_weight`.

    Returns:
        Colour vessel mask ``(C, H, W)`` in [-1, 1]. It equals the image on vessels, bit for bit, and is -1 at a
        distance of ``edge`` pixels and more.

    Raises:
        ValueError: if height or width differ, or as :func:`vessel_weight`.
    """
    if image.shape[1:] != vessel.shape[1:]:
        raise ValueError(f"image is {tuple(image.shape[1:])} and vessel {tuple(vessel.shape[1:])}: give one size")
    weight = vessel_weight(vessel, edge).to(image)
    return torch.where(weight == 1, image, (image + 1) * weight - 1)


def vessel_weight(vessel: Tensor, edge: float = 0.0) -> Tensor:
    """A weight that is 1 on vessels and falls linearly to 0 beside them.

    Args:
        vessel: vessel map ``(1, H, W)`` in {0, 1}.
        edge: distance in pixels at which the weight is 0, from the centre of the nearest vessel pixel. Up to 1, the
            weight is the vessel map.

    Returns:
        Weight, float32 ``(1, H, W)`` in [0, 1].

    Raises:
        ValueError: if ``edge`` is negative.
    """
    if edge < 0:
        raise ValueError(f"edge must be at least 0, got {edge}")
    drawn = vessel > 0
    if edge <= 1 or not bool(drawn.any()):
        return drawn.float()
    away = torch.from_numpy(distance_transform_edt(~drawn[0].cpu().numpy()))
    return (1 - away / edge).clamp(0, 1).float()[None].to(vessel.device)


class ColorVesseld(MapTransform):
    """Add the colour vessel mask of a photograph, see :func:`color_vessel`.

    Args:
        keys: keys of the photographs ``(C, H, W)`` in [-1, 1].
        vessel_key: key of the vessel map ``(1, H, W)``.
        color_key: key of the output. For several photographs, it is appended to the key of each with an underscore.
        edge: see :func:`vessel_weight`.
        threshold: minimum value of vessel pixels. The default is half of a pixel, for maps that hold the share of each
            pixel covered by vessels.
        allow_missing_keys: whether to ignore missing keys.

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
