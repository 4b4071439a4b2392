"""Squared error of what counts: its weights come with the target, as MONAI's engines hand a loss no more than that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["WeightedError"]


class WeightedError(nn.Module):
    """Mean over all pixels of ``weight * (pred - target)^2``.

    The mean is over pixels without weight too, so that the gradients of equal batches, averaged, are those of one.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "loss": "mean squared error of the predicted noise, velocity or flow inside the field of view",
    }

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Prediction ``(B, C, H, W)``, target ``(B, C + 1, H, W)`` whose last channel holds weights -> scalar."""
        error = (pred - target[:, :-1]).square() * target[:, -1:]
        return error.mean()
