"""Conversion between photographs and the data of a diffusion model: standardized pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retina_monai.networks.circle import inscribed_circle

__all__ = ["PixelBridge"]

SPREAD = 0.5  # standard deviation of standardized photographs; that of the noise is 1


class PixelBridge(nn.Module):
    """Standardize photographs per channel inside the inscribed circle.

    Training uses :meth:`encode` and sampling uses :meth:`decode`.

    Args:
        mean, std: mean and standard deviation of the photographs per channel, on the [-1, 1] scale.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels = len(mean)
        self.mean, self.scale = list(mean), [value / SPREAD for value in std]

    def encode(self, image: Tensor) -> Tensor:
        """Photographs ``(B, C, H, W)`` in [-1, 1] -> standardized, 0 outside the circle."""
        return (image - _per_channel(self.mean, image)) / _per_channel(self.scale, image) * inscribed_circle(image)

    def decode(self, x: Tensor) -> Tensor:
        """Standardized ``(B, C, H, W)`` -> photographs in [-1, 1], black outside the circle."""
        image = (x * _per_channel(self.scale, x) + _per_channel(self.mean, x)).clamp(-1, 1)
        inside = inscribed_circle(image)
        return image * inside + (inside - 1)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Standardized black and white for ``x`` ``(B, C, H, W)``: two ``(C, H, W)``, both 0 outside the circle."""
        mean, scale, inside = _per_channel(self.mean, x), _per_channel(self.scale, x), inscribed_circle(x)
        return (-1 - mean) / scale * inside, (1 - mean) / scale * inside

    def known(self, fov: Tensor) -> Tensor:
        """The part of a field of view ``(B, 1, H, W)`` in {0, 1} that :meth:`encode` keeps."""
        return fov * inscribed_circle(fov)


def _per_channel(values: list[float], image: Tensor) -> Tensor:
    """Tensor ``(C, 1, 1)``. It is not a buffer, because buffers are part of the weights of a scripted network."""
    return torch.tensor(values, dtype=image.dtype, device=image.device).view(-1, 1, 1)
