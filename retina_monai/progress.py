"""Progress of long tasks: a bar in a terminal, periodic lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

__all__ = ["EVERY", "progress"]

EVERY = 30.0  # seconds between lines outside a terminal; shorter tasks write no line
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} so far, {remaining} to go"


class _Lines:
    """Stream that writes each update of a bar as a line."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    items: Iterable[Any] | None = None, title: str = "", unit: str = "eye", total: int | None = None
) -> tqdm[Any]:
    """Create a ``tqdm`` over the items, or one for manual updates.

    If standard error is not a terminal, such as in a log file, a notebook or a queue system, a line is written every
    30 s.

    Args:
        items: items to iterate over, or ``None`` for manual updates.
        title: description of the task.
        unit: name of an item, in the singular.
        total: number of items, if ``items`` has no length.
    """
    if sys.stderr.isatty():
        return tqdm(items, title, total, leave=False, unit=unit)
    how: dict[str, Any] = {"mininterval": EVERY, "maxinterval": 2 * EVERY, "miniters": 1, "delay": EVERY}
    return tqdm(items, title, total, leave=False, unit=unit, file=_Lines(), bar_format=LINE, **how)
