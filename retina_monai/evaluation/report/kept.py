"""Finished sections of a report on disk, from which an interrupted evaluation is resumed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import retina_monai
from retina_monai.evaluation.report.section import Picture, Section, Table
from retina_monai.files import write_json

__all__ = ["as_plain", "code_digest", "key_of", "read_section", "write_section"]

FILE = "section.json"
PAGE = ("page.py", "report.py", "mlflow_run.py")
"""Files of this folder that only affect how figures are shown."""


def key_of(depends: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of everything on which a section depends."""
    return hashlib.sha256(json.dumps(as_plain(depends), sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """SHA-256 of this package's sources except those that write the page. Figures of other code are not reused."""
    digest = hashlib.sha256()
    root = Path(retina_monai.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if path.parent != Path(__file__).parent or path.name not in PAGE:
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def write_section(section: Section, folder: Path) -> None:
    """Write a finished section as ``section.json`` beside its pictures.

    Raises:
        RetinaError: the file cannot be written.
    """
    content = as_plain(
        {
            "key": section.key,
            "question": section.question,
            "light": section.light,
            "answer": section.answer,
            "figures": section.figures,
            "tables": [vars(table) for table in section.tables],
            "pictures": [vars(picture) | {"path": _relative(picture.path, folder)} for picture in section.pictures],
            "notes": section.notes,
        }
    )
    write_json(folder / FILE, content)


def read_section(folder: Path) -> Section | None:
    """The section in a folder; ``None`` if it is not finished or one of its pictures is missing."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        tables = [Table(**table) for table in content.pop("tables")]
        pictures = [Picture(**entry | {"path": folder / entry["path"]}) for entry in content.pop("pictures")]
        section = Section(**content, tables=tables, pictures=pictures)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return section if all(picture.path.is_file() for picture in pictures) else None


def as_plain(value: Any) -> Any:
    """``value`` as JSON data: NumPy values as Python ones, NaN and infinity as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): as_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _relative(path: Path, folder: Path) -> str:
    return str(Path(path).resolve().relative_to(folder.resolve()))
