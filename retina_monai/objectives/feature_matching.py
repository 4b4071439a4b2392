"""Match what a discriminator sees of two pictures, in every layer and at every scale.

Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD), CVPR
2018, https://arxiv.org/abs/1711.11585, eq. 4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["discriminator_features", "feature_distance"]


def discriminator_features(discriminator: nn.Module, picture: Tensor) -> list[list[Tensor]]:
    """Feature maps of every scale of a discriminator, the last map of each being the patch logits.

    Args:
        discriminator: picture -> list of feature maps (the form of MONAI's ``PatchDiscriminator``), or such a list for
            each scale (:class:`retina_monai.networks.PyramidDiscriminator`).
        picture: ``(B, C, H, W)``.
    """
    features = discriminator(picture)
    return [features] if isinstance(features[0], Tensor) else features


def feature_distance(
    fake: list[list[Tensor]], real: list[list[Tensor]], penalty: Callable[[Tensor], Tensor] = torch.abs
) -> Tensor:
    """Mean over scales and layers of the penalised difference of features, the logits left out.

    Args:
        fake, real: of :func:`discriminator_features`.
        penalty: of each element's difference: ``torch.abs`` as in pix2pixHD, ``torch.square`` as in LaMa.

    Returns:
        A scalar, float32.
    """
    pairs = [pair for ours, theirs in zip(fake, real, strict=True) for pair in zip(ours[:-1], theirs[:-1], strict=True)]
    return torch.stack([penalty(ours.float() - theirs.float()).mean() for ours, theirs in pairs]).mean()
