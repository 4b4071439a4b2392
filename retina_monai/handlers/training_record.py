"""Record the training data next to the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events

from retina_monai.data.listing.layout import Datalist
from retina_monai.data.listing.weights_origin import FILE, training_record
from retina_monai.files import write_json

__all__ = ["TrainingRecord"]


class TrainingRecord:
    """Write ``training.json`` when training starts (:func:`retina_monai.data.listing.weights_origin.training_record`).

    Args:
        datalist: eyes by split.
        output_dir: output folder.
        seed: seed of the training.
        started_from: files of weights that the training starts from or learns from; ``None`` entries are skipped.
        enabled: whether this process writes (rank 0).
    """

    def __init__(
        self,
        datalist: Datalist,
        output_dir: str | Path,
        seed: int,
        started_from: Sequence[str | Path | None] = (),
        enabled: bool = True,
    ) -> None:
        self.datalist = datalist
        self.path = Path(output_dir) / FILE
        self.seed = seed
        self.started_from = started_from
        self.enabled = enabled

    def attach(self, engine: Engine) -> None:
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self.write)

    def write(self) -> None:
        write_json(self.path, training_record(self.datalist, self.seed, self.started_from))
