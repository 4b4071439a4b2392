"""The config that MONAI is evaluating, which it does not hand to the expressions in it: found on the stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from retina_monai.settings import CHOICES, RULES

__all__ = ["config_folders", "config_in_use", "given", "parser_in_use"]


def config_in_use() -> dict[str, Any]:
    """The config that is being evaluated, overrides included, as plain data; empty outside of an evaluation.

    A setting that is given as an expression (``$2 * 0.0001``) or as a reference is there with its value.
    """
    parser = parser_in_use()
    if parser is None:
        return {}
    values = {key: parser.get_parsed_content(key) for key in (*RULES, *CHOICES) if key in parser}
    return {**deepcopy(parser.get()), **values}


def parser_in_use() -> ConfigParser | None:
    """The parser that is evaluating a config; ``None`` outside of an evaluation."""
    parsers = (names.get("self") for names in _callers())
    return next((parser for parser in parsers if isinstance(parser, ConfigParser)), None)


def config_folders() -> Iterator[Path]:
    """Bundle folders of the config files in use: of a MONAI workflow, or of a verb such as ``ckpt_export``."""
    for names in _callers():
        if isinstance(workflow := names.get("self"), ConfigWorkflow):
            yield Path(workflow.config_root_path).resolve().parent
        if files := names.get("config_file_"):
            first = files if isinstance(files, (str, Path)) else files[0]
            yield Path(first).resolve().parent.parent


def given() -> tuple[list[Any], list[str]]:
    """What ``monai.bundle`` was given, as far as it is known: config files and overrides, and the ids to run."""
    sources: list[Any] = []
    runs: list[str] = []
    for names in _callers():
        if isinstance(workflow := names.get("self"), ConfigWorkflow):
            runs += [workflow.init_id, workflow.run_id, workflow.final_id]
        if "workflow_class" in names:
            sources += [ConfigParser.load_config_files(names["config_file"]), names["_args"]]
    return sources, runs


def _callers() -> Iterator[dict[str, Any]]:
    """Local names of the functions on the stack, innermost first."""
    frame: FrameType | None = sys._getframe(1).f_back
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back
