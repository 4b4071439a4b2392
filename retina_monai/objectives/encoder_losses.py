"""Objective of the retina encoder: locate structures, and predict traits and degradations of a photograph.

Multi-task learning on shared features (Caruana, Multitask Learning, Machine Learning 28, 1997). Some tasks have labels
from phantoms and vessel maps. Others are self-supervised: the strength of a synthetic degradation is known for any
photograph (after Doersch and Zisserman, Multi-task self-supervised visual learning, ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from retina_monai.group import whole_batch, whole_sum
from retina_monai.objectives.step import Batch, Losses, Step
from retina_monai.settings import WEIGHT, Rule

__all__ = ["EncoderTasks"]

KNEE = 0.1  # of the smooth L1, which is quadratic below it

SETTINGS: dict[str, Rule] = {
    "map_weight": WEIGHT,
    "trait_weight": WEIGHT,
}


class EncoderTasks:
    """Cross-entropy of the located structures and smooth L1 of the traits, over the known labels.

    Args:
        network: ``(B, 3, H, W)`` -> ``features``, ``maps`` (logits) and ``traits``, as :class:`MultiTaskEncoder`.
        map_weight: weight of the cross-entropy.
        trait_weight: weight of the smooth L1.
        observe: called with the features ``(B, D)`` of the unmodified photographs of each batch (``plain``); in a
            process group with those of all ranks, in the order of one process.
        image_key: key of the network's input in the batch. The targets are ``maps`` and ``traits``, with NaN for
            unknown labels.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "e_maps": "cross-entropy of the located structures",
        "e_traits": "smooth L1 of the traits, such as how strongly a photograph was degraded",
    }

    def __init__(
        self,
        network: nn.Module,
        map_weight: float = 1.0,
        trait_weight: float = 1.0,
        observe: Callable[[Tensor], None] | None = None,
        image_key: str = "image",
    ) -> None:
        self.networks = nn.ModuleDict({"encoder": network})
        self.steps = (Step("encoder", ("encoder",), self.losses),)
        self.map_weight, self.trait_weight = map_weight, trait_weight
        self.observe = observe
        self.image_key = image_key

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions of the network for the batch, with the prefix ``pred_``."""
        predicted: dict[str, Tensor] = self.networks["encoder"](batch[self.image_key])
        if self.observe is not None:
            self.observe(whole_batch(predicted["features"])[whole_batch(batch["plain"])])
        return {f"pred_{name}": value for name, value in predicted.items()}

    def losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Both terms, each a mean over the known labels."""
        maps = _known_mean(binary_cross_entropy_with_logits, outputs["pred_maps"], batch["maps"])
        traits = _known_mean(_smooth_l1, outputs["pred_traits"], batch["traits"])
        return {"e_maps": self.map_weight * maps, "e_traits": self.trait_weight * traits}


def _smooth_l1(pred: Tensor, target: Tensor, reduction: str) -> Tensor:
    return smooth_l1_loss(pred, target, reduction=reduction, beta=KNEE)


def _known_mean(loss: Callable[..., Tensor], pred: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    each = loss(pred.float(), torch.where(known, target, torch.zeros_like(target)), reduction="none")
    return whole_sum((each * known).sum()) / whole_sum(known.sum().float()).clamp_min(1)
