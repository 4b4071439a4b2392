"""What an adversarial objective is made of: networks, a generating pass, and the steps that update who by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

__all__ = ["Batch", "Losses", "Objective", "Step"]

Batch = Mapping[str, Any]
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """One player's move: the networks that it updates and the terms that it minimises.

    Args:
        name: the step's name; its optimizer goes by the same.
        updates: names of the networks whose parameters move.
        losses: ``(batch, outputs of forward)`` -> named scalar terms; their sum is minimised.
    """

    name: str
    updates: tuple[str, ...]
    losses: Callable[[Batch, Mapping[str, Tensor]], Losses]


class Objective(Protocol):
    """A paper's equations. It knows nothing of optimizers, devices, precision, logging or distribution.

    A term is a mean over pictures, or made of sums over the whole batch (:func:`retina_monai.group.whole_sum`), so that
    the gradients of equal batches, averaged, are those of one.

    ``meanings`` explains every loss by its name, for whoever reads the curves. ``networks`` is all that is moved,
    averaged and saved; ``forward`` is the generating pass that the steps share;
    only the ``forward`` of a network is ever called, so that wrapping one changes nothing.
    """

    meanings: ClassVar[Mapping[str, str]]
    networks: nn.ModuleDict
    steps: tuple[Step, ...]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Generate: ``batch`` -> named tensors, ``pred`` among them."""
        ...
