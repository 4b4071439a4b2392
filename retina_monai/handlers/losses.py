"""The losses of an epoch: their means, one line to read, and an end to a training that broke."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch import Tensor

from retina_monai.errors import RetinaError

__all__ = ["EpochLine", "EpochLosses", "StopOnNaN"]

logger = logging.getLogger("retina_monai")


class EpochLosses:
    """Average every named loss over its steps of an epoch into ``state.metrics``; no synchronisation before its end."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.average)

    def start(self) -> None:
        self.sums, self.counts = {}, Counter()

    def add(self, engine: Any) -> None:
        for name, loss in engine.state.losses.items():
            self.sums[name] = self.sums[name] + loss if name in self.sums else loss.float()
            self.counts[name] += 1

    def average(self, engine: Any) -> None:
        engine.state.metrics |= {name: float(total) / self.counts[name] for name, total in self.sums.items()}


class EpochLine:
    """A progress bar over the training, and one line per epoch: mean losses, validation metrics, iterations a second.

    Args:
        evaluator: its metrics join the line of the epochs that it validated.
        enabled: whether this process prints (rank 0).
    """

    def __init__(self, evaluator: Engine | None = None, enabled: bool = True) -> None:
        self.evaluator = evaluator
        self.enabled = enabled
        self.started = 0.0

    def attach(self, engine: Engine) -> None:
        if self.enabled:
            ProgressBar(desc="epoch", disable=None).attach(engine)
            engine.add_event_handler(Events.EPOCH_STARTED, self.start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.log)

    def start(self) -> None:
        self.started = time.perf_counter()

    def log(self, engine: Engine) -> None:
        state: Any = engine.state
        metrics = dict(state.metrics)
        if self.evaluator is not None and self.evaluator.state.epoch == state.epoch:
            metrics |= self.evaluator.state.metrics
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        rate = state.epoch_length / (time.perf_counter() - self.started)
        logger.info("epoch %d/%d: %s (%.2f it/s)", state.epoch, state.max_epochs, figures, rate)


class StopOnNaN:
    """End a training whose loss is no longer finite, before a checkpoint of it is written.

    The losses are watched on the device and looked at every ``every`` iterations and at the end of each epoch.

    Args:
        every: iterations between looks; a look synchronises a GPU.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self.finite: Tensor | None = None

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.watch)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self.look)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.look)

    def watch(self, engine: Any) -> None:
        finite = torch.isfinite(engine.state.losses["loss"])
        self.finite = finite if self.finite is None else self.finite & finite

    def look(self, engine: Engine) -> None:
        """Raise if a loss was not finite since the last look.

        Raises:
            RetinaError: with the iteration and what to try.
        """
        if self.finite is not None and not bool(self.finite):
            state = engine.state
            raise RetinaError(
                f"the loss became NaN or infinite by iteration {state.iteration} (epoch {state.epoch}): lower "
                "--learning_rate, set --max_gradient_norm 1 or use --precision fp32, then go on with --resume true"
            )
