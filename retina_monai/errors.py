"""The error for invalid user input, and the switch parser that all entry points share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["RetinaError", "counted", "join_first", "one_line", "parse_switch", "root_error"]

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}


class RetinaError(Exception):
    """An error that the user can fix: one sentence that names the file or key and says what to do.

    The text is one line, even if file names contain line breaks. If torch passes on the traceback of a data loader's
    worker, only the sentence is kept.
    """

    def __init__(self, text: str = "") -> None:
        if text.startswith("Caught ") and "\nOriginal Traceback" in text:
            text = re.split(r"\n[\w.]*Error: ", text)[-1].strip()
        super().__init__(one_line(text))


def one_line(text: str) -> str:
    r"""Escape line breaks and unprintable characters of a text as Python does.

    Example:
        >>> print(one_line("an\neye.png"))
        an\neye.png
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def counted(number: int, noun: str, singular: str = "", plural: str = "") -> str:
    """Format a number with its noun and an optional predicate, in the singular if the number is 1.

    Example:
        >>> counted(1, "eye"), counted(1200, "synthetic eye", "was left out", "were left out")
        ('1 eye', '1,200 synthetic eyes were left out')
    """
    return f"{number:,} {noun}{'s' * (number != 1)} {singular if number == 1 else plural}".rstrip()


def join_first(texts: Sequence[str], most: int = 10) -> str:
    """Join the first of several texts by semicolons, followed by the number of the others.

    Example:
        >>> join_first(["a", "b", "c"], most=2)
        'a; b; and 1 more'
    """
    rest = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return "; ".join([*texts[:most], *rest])


def root_error(error: BaseException | None) -> RetinaError | None:
    """The innermost ``RetinaError`` of an exception, its causes and its contexts; ``None`` if there is none."""
    found = None
    while error is not None:
        if isinstance(error, RetinaError):
            found = error
        error = error.__cause__ or error.__context__
    return found


def parse_switch(value: Any, name: str) -> bool:
    """Parse a switch given as a Python value or as text: true, false, 0, 1, yes or no, in any case.

    Fire may pass the text ``'false'``, which is truthy in Python.

    Args:
        value: value given by the user.
        name: key of the switch, for the error message.

    Raises:
        RetinaError: if ``value`` is not one of the accepted words.
    """
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise RetinaError(f"{name} is a switch and takes true, false, yes, no, 1 or 0, got {value!r}")
