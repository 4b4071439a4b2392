from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from retina_monai.errors import RetinaError
from retina_monai.files import make_folder, replacing, write_json, write_text


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "datalist.json", {"training": [{"image": "images/ü.png"}]})
    assert json.loads((tmp_path / "datalist.json").read_text()) == {"training": [{"image": "images/ü.png"}]}


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "datalist.json"
    write_json(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt
    assert [path] == list(tmp_path.iterdir())
    assert json.loads(path.read_text()) == "old"


def test_what_is_written_has_the_permissions_of_any_other_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_json(tmp_path / "ours.json", {})
        (tmp_path / "other.json").touch()
    finally:
        os.umask(mask)
    assert (tmp_path / "ours.json").stat().st_mode == (tmp_path / "other.json").stat().st_mode


def test_json_has_null_for_nan_and_no_word_for_infinity(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"rows": [{"low": math.nan, "mean": 1.5}]})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"rows": [{"low": None, "mean": 1.5}]}
    with pytest.raises(ValueError):
        write_json(path, {"psnr": math.inf})
    assert "rows" in json.loads(path.read_text())


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "table.md", "old")

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RetinaError, match=r"table.md cannot be written \(No space left on device\)"):
        write_text(tmp_path / "table.md", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]
    assert (tmp_path / "table.md").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(RetinaError, match="file/folder cannot be made"):
        make_folder(tmp_path / "file" / "folder")
