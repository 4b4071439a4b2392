"""What an outpainting network is given: what is known of a picture, and a mask of what it is to paint.

The mask may be the vessels' own form, as the two-stage method asks, or random strokes, as LaMa was published with
(Suvorov et al., WACV 2022, section 2.4, https://arxiv.org/abs/2109.07161: wide polygonal chains).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from scipy.ndimage import distance_transform_edt
from skimage.draw import line
from torch import Tensor

from retina_monai.settings import Rule, Words

__all__ = ["OutpaintingConditiond", "RandStrokeConditiond", "draw_strokes", "outpainting_condition"]

SETTINGS: dict[str, Rule] = {
    "masks": Words(("vessels", "strokes")),
}


def outpainting_condition(image: Tensor, mask: Tensor) -> Tensor:
    """A picture, black where it is to be painted, with its mask as the last channel.

    Args:
        image: ``(C, H, W)`` in [-1, 1].
        mask: ``(1, H, W)`` of up to 1, above 0 (or true) where it is to be painted.

    Returns:
        ``(C + 1, H, W)`` in [-1, 1]: known pixels as they are, the others -1; the mask as it is there, and -1 on the
        known.

    Raises:
        ValueError: the two differ in height or width.
    """
    if image.shape[1:] != mask.shape[1:]:
        raise ValueError(f"image is {tuple(image.shape[1:])} and mask {tuple(mask.shape[1:])}: give one size")
    hidden = mask > 0
    return torch.cat([torch.where(hidden, -1.0, image), torch.where(hidden, mask.to(image), -1.0)])


class OutpaintingConditiond(MapTransform):
    """Add what the network is given when the vessels are known: all else inside the field of view is to be painted.

    There, the mask is 1 less twice the share of the pixel that vessels cover, which is up to a half: the network is
    told of vessels that are too thin to be known, and where the walls of the others run.

    Args:
        key: photograph ``(C, H, W)`` in [-1, 1], black outside the field of view.
        vessel_key: the vessel map ``(1, H, W)`` in [-1, 1], from -1 where none covers anything of the pixel to 1 where
            they cover it: known from 0 on, which is half of the pixel.
        fov_key: the field of view ``(1, H, W)`` in {0, 1}.
        condition_key: where it goes: :func:`outpainting_condition`.
    """

    def __init__(
        self,
        key: str = "image",
        vessel_key: str = "vessel",
        fov_key: str = "fov",
        condition_key: str = "condition",
    ) -> None:
        super().__init__(key)
        self.key, self.condition_key = key, condition_key
        self.vessel_key, self.fov_key = vessel_key, fov_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        vessel, fov = _plain(data[self.vessel_key]), _plain(data[self.fov_key])
        mask = torch.where(fov > 0, -vessel, -1.0)
        return {**data, self.condition_key: outpainting_condition(_plain(data[self.key]), mask)}


class RandStrokeConditiond(RandomizableTransform, MapTransform):
    """Add what the network is given when random strokes hide part of the field of view: :func:`draw_strokes`.

    Args:
        key, fov_key, condition_key: as for :class:`OutpaintingConditiond`.
    """

    def __init__(self, key: str = "image", fov_key: str = "fov", condition_key: str = "condition") -> None:
        MapTransform.__init__(self, key)
        RandomizableTransform.__init__(self, 1.0)
        self.key, self.fov_key, self.condition_key = key, fov_key, condition_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, fov = _plain(data[self.key]), _plain(data[self.fov_key])
        strokes = torch.from_numpy(draw_strokes(image.shape[1], image.shape[2], self.R))
        mask = (fov > 0) & strokes.to(image.device)
        return {**data, self.condition_key: outpainting_condition(image, mask)}


def draw_strokes(height: int, width: int, random: np.random.RandomState) -> np.ndarray:
    """Wide chains of straight strokes, of widths and lengths that grow with the picture.

    Args:
        height, width: of the picture, in pixels.
        random: of how many there are, where, how long, how wide.

    Returns:
        ``(1, height, width)``, true on strokes.
    """
    side = min(height, width)
    hidden = np.zeros((height, width), dtype=bool)
    for _ in range(random.randint(1, 6)):
        place = random.rand(2) * (height, width)
        chain = np.ones((height, width), dtype=bool)
        for _ in range(random.randint(2, 6)):
            angle, length = random.rand() * 2 * np.pi, (0.1 + 0.3 * random.rand()) * side
            end = np.clip(place + length * np.array([np.sin(angle), np.cos(angle)]), 0, (height - 1, width - 1))
            rows, columns = line(*np.minimum(place, (height - 1, width - 1)).astype(int), *end.astype(int))
            chain[rows, columns] = False
            place = end
        hidden |= distance_transform_edt(chain) <= (0.02 + 0.08 * random.rand()) * side
    return hidden[None]


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
