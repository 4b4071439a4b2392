"""Validate at regular intervals and after the last epoch."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

__all__ = ["EpochValidation"]


class EpochValidation(ValidationHandler):
    """MONAI's ``ValidationHandler`` that also validates after the last epoch, even if ``interval`` does not divide it.

    Every training thus ends with metrics, a picture grid and a comparison with the best weights so far. No epoch is
    validated twice. Attach it before :class:`Checkpoints`, which stores the best metric.

    Args:
        interval: epochs between validations.
        validator: the evaluator.
    """

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Engine, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs
