"""Downsample a cached image to the network's input size and rescale it to the network's range."""

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
    """Downsample by block averaging and rescale to [-1, 1].

    Geometric augmentation is applied to a larger image that is then downsampled. Interpolation thus does not blur the
    network's input, whose spectrum stays that of real photographs.

    A mask becomes the share of each pixel that it covers, which preserves vessels thinner than a pixel.

    Args:
        keys: keys of images and masks ``(C, H, W)``, uint8 or float in [0, 255].
        factor: side of the blocks in pixels.
        fov_key: key of the field of view, 255 inside. It becomes {0, 1} by majority.

    Returns:
        The sample with ``keys`` as float32 ``(C, H / factor, W / factor)`` in [-1, 1].
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
