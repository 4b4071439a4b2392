"""The last transforms before a network: from a cached picture of twice the size to the network's size and range."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["ReduceEyed"]


class ReduceEyed(MapTransform):
    """Average blocks of pixels and scale to the network's range.

    Geometry is augmented on a picture that is larger than the network's, then reduced, so that interpolation does not
    blur what the network is shown: the spectrum of the training photographs stays that of real ones.

    A mask becomes the share of each pixel that it covers, so that a vessel thinner than a pixel is still there.

    Args:
        keys: pictures and masks ``(C, H, W)``, uint8 or float in [0, 255].
        factor: size of the blocks.
        fov_key: the field of view, 255 inside; comes out in {0, 1}, by majority.

    Returns:
        ``keys`` as float32 ``(C, H / factor, W / factor)`` in [-1, 1].
    """

    def __init__(self, keys: KeysCollection, factor: int, fov_key: str = "fov") -> None:
        super().__init__(keys)
        self.factor = factor
        self.fov_key = fov_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._reduce(result[key]) / 127.5 - 1
        result[self.fov_key] = (self._reduce(result[self.fov_key]) >= 127.5).float()
        return result

    def _reduce(self, picture: Tensor) -> Tensor:
        plain = torch.as_tensor(picture).as_subclass(torch.Tensor).float()
        return avg_pool2d(plain[None], self.factor)[0]
