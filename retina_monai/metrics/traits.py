"""How well numbers about a photograph are told, where they are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from torch import Tensor

__all__ = ["TraitAccuracy"]


class TraitAccuracy(Metric):
    """One less the mean absolute error, over all that is known: 1 is perfect.

    It takes a list of pairs of tensors of one shape, what was told and what is so, NaN where it is not known. A kind of
    trait that is known more often counts for more.

    Args:
        output_transform: from ``state.output`` to that list.

    Raises:
        ValueError: on update, shapes that differ.
        NotComputableError: on compute, nothing was known.

    Example:
        >>> accuracy = TraitAccuracy()
        >>> accuracy.update([(torch.tensor([0.5, 0.0]), torch.tensor([0.25, float("nan")]))])
        >>> accuracy.compute()
        0.75
    """

    def __init__(self, output_transform: Callable[[Any], Any] = lambda output: output) -> None:
        super().__init__(output_transform, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all photographs."""
        self._error, self._known = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take one pair per photograph."""
        for told, target in output:
            if told.shape != target.shape:
                raise ValueError(f"told is {tuple(told.shape)} and what is so {tuple(target.shape)}: give one shape")
            error = (told - target).detach().double().abs()
            self._error += error.nansum().cpu()
            self._known += (~error.isnan()).sum().cpu()

    @sync_all_reduce("_error:SUM", "_known:SUM")
    def compute(self) -> float:
        """The accuracy, at most 1."""
        if not self._known:
            raise NotComputableError("TraitAccuracy has seen nothing that is known")
        return 1 - float(self._error / self._known)
