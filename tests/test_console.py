"""The root error is the last line that a user reads, whatever MONAI and Fire wrap around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retina_monai.__main__ import check_options

SENTENCE = "no_such_folder is not a directory: give one that holds a data set"

WRAPPED = f"""
from retina_monai import console
from retina_monai.errors import RetinaError

def fail():
    try:
        try:
            raise RetinaError({SENTENCE!r})
        except RetinaError as error:
            raise ValueError("inner wrapping") from error
    except ValueError as error:
        raise RuntimeError("Failed to evaluate ConfigExpression") from error
"""


def run(*arguments: str, debug: str | None = None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RETINA_DEBUG"}
    if debug is not None:
        environment["RETINA_DEBUG"] = debug
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=300)


def test_the_sentence_is_all_that_is_printed_and_the_status_is_1() -> None:
    result = run("-c", WRAPPED + "print('printed before')\nfail()")
    assert result.returncode == 1
    assert result.stderr == f"error: {SENTENCE}\n"
    assert result.stdout == "printed before\n"


def test_debugging_shows_the_traceback_and_ends_with_the_sentence() -> None:
    result = run("-c", WRAPPED + "fail()", debug="1")
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr and "inner wrapping" in result.stderr
    assert result.stderr.splitlines()[-1] == f"error: {SENTENCE}"


def test_debugging_is_off_for_any_other_value() -> None:
    assert "Traceback" not in run("-c", WRAPPED + "fail()", debug="0").stderr


def test_fire_lets_the_sentence_through() -> None:
    result = run("-c", WRAPPED + "import fire\nfire.Fire({'fail': fail}, command=['fail'])")
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, f"error: {SENTENCE}")


def test_other_errors_are_printed_as_ever() -> None:
    result = run("-c", "from retina_monai import console\n1 / 0")
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback") and result.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_monai_bundle_ends_with_the_sentence(run_module: Callable[..., Any], tmp_path: Path) -> None:
    config = {
        "imports": ["$import retina_monai", "$from retina_monai import console"],
        "resume": "perhaps",
        "switch": "$retina_monai.errors.parse_switch(@resume, 'resume')",
        "run": ["$print(@switch)"],
    }
    (tmp_path / "train.json").write_text(json.dumps(config))
    result = run_module("monai.bundle", "run", "--config_file", "train.json", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        "error: resume is a switch and takes true, false, yes, no, 1 or 0, got 'perhaps'"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["phantom", "DIR", "--count", "1", "--sede", "5"], "phantom has no option --sede: did you mean --seed?"),
        (["phantom", "DIR", "--sede=5"], "phantom has no option --sede: did you mean --seed?"),
        (
            ["synthesize", "two_stage", "--blend", "1", "--output_dir", "DIR"],
            "synthesize has no option --blend: see python -m retina_monai synthesize --help",
        ),
    ],
)
def test_an_option_that_a_verb_does_not_have_is_refused_before_anything_is_made(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    result = run("-m", "retina_monai", *arguments, folder=tmp_path)
    assert (result.returncode, result.stderr) == (1, f"error: {sentence}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["phantom", "DIR", "--count", "-1"],
        ["prepare", "DIR", "--skip-unreadable=true", "--nooverwrite"],
        ["synthesize", "--help"],
        ["prepare", "DIR", "--", "--trace"],
        ["nothing", "--sede", "5"],
        [],
    ],
)
def test_options_that_a_verb_has_and_those_of_fire_are_taken(arguments: list[str]) -> None:
    check_options(arguments)


def test_a_mistake_met_by_a_data_loaders_worker_is_still_one_sentence() -> None:
    code = f"""
from torch.utils.data import DataLoader
from retina_monai import console
from retina_monai.errors import RetinaError

class Eyes:
    def __len__(self):
        return 1
    def __getitem__(self, index):
        raise RetinaError({SENTENCE!r})

for eye in DataLoader(Eyes(), num_workers=1):
    pass
"""
    result = run("-c", code)
    assert (result.returncode, result.stderr) == (1, f"error: {SENTENCE}\n")
