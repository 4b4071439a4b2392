"""What happens at the start of an epoch: the order of the eyes, the model's noise, the learning rate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import distributed
from torch.optim import Optimizer

__all__ = ["LinearDecay", "SeededEpochs"]


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
        rank = distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
        digest = hashlib.sha256(json.dumps(["noise", self.seed, engine.state.epoch, rank]).encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class LinearDecay:
    """Keep the learning rates for the first half of the epochs, then let them fall linearly towards 0.

    The schedule of CycleGAN (Zhu et al. 2017, section 7.1) and of the reference code of pix2pix. It depends on the
    epoch alone, so a resumed run needs no state of it.

    Args:
        optimizers: by name; their rates when training starts are the full ones.
        enabled: if not, the rates stay.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer], enabled: bool = True) -> None:
        self.enabled = enabled
        self.groups = [(group, group["lr"]) for optimizer in optimizers.values() for group in optimizer.param_groups]

    def attach(self, engine: Engine) -> None:
        if self.enabled:
            engine.add_event_handler(Events.EPOCH_STARTED, self.start)

    def start(self, engine: Any) -> None:
        done = (engine.state.epoch - 1) / engine.state.max_epochs
        for group, rate in self.groups:
            group["lr"] = rate * min(1.0, 2 * (1 - done))
