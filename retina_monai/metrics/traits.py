"""Accuracy of predicted traits of a photograph, where the traits are known."""

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
    """One minus the mean absolute error over all known traits; 1 is perfect.

    The input is a list of pairs of tensors of one shape: predictions and targets, which are NaN if unknown. Traits that
    are known more often have a larger weight.

    Args:
        output_transform: function from ``state.output`` to that list.

    Raises:
        ValueError: on update, the shapes of a pair differ.
        NotComputableError: on compute, no trait was known.

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
        """Discard all photographs."""
        self._error, self._known = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Add one pair per photograph."""
        for pred, target in output:
            if pred.shape != target.shape:
                shapes = f"{tuple(pred.shape)} and {tuple(target.shape)}"
                raise ValueError(f"prediction and target must have one shape, got {shapes}")
            error = (pred - target).detach().double().abs()
            self._error += error.nansum().cpu()
            self._known += (~error.isnan()).sum().cpu()

    @sync_all_reduce("_error:SUM", "_known:SUM")
    def compute(self) -> float:
        """The accuracy, at most 1."""
        if not self._known:
            raise NotComputableError("TraitAccuracy has seen no known trait")
        return 1 - float(self._error / self._known)
