"""Statistics of images inside a mask, differentiable and without a look at a value."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["channel_statistics", "masked_mean"]

TINY = 1e-12  # keeps the gradient of the root of a flat picture's variance finite


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the images of each image's mean inside its mask.

    Args:
        values: ``(B, C, H, W)``.
        mask: ``(B, 1, H, W)`` in {0, 1}; an image whose mask is empty counts as 0.

    Returns:
        A scalar.
    """
    area = mask.sum(dim=(1, 2, 3)).clamp_min(1) * values.shape[1]
    return ((values * mask).sum(dim=(1, 2, 3)) / area).mean()


def channel_statistics(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) standard deviation of each channel inside a mask.

    Args:
        image: ``(B, C, H, W)``.
        mask: ``(B, 1, H, W)`` in {0, 1}.

    Returns:
        Both ``(B, C, 1, 1)``.
    """
    inside = mask.to(image.dtype)
    area = inside.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = (image * inside).sum(dim=(2, 3), keepdim=True) / area
    variance = ((image - mean).square() * inside).sum(dim=(2, 3), keepdim=True) / area
    return mean, torch.sqrt(variance + TINY)
