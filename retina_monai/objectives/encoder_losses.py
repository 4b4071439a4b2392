"""What the retina encoder is trained for: to locate structures, and to tell of a photograph what was done to it.

Several tasks at once over one set of features (Caruana, Multitask Learning, Machine Learning 28, 1997), some with
labels that phantoms and vessel maps give, some that supervise themselves: how strongly a photograph was spoilt is known
whatever it shows (after Doersch and Zisserman, Multi-task self-supervised visual learning, ICCV 2017).
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

KNEE = 0.1  # of the smooth L1: errors below it count by their square

SETTINGS: dict[str, Rule] = {
    "map_weight": WEIGHT,
    "trait_weight": WEIGHT,
}


class EncoderTasks:
    """Cross-entropy of the located structures and smooth L1 of the traits, over what is known of each photograph.

    Args:
        network: ``(B, 3, H, W)`` -> ``maps`` (logits) and ``traits``, as :class:`MultiTaskEncoder` gives them.
        map_weight: of the first term.
        trait_weight: of the second.
        observe: gets the features ``(B, D)`` of the photographs of each batch that were left as they are (``plain``);
            in a process group those of the batches of all, in the order of one process.
        image_key: entry of the batch that the network gets; ``maps`` and ``traits`` are what it is to tell, NaN where
            that is not known.
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
        """All that the network predicts for the batch's photographs."""
        predicted: dict[str, Tensor] = self.networks["encoder"](batch[self.image_key])
        if self.observe is not None:
            self.observe(whole_batch(predicted["features"])[whole_batch(batch["plain"])])
        return {f"pred_{name}": value for name, value in predicted.items()}

    def losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """The two terms, each a mean over what is known."""
        maps = _known_mean(binary_cross_entropy_with_logits, outputs["pred_maps"], batch["maps"])
        traits = _known_mean(_smooth_l1, outputs["pred_traits"], batch["traits"])
        return {"e_maps": self.map_weight * maps, "e_traits": self.trait_weight * traits}


def _smooth_l1(pred: Tensor, target: Tensor, reduction: str) -> Tensor:
    return smooth_l1_loss(pred, target, reduction=reduction, beta=KNEE)


def _known_mean(loss: Callable[..., Tensor], pred: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    each = loss(pred.float(), torch.where(known, target, torch.zeros_like(target)), reduction="none")
    return whole_sum((each * known).sum()) / whole_sum(known.sum().float()).clamp_min(1)
