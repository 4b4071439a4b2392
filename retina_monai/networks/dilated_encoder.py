"""A small dilated residual network with a large receptive field, for perceptual losses.

The high-receptive-field perceptual loss compares the features of a segmentation network with dilated convolutions
(Suvorov et al., WACV 2022, https://arxiv.org/abs/2109.07161). Theirs is a ResNet-50 for everyday scenes, which must be
downloaded. This network is small enough to be trained with the generator: it segments vessels and reconstructs the
photographs. Dilated residual blocks: Yu, Koltun and Funkhouser, CVPR 2017, https://arxiv.org/abs/1705.09914.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from retina_monai.settings import COUNT, Rule

__all__ = ["DilatedEncoder"]

STRIDE = 8
DILATIONS = (1, 2, 4, 8)
RESIDUE = 0.5  # scale of a block's output; without norms, sums of blocks would grow

SETTINGS: dict[str, Rule] = {
    "perceptual_features": COUNT,
}


class DilatedEncoder(nn.Module):
    """Three downsamplings, dilated residual blocks at an eighth of the size, and two upsamplings to segment vessels.

    The upsamplings need instance norms to learn vessels within a few hundred iterations. The other layers have no
    norms, so that their features retain colours.

    Args:
        in_channels: channels of the picture.
        features: channels of the first convolution, doubled twice.
    """

    def __init__(self, in_channels: int = 3, features: int = 24) -> None:
        super().__init__()
        widths = (features, 2 * features, 4 * features)
        self.downsamplings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU())
            for inputs, outputs in zip((in_channels, *widths[:-1]), widths, strict=True)
        )
        self.blocks = nn.ModuleList(_dilated_block(widths[-1], dilation) for dilation in DILATIONS)
        self.upsamplings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse + fine, fine, 3, padding=1), nn.InstanceNorm2d(fine), nn.ReLU())
            for coarse, fine in ((widths[2], widths[1]), (widths[1], widths[0]))
        )
        self.tell_vessel = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.tell_image = nn.Conv2d(widths[2], in_channels * STRIDE**2, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, in_channels, H, W)`` -> features after each layer, and the prediction ``(B, 1 + in_channels, H, W)``.

        The prediction is the vessel logit, from the finest features, and the reconstruction, from the coarsest.
        """
        features = [image]
        for layer in self.downsamplings:
            features.append(layer(features[-1]))
        for block in self.blocks:
            features.append(torch.relu(features[-1] + RESIDUE * block(features[-1])))
        reconstruction = pixel_shuffle(self.tell_image(features[-1]), STRIDE)
        for layer, fine in zip(self.upsamplings, (features[2], features[1]), strict=True):
            coarse = interpolate(features[-1], fine.shape[-2:], mode="nearest")
            features.append(layer(torch.cat([coarse, fine], dim=1)))
        vessel = pixel_shuffle(self.tell_vessel(features[-1]), 2)
        predicted = [_fit(picture, image) for picture in (vessel, reconstruction)]
        return [*features[1:], torch.cat(predicted, dim=1)]


def _fit(picture: Tensor, image: Tensor) -> Tensor:
    """Resize to the size of the image, which need not be a multiple of the stride."""
    size = image.shape[-2:]
    return picture if picture.shape[-2:] == size else interpolate(picture, size, mode="bilinear")


def _dilated_block(channels: int, dilation: int) -> nn.Sequential:
    first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation))
