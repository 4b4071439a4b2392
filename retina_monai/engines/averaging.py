"""Exponential moving average of weights, for validation, export and release."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["Averaged"]

WARM_UP = 10


class Averaged:
    """Keep an exponential moving average of a network's parameters and buffers.

    The decay grows with the number of updates ``n`` as ``min(decay, (1 + n) / (10 + n))``, so that the random initial
    weights are soon forgotten.

    Args:
        network: network that is trained.
        decay: decay per iteration, in (0, 1).
        enabled: whether to average; if not, ``network`` is the trained network itself.
        every: iterations between updates; the decay is raised to this power to keep the horizon.

    Attributes:
        network: network to validate, export and save; in evaluation mode if averaged.

    Raises:
        ValueError: ``decay`` is outside (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, enabled: bool = True, every: int = 4) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must be in (0, 1), got {decay}")
        self.source = network
        self.decay = decay**every
        self.every = every
        self.average: AveragedModel | None = None
        if enabled:
            self.average = AveragedModel(network, multi_avg_fn=self._average, use_buffers=True).eval()

    @property
    def network(self) -> nn.Module:
        return self.source if self.average is None else self.average.module

    @property
    def updates(self) -> int:
        """Number of updates; counted on the CPU to avoid synchronising."""
        return 0 if self.average is None else int(self.average.n_averaged)

    def attach(self, engine: Engine) -> None:
        if self.average is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self.update)
            engine.add_event_handler(Events.EPOCH_COMPLETED(once=1), self.begin)

    def begin(self) -> None:
        """Update at least once before the first validation, however short the epoch."""
        if self.updates == 0:
            self.update()

    def update(self) -> None:
        """Update the average with the network's current weights."""
        if self.average is not None:
            self.average.update_parameters(self.source)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.average is not None:
            self.average.load_state_dict(state)

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = min(self.decay, (1 + self.updates) / (WARM_UP + self.updates))
        get_ema_multi_avg_fn(decay)(averaged, current, torch.tensor(0))
