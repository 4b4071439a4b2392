"""One switch parser for every entry point, and the mistake at the root of whatever wraps it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from retina_monai.errors import RetinaError, parse_switch, root_error


@pytest.mark.parametrize("value", [True, "true", "True", " TRUE ", 1, "1", "yes", "Yes", np.True_])
def test_what_is_on(value: Any) -> None:
    assert parse_switch(value, "ema") is True


@pytest.mark.parametrize("value", [False, "false", "False", 0, "0", "no", "NO\n", np.False_])
def test_what_is_off(value: Any) -> None:
    assert parse_switch(value, "ema") is False


@pytest.mark.parametrize("value", [None, "", "maybe", "on", "off", 2, -1, 0.5, "truee", [True]])
def test_anything_else_is_refused_by_name(value: Any) -> None:
    message = f"resume is a switch and takes true, false, yes, no, 1 or 0, not {value!r}"
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
