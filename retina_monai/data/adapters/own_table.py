"""Read the csv that lists patient, laterality, split and grade of a user's own photographs."""

from __future__ import annotations

import csv
import io
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retina_monai.data.listing.layout import ENDING, ROLES
from retina_monai.data.listing.patients import LATERALITIES
from retina_monai.errors import RetinaError

__all__ = ["find_table", "read_table"]

logger = logging.getLogger("retina_monai")

NAMES = ("name", "image", "file")
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

Row = dict[str, str]


def find_table(directory: Path) -> Path | None:
    """The csv file in a directory; ``None`` if there is none.

    Raises:
        RetinaError: if there are several.
    """
    tables = sorted(path for path in directory.iterdir() if re.fullmatch(r"[^.~].*\.csv", path.name, re.IGNORECASE))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise RetinaError(f"{directory} holds several csv files ({names}): keep only the one with name and patient")
    return tables[0] if tables else None


def read_table(path: Path, images: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Read the csv with metadata of photographs.

    The separator is a comma, semicolon or tab, and the encoding UTF-8 (with or without byte order mark), UTF-16 or
    Windows-1252, as written by spreadsheets. Column titles may be in any case and order. Unknown columns are logged and
    ignored.

    Args:
        path: csv file with the columns ``name`` (or ``image``, or ``file``) and ``patient``, and optionally
            ``laterality``, ``split``, ``grade`` and ``stage``.
        images: photographs by name without suffix.

    Returns:
        For each key of ``images``, a dictionary of ``patient``; of ``laterality`` ('L' or 'R'), ``grade`` (0 to 4) and
        ``stage``, where known; and of ``split``, if there is such a column.

    Raises:
        RetinaError: if the file is not a table or lacks a column; if a row has an unknown or repeated name, no patient,
            or an invalid laterality, split or grade (rows are numbered as in spreadsheets); if a photograph has no row;
            or if a patient is in two splits.
    """
    titles, rows = _parse(path)
    name = _name_column(path, titles)
    found: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        key = _key(row[name], images, f"{path}, row {line}, column {name}")
        if key in found:
            raise RetinaError(f"{path}, row {line}, column {name}: {row[name]} is in row {lines[key]} already")
        found[key], lines[key] = _values(row, f"{path}, row {line}"), line
    for key, image in images.items():
        if key not in found:
            raise RetinaError(f"{path} has no row for the photograph {image}: add one, or remove the photograph")
    _check_splits(found, lines, path)
    return found


def _parse(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """Titles in lower case, and non-empty rows with their numbers as in spreadsheets."""
    text = _text(path)
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        titles = [cell.strip().lower() for cell in next(reader, [])]
        rows = [(row, [cell.strip() for cell in cells]) for row, cells in enumerate(reader, 2)]
    except csv.Error as error:
        raise RetinaError(f"{path}, row {reader.line_num} is not csv ({error}): save it as csv again") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    for line, cells in rows:
        if len(cells) != len(titles):
            raise RetinaError(
                f"{path}, row {line} has {len(cells)} cells, but there are {len(titles)} columns: put quotation marks "
                "around text that contains the separator"
            )
    return titles, [(line, dict(zip(titles, cells, strict=True))) for line, cells in rows]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RetinaError(f"{path} cannot be read ({error.strerror}): change its permissions") from error
    try:
        text = content.decode(ENCODINGS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise RetinaError(f"{path} is not csv: save the table as csv")
    return unicodedata.normalize("NFC", text)


def _name_column(path: Path, titles: list[str]) -> str:
    """The column with the names of the photographs.

    Raises:
        RetinaError: if a required column is missing or a column is repeated.
    """
    names = [title for title in titles if title in NAMES]
    if len(names) != 1 or "patient" not in titles:
        raise RetinaError(
            f"{path}, row 1 has the columns {', '.join(titles) or '(none)'}: it takes one of {', '.join(NAMES)}, then "
            "patient, and optionally laterality, split, grade and stage"
        )
    known = (names[0], "patient", *READERS)
    twice = next((title for title in known if titles.count(title) > 1), None)
    if twice is not None:
        raise RetinaError(f"{path}, row 1 has the column {twice} twice: leave one of them out")
    unknown = [title for title in titles if title and title not in known]
    if unknown:
        logger.warning("%s: unknown columns are ignored: %s", path, ", ".join(unknown))
    return names[0]


def _key(cell: str, images: Mapping[str, Path], where: str) -> str:
    """The photograph that a cell names, with or without suffix and folder."""
    file = re.split(r"[/\\]", cell)[-1]
    for key in (file, re.sub(rf"({ENDING})\Z", "", file, flags=re.IGNORECASE)):
        if key in images:
            return key
    raise RetinaError(
        f"{where}: there is no photograph {cell or '(empty)'} in images: correct the name or remove the row"
    )


def _values(row: Row, where: str) -> dict[str, Any]:
    if not row["patient"]:
        raise RetinaError(f"{where}, column patient is empty: give the patient")
    values = {title: read(row[title], f"{where}, column {title}") for title, read in READERS.items() if title in row}
    return {"patient": row["patient"]} | {title: value for title, value in values.items() if value is not None}


def _laterality(cell: str, where: str) -> str | None:
    if cell and cell.lower() not in LATERALITIES:
        raise RetinaError(f"{where} is {cell!r}: it takes L or R, left or right, OD or OS, or nothing")
    return LATERALITIES.get(cell.lower())


def _split(cell: str, where: str) -> str:
    if cell.lower() not in ROLES:
        raise RetinaError(f"{where} is {cell!r}: it takes training, validation or test")
    return ROLES[cell.lower()]


def _grade(cell: str, where: str) -> int | None:
    if cell and not re.fullmatch(r"[0-4]([.,]0*)?", cell):
        raise RetinaError(f"{where} is {cell!r}: it takes a grade of diabetic retinopathy from 0 to 4, or nothing")
    return int(cell[0]) if cell else None


READERS: dict[str, Callable[[str, str], Any]] = {
    "laterality": _laterality,
    "split": _split,
    "grade": _grade,
    "stage": lambda cell, where: cell or None,
}


def _check_splits(found: Mapping[str, Mapping[str, Any]], lines: Mapping[str, int], path: Path) -> None:
    """Reject a patient in two splits."""
    first: dict[str, str] = {}
    for key, values in found.items():
        other = first.setdefault(values["patient"], key)
        split, before = values.get("split"), found[other].get("split")
        if split != before:
            raise RetinaError(
                f"{path}, row {lines[key]}, column split: patient {values['patient']} is in {split}, but in row "
                f"{lines[other]} in {before}: give each patient to one split"
            )
