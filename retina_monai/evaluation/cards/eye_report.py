"""Base class of reports on single eyes: they measure eye by eye and write tables and grids of pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.report.plots import image_grid
from retina_monai.group import from_first, gather, gather_items, gather_lists, group_rank, group_size

__all__ = ["EyeReport"]

IN_OVERVIEW = 2  # eyes of each data set


class EyeReport:
    """Collect the eyes of an evaluation and write a report at its end.

    In a process group, each rank measures its share of the eyes. The first rank writes the report of all, in the same
    order as a single process.

    Args:
        output_dir: folder to write to.
        about: description of the evaluation (checkpoint, size, ...), copied into ``report.json``.

    Attributes:
        rows: one row for each measurement of an eye.
        pictures: data set -> a row of pictures for each eye, uint8 ``(C, H, W)``.
        before: number of eyes measured by the ranks before this one.
    """

    titles: Sequence[str]
    """Column titles of the grids."""

    def __init__(self, output_dir: str | Path, about: dict[str, Any] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.about = dict(about or {})
        self.rows: list[dict[str, Any]] = []
        self.pictures: dict[str, list[list[np.ndarray]]] = {}
        self.before = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Any) -> None:
        """Discard the eyes of an earlier run."""
        self.rows, self.pictures = [], {}
        if group_size() > 1:
            self.before = sum(gather(len(engine.data_loader.sampler))[: group_rank()])

    def collect(self, engine: Any) -> None:
        for item in engine.state.output:
            self.add({key: _plain(value) if isinstance(value, Tensor) else value for key, value in item.items()})

    def finish(self, engine: Any) -> None:
        """Gather the eyes of all ranks; the first writes the report, and all get its metrics."""
        self.gather()
        if group_rank() == 0:
            self.write(engine)
        engine.state.metrics = from_first(engine.state.metrics)

    def gather(self) -> None:
        """Gather what :meth:`add` collected on all ranks."""
        self.rows = gather_items(self.rows)
        self.pictures = gather_lists(self.pictures)

    @abstractmethod
    def add(self, item: dict[str, Any]) -> None:
        """Measure one eye."""

    @abstractmethod
    def write(self, engine: Any) -> None:
        """Write tables and pictures to ``output_dir``, and put the paths of the pictures into ``state.pictures``."""

    def write_grids(self, synthetic: bool = True) -> list[Path]:
        """Write ``grid.png``, with two eyes of each data set, and ``grid_<dataset>.png``; returns their paths.

        Args:
            synthetic: whether the grids contain synthetic pictures, which is recorded in the files.
        """
        overview = [row for rows in self.pictures.values() for row in rows[:IN_OVERVIEW]]
        grids = {"grid": overview, **{f"grid_{dataset}": rows for dataset, rows in self.pictures.items()}}
        for name, rows in grids.items():
            write_png(self.output_dir / f"{name}.png", image_grid(rows, self.titles), synthetic=synthetic)
        return [self.output_dir / f"{name}.png" for name in grids]


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().as_subclass(torch.Tensor)
