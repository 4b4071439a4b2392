"""The handlers of every training, attached in the required order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from torch import nn
from torch.optim import Optimizer

from retina_monai.data.listing.layout import Datalist
from retina_monai.handlers.checkpoints import Checkpoints
from retina_monai.handlers.epochs import LinearDecay, SeededEpochs
from retina_monai.handlers.losses import EpochLine, EpochLosses, StopOnNaN
from retina_monai.handlers.training_record import TrainingRecord
from retina_monai.handlers.validation import EpochValidation

__all__ = ["TrainingHandlers"]


class TrainingHandlers:
    """Attach seeding, decay, averaging, losses, validation, checkpoints, record, tracker and logging to a trainer.

    The order matters. Weights are averaged before validation. Validation precedes the checkpoint, which stores the best
    metric. The tracker comes late because it logs the files of the other handlers.

    Args:
        datalist: eyes by split.
        sampler: sampler of the training eyes; has ``set_epoch``.
        optimizers: optimizers by name.
        averaged: :class:`retina_monai.engines.Averaged` of the network to release.
        evaluator: the validator.
        tracker: the :class:`Tracker`.
        output_dir: folder for checkpoints and weights.
        seed: seed of the training.
        linear_decay: whether to decay the learning rates over the second half of the epochs.
        val_interval: epochs between validations.
        resume, keep_checkpoints, checkpoint_interval, released: as for :class:`Checkpoints`.
        started_from: as for :class:`TrainingRecord`.
        more: additional handlers, attached before the tracker.
        first_rank: whether this process writes.
    """

    def __init__(
        self,
        datalist: Datalist,
        sampler: Any,
        optimizers: Mapping[str, Optimizer],
        averaged: Any,
        evaluator: Any,
        tracker: Any,
        output_dir: str | Path,
        seed: int = 0,
        linear_decay: bool = True,
        val_interval: int = 1,
        resume: bool = False,
        keep_checkpoints: int = 2,
        checkpoint_interval: int = 1,
        released: nn.Module | None = None,
        started_from: Sequence[str | Path | None] = (),
        more: Sequence[Any] = (),
        first_rank: bool = True,
    ) -> None:
        checkpoints = Checkpoints(
            output_dir,
            averaged,
            evaluator,
            resume=resume,
            keep=keep_checkpoints,
            interval=checkpoint_interval,
            tracker=tracker,
            enabled=first_rank,
            released=released,
        )
        self.handlers: list[Any] = [
            SeededEpochs(seed, sampler),
            LinearDecay(optimizers, enabled=linear_decay),
            StopOnNaN(),
            averaged,
            EpochLosses(),
            EpochValidation(interval=val_interval, validator=evaluator),
            checkpoints,
            *more,
            TrainingRecord(datalist, output_dir, seed, started_from, enabled=first_rank),
            tracker,
            EpochLine(evaluator, enabled=first_rank),
        ]

    def attach(self, engine: Engine) -> None:
        for handler in self.handlers:
            handler.attach(engine)
