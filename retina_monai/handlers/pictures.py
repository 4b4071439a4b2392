"""Grids of validation pictures: condition, generated and real side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from retina_monai.data.files.writing import write_png
from retina_monai.group import gather_items
from retina_monai.handlers.grid import image_grid

__all__ = ["PictureGrid", "to_uint8"]


class PictureGrid:
    """Write a picture grid with one row for each of the first eyes after every evaluation.

    Its path is stored in ``state.pictures`` for :class:`Tracker`. In a process group the rows are the same as with one
    process, so the handler must be attached on all ranks.

    Args:
        folder: folder for ``epoch_0003.png``.
        columns: title of a column -> key in the output or batch: pictures ``(C, H, W)`` in [-1, 1].
        count: maximum number of rows.
        enabled: whether this process writes (rank 0).
    """

    def __init__(self, folder: str | Path, columns: dict[str, str], count: int = 8, enabled: bool = True) -> None:
        self.folder = Path(folder)
        self.columns = columns
        self.count = count
        self.enabled = enabled
        self.rows: list[list[np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.draw)

    def start(self) -> None:
        self.rows = []

    def collect(self, engine: Any) -> None:
        for item in engine.state.output[: self.count - len(self.rows)]:
            self.rows.append([to_uint8(item[key]) for key in self.columns.values()])

    def draw(self, engine: Any) -> None:
        rows = gather_items(self.rows)[: self.count]
        if self.enabled:
            path = self.folder / f"epoch_{engine.state.epoch:04d}.png"
            write_png(path, image_grid(rows, list(self.columns)))
            engine.state.pictures = [path]


def to_uint8(picture: Tensor) -> np.ndarray:
    """``(C, H, W)`` in [-1, 1] -> uint8 of the same shape, clipped, with halves rounded to even."""
    scaled = (picture.detach().as_subclass(torch.Tensor).float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().cpu().numpy()
