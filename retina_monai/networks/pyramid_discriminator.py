"""Patch discriminators on an image pyramid: fine ones judge texture, coarse ones global structure such as the disc.

Source: pix2pixHD (Wang et al., CVPR 2018, section 3.2, https://arxiv.org/abs/1711.11585). MONAI's
``MultiScalePatchDiscriminator`` keeps the picture size and adds layers instead, which multiplies the channels: its
second discriminator would have 2,048 channels, where this one has 256.
"""

from __future__ import annotations

from typing import Any

from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from retina_monai.settings import COUNT, WEIGHT, Rule

__all__ = ["PyramidDiscriminator"]

SETTINGS: dict[str, Rule] = {
    "discriminator_features": COUNT,
    "discriminator_levels": COUNT,
    "discriminator_scales": COUNT,
    "discriminator_learning_rate": WEIGHT,
}


class PyramidDiscriminator(nn.Module):
    """One of MONAI's ``PatchDiscriminator`` per scale: full size, half, quarter.

    Args:
        scales: number of discriminators, at least 1; each gets half the size of the previous one.
        arguments: arguments of every ``PatchDiscriminator``.

    Raises:
        ValueError: ``scales`` is less than 1.
    """

    def __init__(self, scales: int = 1, **arguments: Any) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales must be at least 1, got {scales}")
        self.discriminators = nn.ModuleList(PatchDiscriminator(**arguments) for _ in range(scales))

    def forward(self, pair: Tensor) -> list[list[Tensor]]:
        """``(B, C, H, W)`` -> feature maps of each scale, the last of which holds the patch logits."""
        features: list[list[Tensor]] = []
        for index, discriminator in enumerate(self.discriminators):
            features.append(discriminator(avg_pool2d(pair, 2**index) if index else pair))
        return features
