"""What a family of measurements hands to the report: an answer with its reason, figures, tables and pictures."""

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
        title: what the table shows.
        columns: their names.
        rows: one cell per column; numbers stay numbers, ``None`` is an empty cell.
        note: below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot or a grid.

    Attributes:
        title: what the picture shows.
        path: of the PNG file.
        caption: what to look for in it.
    """

    title: str
    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One question and its answer.

    Attributes:
        key: of the family: ``image``, ``distribution``, ``faithfulness``, ``privacy`` or ``usefulness``.
        question: in plain words.
        light: green (good), amber (with reservations), red (bad), grey (could not be judged).
        answer: in one or two plain sentences with the figures that made the light what it is.
        figures: all results, as JSON holds them; numbers of any depth go to MLflow under their path.
        tables: in the order of reading.
        pictures: in the order of reading.
        notes: what the reader has to know to read the figures rightly.
    """

    key: str
    question: str
    light: Light
    answer: str
    figures: Mapping[str, Any]
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default=())
