"""Weighted squared error. The weights are part of the target, because MONAI's engines pass nothing else to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["WeightedError"]


class WeightedError(nn.Module):
    """Mean over all pixels of ``weight * (pred - target)^2``.

    The mean includes pixels of weight 0, so that averaging the gradients of equal batches gives those of the global
    batch.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "loss": "mean squared error of the predicted noise, velocity, flow or photograph inside the field of view",
    }

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Prediction ``(B, C, H, W)``, target ``(B, C + 1, H, W)`` with weights in the last channel -> scalar."""
        error = (pred - target[:, :-1]).square() * target[:, -1:]
        return error.mean()
