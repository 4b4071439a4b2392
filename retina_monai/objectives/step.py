"""Interface of adversarial objectives: networks, a forward pass, and optimization steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

__all__ = ["Batch", "Losses", "Objective", "Step", "check_terms"]

Batch = Mapping[str, Any]
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """One optimization step: the networks to update and the losses to minimise.

    Args:
        name: name of the step and of its optimizer.
        updates: names of the networks to update.
        losses: ``(batch, outputs of forward)`` -> named scalar losses, whose sum is minimised.
    """

    name: str
    updates: tuple[str, ...]
    losses: Callable[[Batch, Mapping[str, Tensor]], Losses]


class Objective(Protocol):
    """The equations of a paper, independent of optimizers, devices, precision, logging and distribution.

    A loss is a mean over pictures, or is computed from sums over the global batch
    (:func:`retina_monai.group.whole_sum`). Averaging the gradients of equal batches then gives those of the global
    batch.

    Attributes:
        meanings: description of each loss by name.
        networks: all networks to move, synchronise and save. Only their ``forward`` is called, so they may be wrapped.
        steps: optimization steps, in order.
    """

    meanings: ClassVar[Mapping[str, str]]
    networks: nn.ModuleDict
    steps: tuple[Step, ...]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Run the forward pass shared by all steps: ``batch`` -> named tensors, including ``pred``."""
        ...


def check_terms(*terms: tuple[str, float, str, Any]) -> None:
    """Reject loss terms that have a weight but lack what they are computed with.

    Args:
        terms: name of the weight, its value, and name and value of the argument that the term needs.

    Raises:
        ValueError: a weight is not 0 and the argument is ``None``.
    """
    for weight_name, weight, name, needed in terms:
        if weight and needed is None:
            raise ValueError(f"{weight_name} needs a {name}")
