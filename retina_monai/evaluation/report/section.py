"""The result of a family of measurements: an answer with its reason, figures, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Light", "Picture", "Section", "Table"]

Light = Literal["green", "amber", "red", "grey"]


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers.

    Attributes:
        title: title of the table.
        columns: column titles.
        rows: one cell per column; ``None`` is an empty cell.
        note: text below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot or a grid.

    Attributes:
        title: title of the picture.
        path: path of the PNG file.
        caption: what to look for in the picture.
    """

    title: str
    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One question and its answer.

    Attributes:
        key: the family: ``image``, ``distribution``, ``faithfulness``, ``privacy`` or ``usefulness``.
        question: the question in plain words.
        light: green (good), amber (with reservations), red (not good) or grey (not judged).
        answer: one or two plain sentences with the figures on which the light is based.
        figures: all results as JSON data; nested numbers are logged to MLflow under their path.
        tables: tables in reading order.
        pictures: pictures in reading order.
        notes: what a reader must know to interpret the figures.
    """

    key: str
    question: str
    light: Light
    answer: str
    figures: Mapping[str, Any]
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default=())
