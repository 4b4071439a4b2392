"""What happens at the start of an epoch: the order of the eyes, the model's noise, the learning rate."""

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
    """Make an epoch a function of (seed, epoch, rank): its order, its augmentation, and dropout and latents.

    Torch's generators are seeded anew at each epoch, so a run resumed after epoch ``n`` draws what the uninterrupted
    one drew, whatever validation or loading consumed in between, and ranks draw differently.

    Args:
        seed: of the run.
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
    """Keep the learning rates for the first half of the epochs, then let them fall linearly towards 0.

    The schedule of CycleGAN (Zhu et al. 2017, section 7.1) and of the reference code of pix2pix. It depends on the
    epoch alone, so a resumed run needs no state of it: it takes the full rates of its own command, not those that
    its checkpoint holds.

    Args:
        optimizers: by name; their rates when this handler is made are the full ones.
        enabled: if not, the rates stay full.
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
            for group, rate in zip(optimizer.param_groups, rates, strict=True):  # loading a state makes new groups
                group["lr"] = rate * factor


class GrowingShare:
    """Let an objective's ``generated_share`` grow evenly over the epochs, from 0 in the first to its full value.

    It depends on the epoch alone, so a resumed run needs no state of it.

    Args:
        objective: has ``generated_share``.
        share: in the last epoch, from 0 to 1.
    """

    def __init__(self, objective: Any, share: float) -> None:
        self.objective = objective
        self.share = share

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)

    def start(self, engine: Any) -> None:
        self.objective.generated_share = self.share * (engine.state.epoch - 1) / max(1, engine.state.max_epochs - 1)
