"""Progress of long work: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

__all__ = ["EVERY", "progress"]

EVERY = 30.0  # seconds between lines where there is no terminal; shorter work writes none
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} so far, {remaining} to go"


class _Lines:
    """What a bar writes over and over, as lines."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    items: Iterable[Any] | None = None, title: str = "", unit: str = "eye", total: int | None = None
) -> tqdm[Any]:
    """A ``tqdm`` over the items, or one to be updated.

    In a log file, a notebook or a queue system, where standard error is no terminal, a line is written every 30 s.

    Args:
        items: to go through.
        title: what is being done.
        unit: what is counted, in the singular.
        total: their number, where ``items`` does not have one.
    """
    if sys.stderr.isatty():
        return tqdm(items, title, total, leave=False, unit=unit)
    how: dict[str, Any] = {"mininterval": EVERY, "maxinterval": 2 * EVERY, "miniters": 1, "delay": EVERY}
    return tqdm(items, title, total, leave=False, unit=unit, file=_Lines(), bar_format=LINE, **how)
