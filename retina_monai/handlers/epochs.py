"""Handlers for the start of an epoch: seeds, learning rate, and share of generated inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.optim import Optimizer

from retina_monai.group import group_rank
from retina_monai.seeds import epoch_noise_seed

__all__ = ["GrowingShare", "LinearDecay", "SeededEpochs"]


class SeededEpochs:
    """Make the order, augmentation, dropout and latents of an epoch depend on (seed, epoch, rank) alone.

    Torch's generators are reseeded at each epoch. A run resumed after epoch ``n`` therefore draws the same numbers as
    an uninterrupted one, regardless of validation and loading in between. Each rank draws different numbers.

    Args:
        seed: seed of the run.
        sampler: has ``set_epoch``.
    """

    def __init__(self, seed: int, sampler: Any) -> None:
        self.seed = seed
        self.sampler = sampler

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)

    def start(self, engine: Engine) -> None:
        self.sampler.set_epoch(engine.state.epoch)
        torch.manual_seed(epoch_noise_seed(self.seed, engine.state.epoch, group_rank()))


class LinearDecay:
    """Keep the learning rates constant for the first half of the epochs, then decay them linearly towards 0.

    The schedule of CycleGAN (Zhu et al. 2017, section 7.1) and of the reference code of pix2pix. It depends on the
    epoch alone and has no state. A resumed run uses the learning rates of its own command, not those of its checkpoint.

    Args:
        optimizers: optimizers by name; their learning rates at construction are the initial ones.
        enabled: whether to decay; if not, the rates stay constant.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer], enabled: bool = True) -> None:
        self.enabled = enabled
        self.rates = [
            (optimizer, [group["lr"] for group in optimizer.param_groups]) for optimizer in optimizers.values()
        ]

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)

    def start(self, engine: Any) -> None:
        done = (engine.state.epoch - 1) / engine.state.max_epochs
        factor = min(1.0, 2 * (1 - done)) if self.enabled else 1.0
        for optimizer, rates in self.rates:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):  # loading a state replaces the groups
                group["lr"] = rate * factor


class GrowingShare:
    """Increase an objective's ``generated_share`` linearly from 0 in the first epoch to ``share`` in the last.

    It depends on the epoch alone and has no state.

    Args:
        objective: has ``generated_share``.
        share: value in the last epoch, in [0, 1].
    """

    def __init__(self, objective: Any, share: float) -> None:
        self.objective = objective
        self.share = share

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)

    def start(self, engine: Any) -> None:
        self.objective.generated_share = self.share * (engine.state.epoch - 1) / max(1, engine.state.max_epochs - 1)
