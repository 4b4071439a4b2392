"""When a training validates: every few epochs, and at its end."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

__all__ = ["EpochValidation"]


class EpochValidation(ValidationHandler):
    """MONAI's ``ValidationHandler`` that validates the last epoch too, whether or not ``interval`` divides it.

    Every training therefore ends with metrics, a picture grid and a comparison with the best weights so far, and no
    epoch is validated twice. Attach it before :class:`Checkpoints`, whose file of an epoch holds the best metric.

    Args:
        interval: validate every this many epochs.
        validator: the evaluator.
    """

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Engine, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs
