"""Patch discriminators on an image pyramid: fine ones judge texture, coarse ones where the optic disc lies.

Source: pix2pixHD (Wang et al., CVPR 2018, section 3.2, https://arxiv.org/abs/1711.11585). MONAI's
``MultiScalePatchDiscriminator`` takes the picture at one size and doubles the depth instead, hence the channels: its
second discriminator would have 2,048 of them where this one has 256.
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
    """MONAI's ``PatchDiscriminator``, one for each size: the picture, its half, its quarter.

    Args:
        scales: number of discriminators, at least 1; each sees half the size of the one before.
        arguments: of ``PatchDiscriminator``, the same for all.

    Raises:
        ValueError: less than one scale.
    """

    def __init__(self, scales: int = 1, **arguments: Any) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"a pyramid has at least one scale, not {scales}")
        self.discriminators = nn.ModuleList(PatchDiscriminator(**arguments) for _ in range(scales))

    def forward(self, pair: Tensor) -> list[list[Tensor]]:
        """``(B, C, H, W)`` -> for each scale its feature maps, the last of which are the patch logits."""
        features: list[list[Tensor]] = []
        for index, discriminator in enumerate(self.discriminators):
            features.append(discriminator(avg_pool2d(pair, 2**index) if index else pair))
        return features
