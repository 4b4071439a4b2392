"""``prepare`` and ``list``, as functions and on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monai.data import load_decathlon_datalist
from PIL import Image

from retina_monai.data.layouts import LAYOUTS, find_datalist, fingerprint
from retina_monai.data.prepare import list_layouts, prepare
from retina_monai.errors import RetinaError

ROOT = Path(__file__).resolve().parents[2]


def make_set(folder: Path, width: int = 16) -> Path:
    folder.mkdir(parents=True)
    for child in ("01", "02", "11"):
        for eye in "LR":
            Image.fromarray(np.full((12, width, 3), 90, dtype=np.uint8)).save(folder / f"Image_{child}{eye}.jpg")
            Image.fromarray(np.eye(12, width, dtype=bool)).save(folder / f"Image_{child}{eye}_1stHO.png")
    return folder


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "retina_monai", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def test_prepare_says_what_was_found(tmp_path: Path) -> None:
    text = prepare([make_set(tmp_path / "set")], tmp_path / "datalist.json")
    for line in (
        "CHASE_DB1: 6 eyes of 3 patients",
        "splits         2 training, 2 validation, 2 test",
        "sizes          16 x 12 (6)",
        "field of view  6 computed from the photograph",
        "laterality     3 left, 3 right",
        "missing        22 of the 28 of the complete set",
    ):
        assert line in text
    assert str(tmp_path / "datalist.json") in text


def test_the_datalist_is_what_monai_and_the_library_read(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    prepare([folder], tmp_path / "lists" / "datalist.json")
    found = find_datalist(folder)
    assert find_datalist(tmp_path / "lists") == found
    for split, items in found.items():
        read = load_decathlon_datalist(tmp_path / "lists" / "datalist.json", data_list_key=split)
        assert [Path(item["image"]) for item in read] == [Path(item["image"]) for item in items]
        assert [Path(item["vessel"]) for item in read] == [Path(item["vessel"]) for item in items]
        assert [item["patient"] for item in read] == [item["patient"] for item in items]
    written = json.loads((tmp_path / "lists" / "datalist.json").read_text())
    assert written["fingerprint"] == fingerprint(found)
    assert not any(os.path.isabs(item["image"]) for item in written["training"])


def test_an_edited_split_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "datalist.json"
    prepare([make_set(tmp_path / "set")], path)
    written = json.loads(path.read_text())
    written["test"], written["training"] = written["training"], written["test"]
    path.write_text(json.dumps(written))
    assert {item["patient"] for item in find_datalist(path)["training"]} == {"CHASE_DB1/11"}


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    folder, path = make_set(tmp_path / "set"), tmp_path / "datalist.json"
    path.write_text("mine")
    with pytest.raises(RetinaError, match=r"datalist\.json is there already"):
        prepare([folder], path)
    assert path.read_text() == "mine"
    prepare([folder], path, overwrite=True)
    assert json.loads(path.read_text())["name"] == "CHASE_DB1"


def test_nothing_is_written_when_a_set_is_faulty(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    (folder / "Image_01L_1stHO.png").unlink()
    with pytest.raises(RetinaError, match=r"Image_01L\.jpg is a photograph without its vessel map"):
        prepare([folder], tmp_path / "datalist.json")
    with pytest.raises(RetinaError, match="name one or several"):
        prepare([], tmp_path / "datalist.json")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_list_has_every_layout_with_link_and_terms() -> None:
    text = list_layouts()
    for layout in LAYOUTS:
        assert all(part in text for part in (layout.name, layout.about, layout.tree, layout.link, layout.terms))


def test_the_command_line(tmp_path: Path) -> None:
    make_set(tmp_path / "a")
    done = run("prepare", "a", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CHASE_DB1: 6 eyes of 3 patients" in done.stdout
    assert len(find_datalist(tmp_path / "datalist.json")["test"]) == 2
    assert run("prepare", "a", "--output", "b/c.json", folder=tmp_path).returncode == 0
    assert run("prepare", "a", "--overwrite", "true", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent"], "absent does not exist"),
        (["a"], "datalist.json is there already"),
        (["a", "--overwrite", "perhaps"], "overwrite is a switch"),
        (["empty", "--output", "b.json"], "empty is laid out as none of the data sets that are known"),
        ([], "name one or several"),
    ],
)
def test_a_mistake_is_the_last_line_and_changes_nothing(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    make_set(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "datalist.json").write_text("mine")
    if arguments == ["absent"] or not arguments:
        arguments = [*arguments, "--output", "b.json"]
    done = run("prepare", *arguments, folder=tmp_path, RETINA_DEBUG="0")
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (tmp_path / "datalist.json").read_text() == "mine"
    assert not (tmp_path / "b.json").exists()


def test_the_list_on_the_command_line_is_quick(tmp_path: Path) -> None:
    done = run("list", folder=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert "CHASE_DB1" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "fire" in imported
    assert not imported & {"torch", "monai", "itk", "nibabel", "skimage", "scipy"}


def test_real_sets_together(real_set: Callable[[str], Path], tmp_path: Path) -> None:
    folders = [real_set(name) for name in ("CHASE_DB1", "HRF", "FIVES")]
    text = prepare(folders, tmp_path / "datalist.json")
    assert "FIVES: 20 eyes of 19 patients" in text
    assert "missing        25 of the 45 of the complete set" in text
    assert find_datalist(tmp_path) == find_datalist(folders)
