"""A small dilated residual network: features that see far, for perceptual losses of large unknown parts.

The high-receptive-field perceptual loss compares pictures by features of a network with dilated convolutions, trained
to segment (Suvorov et al., WACV 2022, https://arxiv.org/abs/2109.07161). Theirs is a ResNet-50 of everyday scenes,
which has to be downloaded; this one is small enough to be trained on the eyes at hand: it finds their vessels and draws
them again. Dilated residual blocks: Yu, Koltun and Funkhouser, CVPR 2017, https://arxiv.org/abs/1705.09914.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

__all__ = ["DilatedEncoder"]

STRIDE = 8
DILATIONS = (1, 2, 4, 8)
RESIDUE = 0.5  # of a block's output: without norms, sums of blocks would grow


class DilatedEncoder(nn.Module):
    """Three downsamplings, dilated residual blocks at an eighth of the size, and what they tell of each pixel.

    Args:
        in_channels: of the picture.
        out_channels: what is told of each pixel.
        features: of the first convolution, doubled twice.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 4, features: int = 24) -> None:
        super().__init__()
        widths = (features, 2 * features, 4 * features)
        self.downsamplings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU())
            for inputs, outputs in zip((in_channels, *widths[:-1]), widths, strict=True)
        )
        self.blocks = nn.ModuleList(_dilated_block(widths[-1], dilation) for dilation in DILATIONS)
        self.tell = nn.Conv2d(widths[-1], out_channels * STRIDE**2, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, in_channels, H, W)`` -> features after each layer; the last entry is ``(B, out_channels, H, W)``."""
        features = [image]
        for layer in self.downsamplings:
            features.append(layer(features[-1]))
        for block in self.blocks:
            features.append(torch.relu(features[-1] + RESIDUE * block(features[-1])))
        told = pixel_shuffle(self.tell(features[-1]), STRIDE)
        if told.shape[-2:] != image.shape[-2:]:
            told = interpolate(told, image.shape[-2:], mode="bilinear")
        return [*features[1:], told]


def _dilated_block(channels: int, dilation: int) -> nn.Sequential:
    first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation))
