"""What a user did wrong, in one sentence, and the switch parser that every entry point shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["RetinaError", "counted", "join_first", "one_line", "parse_switch", "root_error"]

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}


class RetinaError(Exception):
    """A mistake that the user can mend: one sentence that names the file or the key and says what to do.

    Its text is one line, whatever the names of files in it hold. Of a mistake in a data loader's worker, which torch
    hands on inside that worker's traceback, it is the sentence alone.
    """

    def __init__(self, text: str = "") -> None:
        if text.startswith("Caught ") and "\nOriginal Traceback" in text:
            text = re.split(r"\n[\w.]*Error: ", text)[-1].strip()
        super().__init__(one_line(text))


def one_line(text: str) -> str:
    r"""``text`` with what would break its line, or cannot be printed, written as Python escapes it.

    Example:
        >>> print(one_line("an\neye.png"))
        an\neye.png
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def counted(number: int, noun: str, singular: str = "", plural: str = "") -> str:
    """A number, its noun and what is said of it, in the singular if the number is 1.

    Example:
        >>> counted(1, "eye"), counted(1200, "synthetic eye", "was left out", "were left out")
        ('1 eye', '1,200 synthetic eyes were left out')
    """
    return f"{number:,} {noun}{'s' * (number != 1)} {singular if number == 1 else plural}".rstrip()


def join_first(texts: Sequence[str], most: int = 10) -> str:
    """The first of several texts, parted by semicolons, and how many more there are.

    Example:
        >>> join_first(["a", "b", "c"], most=2)
        'a; b; and 1 more'
    """
    rest = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return "; ".join([*texts[:most], *rest])


def root_error(error: BaseException | None) -> RetinaError | None:
    """The innermost ``RetinaError`` among an exception, its causes and contexts; ``None`` if there is none."""
    found = None
    while error is not None:
        if isinstance(error, RetinaError):
            found = error
        error = error.__cause__ or error.__context__
    return found


def parse_switch(value: Any, name: str) -> bool:
    """Read a switch as Python or as text: true, false, 0, 1, yes or no, in any case.

    Fire hands over the text ``'false'``, which is true in Python; nothing is guessed here.

    Args:
        value: what the user gave.
        name: the switch's key, for the message.

    Raises:
        RetinaError: ``value`` is none of the accepted words.
    """
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise RetinaError(f"{name} is a switch and takes true, false, yes, no, 1 or 0, not {value!r}")
