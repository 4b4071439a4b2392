"""One switch parser for every entry point, and the mistake at the root of whatever wraps it."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest

from retina_monai.errors import RetinaError, join_first, one_line, parse_switch, root_error


@pytest.mark.parametrize("value", [True, "true", "True", " TRUE ", 1, "1", "yes", "Yes", np.True_])
def test_what_is_on(value: Any) -> None:
    assert parse_switch(value, "ema") is True


@pytest.mark.parametrize("value", [False, "false", "False", 0, "0", "no", "NO\n", np.False_])
def test_what_is_off(value: Any) -> None:
    assert parse_switch(value, "ema") is False


@pytest.mark.parametrize("value", [None, "", "maybe", "on", "off", 2, -1, 0.5, "truee", [True]])
def test_anything_else_is_refused_by_name(value: Any) -> None:
    message = f"resume is a switch and takes true, false, yes, no, 1 or 0, got {value!r}"
    with pytest.raises(RetinaError, match=f"^{re.escape(message)}$"):
        parse_switch(value, "resume")


def test_the_root_is_the_innermost_of_the_project() -> None:
    try:
        try:
            raise RetinaError("inner")
        except RetinaError as inner:
            raise RetinaError("outer") from inner
    except RetinaError as outer:
        assert str(root_error(outer)) == "inner"


def test_a_context_counts_as_a_cause() -> None:
    try:
        try:
            raise RetinaError("while handling this")
        finally:
            raise KeyError("another came up")
    except KeyError as error:
        assert str(root_error(error)) == "while handling this"


@pytest.mark.parametrize("error", [None, ValueError("plain")])
def test_no_root_where_there_is_none(error: Exception | None) -> None:
    assert root_error(error) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("an eye", "an eye"),
        ("Übersicht größe 眼.png", "Übersicht größe 眼.png"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[31mred\x85\u2028", "\\x1b[31mred\\x85\\u2028"),
        ("not UTF-8: \udce9", "not UTF-8: \\udce9"),
    ],
)
def test_a_mistake_is_one_line_whatever_a_file_is_called(text: str, line: str) -> None:
    assert one_line(text) == str(RetinaError(text)) == line
    assert len(line.splitlines()) == 1
    line.encode()
    assert str(pickle.loads(pickle.dumps(RetinaError(text)))) == line


def test_of_a_workers_mistake_the_sentence_is_kept() -> None:
    wrapped = (
        "Caught RetinaError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "a.py", line 1, in b\nretina_monai.errors.RetinaError: a.png is empty: copy it again\n'
    )
    assert str(RetinaError(wrapped)) == "a.png is empty: copy it again"
    assert str(RetinaError("a\nOtherError: b.png is empty")) == "a\\nOtherError: b.png is empty"


@pytest.mark.parametrize(
    ("count", "expected"), [(0, ""), (1, "0"), (3, "0; 1; 2"), (4, "0; 1; 2; and 1 more"), (9, "0; 1; 2; and 6 more")]
)
def test_the_first_are_named_and_the_rest_counted(count: int, expected: str) -> None:
    assert join_first([str(number) for number in range(count)], most=3) == expected
