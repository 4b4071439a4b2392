"""Random apertures and monochrome photographs, to imitate cameras with other fields of view or without colour."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from retina_monai.settings import SHARE, Rule

__all__ = ["RandApertured", "RandMonochromed"]

SETTINGS: dict[str, Rule] = {"aperture": SHARE, "monochrome": SHARE}

RADII = (0.85, 1.1)  # range of the radius, relative to half the side
SHIFT = 0.08  # maximum shift of the centre along each axis, relative to half the side
CUT = 0.5  # probability that the top and the bottom of the circle are cut off
HEIGHTS = (0.7, 1.0)  # range of the height at which they are cut off, relative to the radius
GREEN = 0.5  # probability that a monochrome photograph is the green channel
TINT = 0.2  # maximum standard deviation of the log gain per channel


class RandApertured(Randomizable, MapTransform):
    """Randomly restrict the field of view to a circle, whose top and bottom may be cut off.

    On a patch of an enlarged eye, this imitates a camera with a narrower field of view.

    Args:
        fov_key: key of the field of view ``(1, S, S)``, 0 outside.
        prob: probability of the transform.
    """

    def __init__(self, fov_key: str = "fov", prob: float = 0.7) -> None:
        super().__init__([fov_key])
        self.prob = prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        (key,) = self.keys
        fov = torch.as_tensor(result[key]).as_subclass(torch.Tensor)
        result[key] = fov * self._draw(fov.shape[-1]).to(fov) if self.R.random() < self.prob else fov
        return result

    def _draw(self, size: int) -> Tensor:
        radius, (right, down) = self.R.uniform(*RADII), self.R.uniform(-SHIFT, SHIFT, 2)
        height = self.R.uniform(*HEIGHTS) if self.R.random() < CUT else 1.0
        step = (np.arange(size) + 0.5) * 2 / size - 1
        x, y = step[None] - right, step[:, None] - down
        inside = (np.hypot(x, y) <= radius) & (np.abs(y) <= height * radius)
        return torch.from_numpy(inside[None].astype(np.float32))


class RandMonochromed(Randomizable, MapTransform):
    """Randomly convert photographs to a tinted monochrome, to imitate red-free and scanned photographs.

    Args:
        keys: keys of the photographs ``(3, S, S)`` in [0, 255].
        prob: probability of the transform.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1) -> None:
        super().__init__(keys)
        self.prob = prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            if self.R.random() < self.prob:
                result[key] = self._monochrome(result[key])
        return result

    def _monochrome(self, picture: Tensor) -> Tensor:
        shares = np.eye(3)[1] if self.R.random() < GREEN else self.R.dirichlet(np.ones(3))
        tint = np.exp(self.R.normal(0, TINT, (3, 1, 1)) * self.R.random())
        grey = (picture * torch.from_numpy(shares.reshape(3, 1, 1)).to(picture)).sum(0, keepdim=True)
        return (grey * torch.from_numpy(tint).to(picture)).clamp(0, 255)
