"""Distance of the power spectra of two pictures, as a loss.

In the spirit of Durall et al., CVPR 2020, https://arxiv.org/abs/2003.01826: blur lowers the power at high frequencies,
and artefacts raise it at some.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Masked", "spectrum_distance"]

Masked = Callable[[Tensor, Tensor], Tensor]
"""Function of a picture ``(B, C, H, W)`` and its field of view ``(B, 1, H, W)``."""


def spectrum_distance(spectrum: Masked, pred: Tensor, image: Tensor, fov: Tensor, floor: float = 1e-6) -> Tensor:
    """Mean absolute difference of the logarithms of two spectra.

    Args:
        spectrum: ``(image, fov)`` -> radial power spectra ``(B, rings)``.
        pred, image: ``(B, C, H, W)``; only ``pred`` gets a gradient.
        fov: ``(B, 1, H, W)`` in {0, 1}.
        floor: added to both spectra before the logarithm.
    """
    with torch.no_grad():
        target = (spectrum(image, fov) + floor).log()
    return ((spectrum(pred, fov) + floor).log() - target).abs().mean()
