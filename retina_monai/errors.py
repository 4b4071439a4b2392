"""What a user did wrong, in one sentence, and the switch parser that every entry point shares."""

from __future__ import annotations

from typing import Any

__all__ = ["RetinaError", "parse_switch"]

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}


class RetinaError(Exception):
    """A mistake that the user can mend: one sentence that names the file or the key and says what to do."""


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
