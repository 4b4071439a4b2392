"""Map the output of a network back to the original photograph, the inverse of ``crop_square``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray

from retina_monai.transforms.field_of_view import resize_area

__all__ = ["ToOwnSized", "to_own_size"]


def to_own_size(
    square: NDArray[np.float32], box: Sequence[int] | NDArray[np.int64], shape: Sequence[int]
) -> NDArray[np.float32]:
    """Invert ``resize_area(crop_square(photograph, box), size)``, up to the loss of resolution.

    Areas are averaged if the photograph is smaller, and values are interpolated linearly if it is larger.

    Args:
        square: array ``(C, size, size)``.
        box: half-open box ``(top, left, bottom, right)`` in the photograph.
        shape: height and width of the photograph.

    Returns:
        Array ``(C, H, W)``, 0 outside the box.
    """
    top, left, bottom, right = (int(side) for side in box)
    height, width = bottom - top, right - left
    side = max(height, width)
    grown = resize_area(square, side)
    above, before = (side - height) // 2, (side - width) // 2
    whole = np.zeros((len(square), *(int(length) for length in shape)), dtype=np.float32)
    whole[:, top:bottom, left:right] = grown[:, above : above + height, before : before + width]
    return whole


class ToOwnSized(MapTransform):
    """Resize probabilities to the original size of the photograph, with 0 outside the field of view.

    Args:
        keys: keys of probabilities ``(1, size, size)``.
        fov_key: key of the field of view in original size, ``(1, H, W)`` in {0, 1}.
        box_key: key of the box of the square in the photograph.
    """

    def __init__(self, keys: KeysCollection, fov_key: str = "fov", box_key: str = "box") -> None:
        super().__init__(keys)
        self.fov_key = fov_key
        self.box_key = box_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        fov = torch.as_tensor(result[self.fov_key]).as_subclass(torch.Tensor).cpu()
        for key in self.key_iterator(result):
            square = torch.as_tensor(result[key]).as_subclass(torch.Tensor).cpu().float().numpy()
            whole = to_own_size(square, np.asarray(result[self.box_key].cpu()), fov.shape[1:])
            result[key] = torch.from_numpy(whole) * fov
        return result
