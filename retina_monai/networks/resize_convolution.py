"""Resize-convolution (Odena et al., Distill 2016, https://doi.org/10.23915/distill.00003) as a transposed convolution.

Nearest-neighbour upsampling followed by a 3x3 convolution avoids checkerboard artefacts, but takes nine products per
pixel of the enlarged picture. The two linear maps together equal one transposed convolution with stride 2, whose 4x4
kernel is the 3x3 kernel summed over 2x2 blocks. It takes four products per pixel and no enlarged picture. For very
small pictures, where summing the kernel costs more than it saves, the two steps are run separately.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, interpolate, pad

__all__ = ["ResizeConvolution"]

SMALL = 512  # pixels


class ResizeConvolution(nn.Module):
    """Nearest-neighbour upsampling by 2 and 3x3 convolution (padding 1), as one transposed convolution.

    Args:
        in_channels, out_channels: channels of the convolution.
        bias: whether the convolution has a bias.

    Attributes:
        weight: ``(in_channels, out_channels, 3, 3)``, the 3x3 kernel rotated by 180 degrees, as in transposed
            convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.small = SMALL
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.normal_(self.weight, 0, 1 / math.sqrt(9 * in_channels))

    def forward(self, image: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` -> ``(B, out_channels, 2 H, 2 W)``."""
        if image.shape[-2] * image.shape[-1] < self.small:
            return conv_transpose2d(interpolate(image, scale_factor=2.0), self.weight, self.bias, padding=1)
        rows = pad(self.weight, [0, 0, 1, 0]) + pad(self.weight, [0, 0, 0, 1])
        kernel = pad(rows, [1, 0]) + pad(rows, [0, 1])
        return conv_transpose2d(image, kernel, self.bias, stride=2, padding=1)
