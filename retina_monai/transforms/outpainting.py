"""Input of outpainting networks: the known pixels of an image, and a mask of the pixels to be painted.

The mask is either everything but the vessels, as in the two-stage method, or random strokes, as in the original LaMa
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
    """Concatenate an image, black on the pixels to be painted, and its mask.

    Args:
        image: image ``(C, H, W)`` in [-1, 1].
        mask: mask ``(1, H, W)`` of at most 1, above 0 (or true) on the pixels to be painted.

    Returns:
        Condition ``(C + 1, H, W)`` in [-1, 1]. The image channels are -1 on the pixels to be painted. The last channel
        is the mask, with -1 on known pixels.

    Raises:
        ValueError: if height or width differ.
    """
    if image.shape[1:] != mask.shape[1:]:
        raise ValueError(f"image is {tuple(image.shape[1:])} and mask {tuple(mask.shape[1:])}: give one size")
    hidden = mask > 0
    return torch.cat([torch.where(hidden, -1.0, image), torch.where(hidden, mask.to(image), -1.0)])


class OutpaintingConditiond(MapTransform):
    """Add the condition for known vessels: everything else inside the field of view is to be painted.

    On pixels to be painted, vessels cover up to half of the pixel, and the mask is 1 minus twice this share. It thus
    informs the network of vessels that are too thin to be known, and of the walls of the others.

    Args:
        key: key of the photograph ``(C, H, W)`` in [-1, 1], black outside the field of view.
        vessel_key: key of the vessel map ``(1, H, W)``, the share of each pixel covered by vessels, rescaled from
            [0, 1] to [-1, 1]. Pixels are known from 0, which is half of the pixel.
        fov_key: key of the field of view ``(1, H, W)`` in {0, 1}.
        condition_key: key of the output, see :func:`outpainting_condition`.
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
    """Add the condition for random strokes that hide part of the field of view, see :func:`draw_strokes`.

    Args:
        key, fov_key, condition_key: see :class:`OutpaintingConditiond`.
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
    """Draw wide random polylines, whose widths and lengths scale with the image.

    Args:
        height, width: size of the image in pixels.
        random: random state for number, position, length and width.

    Returns:
        Boolean mask ``(1, height, width)`` of the strokes.
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
