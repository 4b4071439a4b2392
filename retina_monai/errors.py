"""What a user did wrong, in one sentence, and the switch parser that every entry point shares."""

from __future__ import annotations

from typing import Any

__all__ = ["RetinaError", "parse_switch", "root_error"]

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}


class RetinaError(Exception):
    """A mistake that the user can mend: one sentence that names the file or the key and says what to do."""


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
