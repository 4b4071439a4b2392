"""The config that MONAI is evaluating: found once per config on the call stack, and passed on as ``@in_use``."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from retina_monai.bundle.config_keys import config_rules
from retina_monai.settings import Number, Words

__all__ = ["ConfigInUse", "config_in_use"]


@dataclass(frozen=True)
class ConfigInUse:
    """A config while it is evaluated.

    Attributes:
        parser: parser that evaluates the config.
        folders: bundle folders of the config files.
        given: config files and overrides as passed to ``monai.bundle run``.
        workflows: workflows that run the config.
    """

    parser: ConfigParser
    folders: tuple[Path, ...] = ()
    given: tuple[tuple[Any, Any], ...] = ()
    workflows: tuple[ConfigWorkflow, ...] = ()

    @property
    def sources(self) -> list[Any]:
        """Contents of the config files, and overrides, as given."""
        return [part for files, overrides in self.given for part in (ConfigParser.load_config_files(files), overrides)]

    @property
    def runs(self) -> list[str]:
        """Ids that the workflows run."""
        return [id for flow in self.workflows for id in (flow.init_id, flow.run_id, flow.final_id)]

    def settings(self) -> dict[str, Any]:
        """The config as plain data, including overrides.

        Settings given as an expression (``$2 * 0.0001``) or a reference are replaced by their values.
        """
        rules = config_rules(self.parser)
        keys = [key for key, rule in rules.items() if isinstance(rule, Number | Words) and key in self.parser]
        return {**deepcopy(self.parser.get()), **{key: self.parser.get_parsed_content(key) for key in keys}}


def config_in_use() -> ConfigInUse:
    """Find the config that is being evaluated; ``in_use`` of every config.

    MONAI passes an expression the values that it refers to, but neither the parser nor the path of the config. The
    checks need both: unused keys are found in the whole config, and the path locates the bundle. Both are local
    variables of the MONAI functions on the call stack: of a ``ConfigParser``, of a workflow, or of a command such as
    ``ckpt_export``. This is the only place that reads them.

    Raises:
        RuntimeError: no config is being evaluated.
    """
    parsers, folders, given, workflows = [], [], [], []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:  # innermost first
        names, frame = frame.f_locals, frame.f_back
        if isinstance(own := names.get("self"), ConfigParser):
            parsers.append(own)
        if isinstance(own, ConfigWorkflow):
            workflows.append(own)
            folders.append(Path(own.config_root_path).resolve().parent)
        if files := names.get("config_file_"):
            folders.append(Path(files if isinstance(files, str | Path) else files[0]).resolve().parent.parent)
        if "workflow_class" in names:
            given.append((names["config_file"], names["_args"]))
    if not parsers:
        raise RuntimeError("config_in_use must be called from an expression of a config: no config is being evaluated")
    return ConfigInUse(parsers[0], tuple(dict.fromkeys(folders)), tuple(given), tuple(dict.fromkeys(workflows)))
