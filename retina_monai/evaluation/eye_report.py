"""What the reports of single eyes have in common: they measure eye by eye, and write tables and grids of pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from retina_monai.data.writing import write_png
from retina_monai.evaluation.plots import image_grid

__all__ = ["EyeReport"]

IN_OVERVIEW = 2  # eyes of each set


class EyeReport:
    """Collect the eyes of an evaluation, and write a report when it ends.

    Args:
        output_dir: where to write.
        about: what was measured (checkpoint, size, ...), copied into ``report.json``.

    Attributes:
        rows: a line for each measurement of an eye.
        pictures: by data set, a row of pictures for each eye, uint8 ``(C, H, W)``.
    """

    titles: ClassVar[Sequence[str]]
    """Of the columns of the grids."""

    def __init__(self, output_dir: str | Path, about: dict[str, Any] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.about = dict(about or {})
        self.rows: list[dict[str, Any]] = []
        self.pictures: dict[str, list[list[np.ndarray]]] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def collect(self, engine: Any) -> None:
        for item in engine.state.output:
            self.add({key: _plain(value) if isinstance(value, Tensor) else value for key, value in item.items()})

    @abstractmethod
    def add(self, item: dict[str, Any]) -> None:
        """Measure one eye."""

    @abstractmethod
    def write(self, engine: Any) -> None:
        """Write tables and pictures to ``output_dir``, and leave the pictures' paths in ``state.pictures``."""

    def write_grids(self, synthetic: bool = True) -> list[Path]:
        """``grid.png``, two eyes of each data set, and ``grid_<dataset>.png``; returns their paths.

        Args:
            synthetic: whether something in them was generated, which the files then say.
        """
        overview = [row for rows in self.pictures.values() for row in rows[:IN_OVERVIEW]]
        grids = {"grid": overview, **{f"grid_{dataset}": rows for dataset, rows in self.pictures.items()}}
        for name, rows in grids.items():
            write_png(self.output_dir / f"{name}.png", image_grid(rows, self.titles), synthetic=synthetic)
        return [self.output_dir / f"{name}.png" for name in grids]


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().as_subclass(torch.Tensor)
