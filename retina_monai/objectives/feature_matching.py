"""Match the discriminator's features of two pictures, in every layer and at every scale.

Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD), CVPR
2018, https://arxiv.org/abs/1711.11585, eq. 4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["discriminator_features", "feature_distance"]


def discriminator_features(discriminator: nn.Module, picture: Tensor) -> list[list[Tensor]]:
    """Feature maps of a discriminator at every scale; the last map of each scale holds the patch logits.

    Args:
        discriminator: picture -> list of feature maps (as MONAI's ``PatchDiscriminator``), or one such list per scale
            (:class:`retina_monai.networks.PyramidDiscriminator`).
        picture: ``(B, C, H, W)``.
    """
    features = discriminator(picture)
    return [features] if isinstance(features[0], Tensor) else features


def feature_distance(
    fake: list[list[Tensor]], real: list[list[Tensor]], penalty: Callable[[Tensor], Tensor] = torch.abs
) -> Tensor:
    """Mean penalty of the feature differences over scales and layers, without the logits.

    Args:
        fake, real: results of :func:`discriminator_features`.
        penalty: elementwise penalty: ``torch.abs`` as in pix2pixHD, ``torch.square`` as in LaMa.

    Returns:
        A scalar, float32.
    """
    pairs = [pair for ours, theirs in zip(fake, real, strict=True) for pair in zip(ours[:-1], theirs[:-1], strict=True)]
    return torch.stack([penalty(ours.float() - theirs.float()).mean() for ours, theirs in pairs]).mean()
