"""Average the losses of an epoch, log them, and stop a training whose loss is not finite."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch import Tensor

from retina_monai.errors import RetinaError
from retina_monai.group import gather

__all__ = ["EpochLine", "EpochLosses", "StopOnNaN"]

logger = logging.getLogger("retina_monai")


class EpochLosses:
    """Average every named loss over an epoch into ``state.metrics``, without synchronising before its end.

    In a process group the average is over the iterations of all ranks. It equals that of one process at the global
    batch, since each rank's loss is a mean over equally many eyes or over the global batch
    (:func:`retina_monai.group.whole_sum`).
    """

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
        sums: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for part, count in gather(({name: float(total) for name, total in self.sums.items()}, self.counts)):
            sums.update(part)
            counts.update(count)
        engine.state.metrics |= {name: total / counts[name] for name, total in sums.items()}


class EpochLine:
    """Show a progress bar, and log one line per epoch with losses, validation metrics and iterations per second.

    During the first epoch of a run, additional lines estimate the duration of an epoch and of the training without
    validation. They are logged after ``patience`` seconds and each time the elapsed time has doubled.

    Args:
        evaluator: its metrics are added to the line of each validated epoch, with their formulas if they set
            ``state.formulas`` (:class:`retina_monai.metrics.Selection`). It has a separate progress bar.
        enabled: whether this process logs (rank 0).
        patience: seconds before the first estimate.
    """

    def __init__(self, evaluator: Engine | None = None, enabled: bool = True, patience: float = 15.0) -> None:
        self.evaluator = evaluator
        self.enabled = enabled
        self.patience = patience
        self.started = 0.0
        self.warm = 0.0  # end of the epoch's first iteration, which is slower than the others
        self.due = math.inf  # seconds into the epoch at which the next estimate is logged

    def attach(self, engine: Engine) -> None:
        if not self.enabled:
            return
        ProgressBar(desc="epoch", disable=None).attach(engine)
        if self.evaluator is not None:
            ProgressBar(desc="validation", disable=None).attach(self.evaluator)
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.forecast)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.log)

    def begin(self) -> None:
        self.due = self.patience

    def start(self) -> None:
        self.started = time.perf_counter()

    def forecast(self, engine: Engine) -> None:
        """Log an estimate of the remaining time when it is due."""
        state: Any = engine.state
        now, done = time.perf_counter(), (state.iteration - 1) % state.epoch_length + 1
        if done == 1:
            self.warm = now
        elif now - self.started >= self.due and done < state.epoch_length:
            self.due = 2 * (now - self.started)
            epoch = (now - self.warm) / (done - 1) * state.epoch_length
            left = epoch * (state.max_epochs - state.epoch + 1)
            where = f"epoch {state.epoch}/{state.max_epochs}: {done} of {state.epoch_length} iterations"
            times = tuple(_duration(seconds) for seconds in (now - self.started, epoch, left))
            logger.info("%s after %s, about %s an epoch and %s in all", where, *times)

    def log(self, engine: Engine) -> None:
        state: Any = engine.state
        metrics = dict(state.metrics)
        formulas: dict[str, str] = {}
        if self.evaluator is not None and self.evaluator.state.epoch == state.epoch:
            metrics |= self.evaluator.state.metrics
            formulas = getattr(self.evaluator.state, "formulas", {})
        figures = (
            f"{name} {value:.4f}" + (f" ({formulas[name]})" if name in formulas else "")
            for name, value in metrics.items()
        )
        rate = state.epoch_length / (time.perf_counter() - self.started)
        logger.info("epoch %d/%d: %s (%.2f it/s)", state.epoch, state.max_epochs, ", ".join(figures), rate)
        self.due = math.inf


class StopOnNaN:
    """Stop a training whose loss is NaN or infinite, before a checkpoint is written.

    Losses are accumulated on the device, and checked every ``every`` iterations and at the end of each epoch. In a
    process group all ranks are checked and stop together.

    Args:
        every: iterations between checks; each check synchronises the GPU.
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
        """Check the losses since the last check.

        Raises:
            RetinaError: a loss was NaN or infinite.
        """
        if not all(gather(self.finite is None or bool(self.finite))):
            state = engine.state
            raise RetinaError(
                f"the loss became NaN or infinite by iteration {state.iteration} (epoch {state.epoch}): lower "
                "--learning_rate, set --max_gradient_norm 1 or use --precision fp32, then continue with --resume true"
            )


def _duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
