"""The circle inscribed in a picture, the default field of view of a cropped fundus photograph."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["inscribed_circle"]


def inscribed_circle(image: Tensor) -> Tensor:
    """Mask of the circle inscribed in a picture ``(..., H, W)``.

    Returns:
        ``(H, W)`` in the dtype of the picture: 1 on pixels whose centre is inside the circle, 0 elsewhere.
    """
    height, width = image.shape[-2], image.shape[-1]
    rows = torch.arange(height, device=image.device, dtype=torch.float32) - (height - 1) / 2
    columns = torch.arange(width, device=image.device, dtype=torch.float32) - (width - 1) / 2
    radius = min(height, width) / 2
    return ((rows[:, None] ** 2 + columns[None, :] ** 2) <= radius**2).to(image.dtype)
