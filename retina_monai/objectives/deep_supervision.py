"""Deep supervision of the masks of all iterations (IterNet: Li et al., WACV 2020, section 3.3).

Source: https://arxiv.org/abs/1912.05763. A soft Dice term (Milletari et al., 3DV 2016,
https://arxiv.org/abs/1606.04797) is added to the cross-entropy, since vessels cover only a tenth of an eye and the disc
a fiftieth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from retina_monai.group import whole_sum
from retina_monai.objectives.step import Batch, Losses, Step
from retina_monai.settings import ANY_COUNT, INDEX, SHARE_BELOW_1, WEIGHT, Number, Rule

__all__ = ["DeepSupervision"]

SETTINGS: dict[str, Rule] = {  # widths, residual_units and dropout are arguments of MONAI's UNet
    "cross_entropy_weight": WEIGHT,
    "dice_weight": WEIGHT,
    "widths": Number(1, whole=True, count=ANY_COUNT),
    "residual_units": INDEX,
    "dropout": SHARE_BELOW_1,
}


class DeepSupervision:
    """Cross-entropy and ``1 - Dice`` inside the field of view, averaged over the iterations.

    Args:
        network: photographs ``(B, 3, H, W)`` -> logits ``(B, iterations, H, W)`` in training mode, or ``(B, 1, H, W)``
            for a network without iterations.
        cross_entropy_weight: weight of the cross-entropy.
        dice_weight: weight of ``1 - Dice``.
        image_key, mask_key, fov_key: keys of the batch; masks are ``(B, 1, H, W)`` in {0, 1}. If ``fov_key`` is
            ``None``, the loss covers the whole picture.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "s_cross_entropy": "cross-entropy of the masks of all iterations inside the field of view",
        "s_dice": "1 - soft Dice of the masks of all iterations inside the field of view",
    }

    def __init__(
        self,
        network: nn.Module,
        cross_entropy_weight: float = 1.0,
        dice_weight: float = 1.0,
        image_key: str = "image",
        mask_key: str = "vessel",
        fov_key: str | None = "fov",
    ) -> None:
        self.networks = nn.ModuleDict({"segmenter": network})
        self.steps = (Step("segmenter", ("segmenter",), self.losses),)
        self.cross_entropy_weight = cross_entropy_weight
        self.dice_weight = dice_weight
        self.image_key = image_key
        self.mask_key = mask_key
        self.fov_key = fov_key

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every iteration, in float32."""
        return {"pred": self.networks["segmenter"](batch[self.image_key]).float()}

    def losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Both terms, computed over the batch as a whole, so that empty patches count less."""
        logits = outputs["pred"]
        fov = torch.ones_like(batch[self.mask_key]) if self.fov_key is None else batch[self.fov_key]
        mask = batch[self.mask_key].expand_as(logits)
        entropy = binary_cross_entropy_with_logits(logits, mask, reduction="none") * fov
        entropy = whole_sum(entropy.sum(dim=(0, 2, 3))) / whole_sum(fov.sum()).clamp_min(1)
        return {
            "s_cross_entropy": self.cross_entropy_weight * entropy.mean(),
            "s_dice": self.dice_weight * (1 - _soft_dice(logits.sigmoid(), mask, fov)).mean(),
        }


def _soft_dice(probability: Tensor, mask: Tensor, fov: Tensor) -> Tensor:
    """Soft Dice over the batch: ``(B, K, H, W)`` -> ``(K,)``; 1 if both are empty."""
    common = whole_sum((probability * mask * fov).sum(dim=(0, 2, 3)))
    both = whole_sum(((probability + mask) * fov).sum(dim=(0, 2, 3)))
    return torch.div(2 * common + 1, both + 1)
