"""Write ``config.json``: settings of a training, changes on resumption, and formulas of its metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from retina_monai.errors import join_first
from retina_monai.files import write_json

__all__ = ["ConfigFile"]

logger = logging.getLogger("retina_monai")
RECORD = "record"
PLACES = {"bundle_root", "dataset_dir", "output_dir", "cache_dir", "phantom_dir"}
"""Keys of folders. They are not compared, because the fingerprint identifies the data."""
OTHERS = {RECORD, "_meta_", "resume", "mlflow", "tracking_uri", "tracking_required"}
"""Keys that do not affect the training."""
MOST = 20  # settings in a warning


class ConfigFile:
    """Write the config of a training, and record which settings changed when it is resumed.

    The file is the config as run, with an additional key ``record``. It holds ``dataset_fingerprint``; ``formulas``,
    the components of composite metrics (:class:`retina_monai.metrics.Selection`); and ``resumed``, a list of
    ``after_epoch`` and ``changed``, which maps each changed setting to its former and its new value. The keys of nested
    settings are joined by ``#``, as on the command line.

    Args:
        output_dir: output folder of the training.
        config: the config as run.
        fingerprint: fingerprint of the data set.
    """

    def __init__(self, output_dir: str | Path, config: Mapping[str, Any], fingerprint: str = "") -> None:
        self.path = Path(output_dir) / "config.json"
        self.config = json.loads(json.dumps({key: config[key] for key in config if key != RECORD}, default=str))
        self.record: dict[str, Any] = {"dataset_fingerprint": fingerprint}

    @property
    def resumed(self) -> dict[int, str]:
        """Epoch after which the training was resumed -> description of the changed settings."""
        return {entry["after_epoch"]: "; ".join(_texts(entry)) for entry in self.record.get("resumed", [])}

    def start(self, engine: Engine) -> None:
        """Write the file once checkpoints are loaded; a training without epochs left keeps its file."""
        state: Any = engine.state
        former = self._read() if state.epoch else {}
        if former and state.epoch >= state.max_epochs:
            self.record = former.get(RECORD, {})
            return
        if former:
            self._compare(former, state.epoch)
        self.write()

    def note(self, formulas: Mapping[str, str]) -> bool:
        """Record the formulas of metrics, and return whether they changed."""
        changed = bool(formulas) and self.record.get("formulas") != dict(formulas)
        if changed:
            self.record["formulas"] = dict(formulas)
            self.write()
        return changed

    def write(self) -> None:
        write_json(self.path, {**self.config, RECORD: self.record})

    def _read(self) -> dict[str, Any]:
        try:
            former = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # trainings of earlier versions have no such file
            return {}
        return former if isinstance(former, dict) else {}

    def _compare(self, former: Mapping[str, Any], epoch: int) -> None:
        """Compare with the settings of the last finished epoch; resumptions that finished no epoch are ignored."""
        earlier = [dict(entry) for entry in former.get(RECORD, {}).get("resumed", [])]
        before, now = _settings(former), _settings({**self.config, RECORD: self.record})
        before["dataset_fingerprint"] = before["dataset_fingerprint"] or now["dataset_fingerprint"]  # not yet recorded
        if earlier and earlier[-1]["after_epoch"] == epoch:
            before |= {key: was for key, (was, _) in earlier.pop()["changed"].items()}
        keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if keys:
            earlier.append({"after_epoch": epoch, "changed": {key: [before.get(key), now.get(key)] for key in keys}})
            texts = join_first(_texts(earlier[-1]), MOST)
            logger.warning("resumed after epoch %d with other settings: %s", epoch, texts)
        if earlier:
            self.record["resumed"] = earlier


def _texts(entry: Mapping[str, Any]) -> list[str]:
    return [f"{key} {now} (was {was})" for key, (was, now) in entry["changed"].items()]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values and lists of them, by path."""
    found = _flat({key: value for key, value in config.items() if key not in PLACES | OTHERS})
    found["bundle version"] = config.get("_meta_", {}).get("version")
    found["dataset_fingerprint"] = config.get(RECORD, {}).get("dataset_fingerprint")
    return found


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict | list):
        return {path: value}
    if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        leaves |= _flat(part, f"{path}#{key}" if path else str(key))
    return leaves
