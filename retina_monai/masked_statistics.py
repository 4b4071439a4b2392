"""Differentiable statistics of images inside a mask, without data-dependent control flow."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["channel_statistics", "masked_mean"]

TINY = 1e-12  # keeps the gradient of the standard deviation finite for constant images


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each image inside its mask, averaged over the batch.

    Args:
        values: images ``(B, C, H, W)``.
        mask: masks ``(B, 1, H, W)`` in {0, 1}. An image with an empty mask counts as 0.

    Returns:
        Scalar mean.
    """
    area = mask.sum(dim=(1, 2, 3)).clamp_min(1) * values.shape[1]
    return ((values * mask).sum(dim=(1, 2, 3)) / area).mean()


def channel_statistics(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) standard deviation of each channel inside a mask.

    Args:
        image: images ``(B, C, H, W)``.
        mask: masks ``(B, 1, H, W)`` in {0, 1}.

    Returns:
        Mean and standard deviation, each ``(B, C, 1, 1)``.
    """
    inside = mask.to(image.dtype)
    area = inside.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = (image * inside).sum(dim=(2, 3), keepdim=True) / area
    variance = ((image - mean).square() * inside).sum(dim=(2, 3), keepdim=True) / area
    return mean, torch.sqrt(variance + TINY)
