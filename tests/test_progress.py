"""Progress where there is no terminal: a line for what takes long, none for what does not."""

from __future__ import annotations

import pytest

from retina_monai import progress as module
from retina_monai.progress import progress


def test_long_work_writes_whole_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    assert list(progress(range(3), "privacy: held-out eyes")) == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("privacy: held-out eyes: 2 of 3 eyes, 00:00 so far") for line in lines)
    assert all("\r" not in line and line == line.strip() and line for line in lines)


def test_short_work_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(title="usefulness: training", unit="step", total=2) as bar:
        bar.update()
    assert list(progress([], "nothing")) == []
    assert capsys.readouterr().err == ""


def test_what_is_being_done_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(title="evaluating", unit="question", total=5) as bar:
        bar.set_description_str("evaluating privacy")
        assert capsys.readouterr().err.startswith("evaluating privacy: 0 of 5 questions, ")
