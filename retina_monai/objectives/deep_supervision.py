"""Deep supervision of the vessel maps of all iterations (IterNet: Li et al., WACV 2020, section 3.3).

Source: https://arxiv.org/abs/1912.05763. A soft Dice term (Milletari et al., 3DV 2016,
https://arxiv.org/abs/1606.04797) is added to the cross-entropy, since vessels cover only a tenth of an eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from retina_monai.group import whole_sum
from retina_monai.objectives.step import Batch, Losses, Step
from retina_monai.settings import WEIGHT, Rule

__all__ = ["DeepSupervision"]

SETTINGS: dict[str, Rule] = {
    "cross_entropy_weight": WEIGHT,
    "dice_weight": WEIGHT,
}


class DeepSupervision:
    """Cross-entropy and ``1 - Dice`` inside the field of view, averaged over the iterations.

    Args:
        network: photographs ``(B, 3, H, W)`` -> logits ``(B, iterations, H, W)`` in training mode.
        cross_entropy_weight: weight of the cross-entropy.
        dice_weight: weight of ``1 - Dice``.
        image_key, vessel_key, fov_key: keys of the batch; masks are ``(B, 1, H, W)`` in {0, 1}.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "s_cross_entropy": "cross-entropy of the vessel maps of all iterations inside the field of view",
        "s_dice": "1 - soft Dice of the vessel maps of all iterations inside the field of view",
    }

    def __init__(
        self,
        network: nn.Module,
        cross_entropy_weight: float = 1.0,
        dice_weight: float = 1.0,
        image_key: str = "image",
        vessel_key: str = "vessel",
        fov_key: str = "fov",
    ) -> None:
        self.networks = nn.ModuleDict({"segmenter": network})
        self.steps = (Step("segmenter", ("segmenter",), self.losses),)
        self.cross_entropy_weight = cross_entropy_weight
        self.dice_weight = dice_weight
        self.image_key = image_key
        self.vessel_key = vessel_key
        self.fov_key = fov_key

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every iteration, in float32."""
        return {"pred": self.networks["segmenter"](batch[self.image_key]).float()}

    def losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Both terms, computed over the batch as a whole, so that empty patches count less."""
        logits, fov = outputs["pred"], batch[self.fov_key]
        vessel = batch[self.vessel_key].expand_as(logits)
        entropy = binary_cross_entropy_with_logits(logits, vessel, reduction="none") * fov
        entropy = whole_sum(entropy.sum(dim=(0, 2, 3))) / whole_sum(fov.sum()).clamp_min(1)
        return {
            "s_cross_entropy": self.cross_entropy_weight * entropy.mean(),
            "s_dice": self.dice_weight * (1 - _soft_dice(logits.sigmoid(), vessel, fov)).mean(),
        }


def _soft_dice(probability: Tensor, vessel: Tensor, fov: Tensor) -> Tensor:
    """Soft Dice over the batch: ``(B, K, H, W)`` -> ``(K,)``; 1 if there are no vessels in either."""
    common = whole_sum((probability * vessel * fov).sum(dim=(0, 2, 3)))
    both = whole_sum(((probability + vessel) * fov).sum(dim=(0, 2, 3)))
    return torch.div(2 * common + 1, both + 1)
