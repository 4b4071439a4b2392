"""A resumed training whose settings are not those of its first epochs says so."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retina_monai.handlers.config_file import ConfigFile

CONFIG = {
    "_meta_": {"version": "0.1.0", "changelog": {}},
    "output_dir": "$run_folder()",
    "dataset_dir": "eyes",
    "resume": False,
    "learning_rate": 0.1,
    "betas": [0.5, 0.9],
    "max_epochs": 4,
    "train": {"handlers": [{"_target_": "Stop", "every": 50}]},
}


def begin(folder: Path, epoch: int, changes: dict[str, Any] | None = None, fingerprint: str = "f00") -> ConfigFile:
    """Start a training, resumed after ``epoch`` epochs."""
    config = CONFIG | (changes or {})
    file = ConfigFile(folder, config, fingerprint)
    file.start(SimpleNamespace(state=SimpleNamespace(epoch=epoch, max_epochs=config["max_epochs"])))
    return file


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


def test_a_training_that_is_not_resumed_writes_its_config(tmp_path: Path) -> None:
    begin(tmp_path, 0, {"learning_rate": 0.7})
    begin(tmp_path, 0, read(tmp_path) | {"learning_rate": 0.1})
    assert read(tmp_path) == {**CONFIG, "record": {"dataset_fingerprint": "f00"}}


@pytest.mark.parametrize(
    ("changes", "fingerprint", "text"),
    [
        ({"learning_rate": 0.2}, "f00", "learning_rate 0.2 (was 0.1)"),
        ({"max_epochs": 9}, "f00", "max_epochs 9 (was 4)"),
        ({"betas": [0.5, 0.99]}, "f00", "betas [0.5, 0.99] (was [0.5, 0.9])"),
        ({"train": {"handlers": [{"_target_": "Stop", "every": 1}]}}, "f00", "train#handlers#0#every 1 (was 50)"),
        ({"_meta_": {"version": "0.2.0"}}, "f00", "bundle version 0.2.0 (was 0.1.0)"),
        ({"new": True}, "f00", "new True (was None)"),
        ({}, "f01", "dataset_fingerprint f01 (was f00)"),
    ],
)
def test_other_settings_are_in_the_log_and_in_the_file(
    tmp_path: Path, changes: dict[str, Any], fingerprint: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin(tmp_path, 0)
    file = begin(tmp_path, 2, changes, fingerprint)
    assert file.resumed == {2: text}
    assert f"resumed after epoch 2 with other settings: {text}" in caplog.text
    assert read(tmp_path)["record"]["resumed"][0]["after_epoch"] == 2
    assert begin(tmp_path, 3, changes, fingerprint).resumed == {2: text}, "nothing changed after epoch 3"


@pytest.mark.parametrize(
    "changes", [{}, {"resume": "true", "output_dir": "elsewhere", "dataset_dir": "/the/same/eyes", "mlflow": False}]
)
def test_the_same_settings_are_no_news(
    tmp_path: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    begin(tmp_path, 0)
    assert begin(tmp_path, 2, changes).resumed == {}
    assert "other settings" not in caplog.text


def test_a_resumption_that_finished_no_epoch_does_not_count(tmp_path: Path) -> None:
    begin(tmp_path, 0)
    begin(tmp_path, 2, {"learning_rate": 9})
    assert begin(tmp_path, 2, {"learning_rate": 0.3}).resumed == {2: "learning_rate 0.3 (was 0.1)"}
    assert begin(tmp_path, 2).resumed == {}
    assert begin(tmp_path, 3, {"betas": [0, 0]}).resumed == {3: "betas [0, 0] (was [0.5, 0.9])"}


def test_where_no_epoch_is_left_the_file_stays_as_it_is(tmp_path: Path) -> None:
    begin(tmp_path, 0)
    before = (tmp_path / "config.json").read_bytes()
    begin(tmp_path, 4, {"learning_rate": 9})
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_file_of_an_earlier_version_or_a_broken_one_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert begin(tmp_path, 2).resumed == {}
    (tmp_path / "config.json").write_text('{"learning')
    assert begin(tmp_path, 2).resumed == {}
    assert read(tmp_path)["learning_rate"] == 0.1


def test_what_metrics_consist_of_is_noted_once(tmp_path: Path) -> None:
    file = begin(tmp_path, 0)
    assert [file.note(formulas) for formulas in ({}, {"selection": "a"}, {"selection": "a"}, {"selection": "b"})] == [
        False,
        True,
        False,
        True,
    ]
    assert read(tmp_path)["record"]["formulas"] == {"selection": "b"}
