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
from miniatures import make_drive_unlabelled, make_idrid, make_own, save_mask
from monai.data import load_decathlon_datalist
from PIL import Image

from retina_monai.data.export.prepare import describe_datalist, list_layouts, prepare
from retina_monai.data.listing.layouts import LAYOUTS, find_datalist, fingerprint
from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms
from retina_monai.errors import RetinaError

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]


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
        "vessel maps    6 given",
        "field of view  6 computed from the photograph",
        "laterality     3 left, 3 right",
        "lesions        none",
        "grades         6 unknown",
        "more masks     none",
        "missing        22 of the 28 of the complete set",
    ):
        assert line in text
    assert str(tmp_path / "datalist.json") in text


def test_prepare_says_what_has_no_vessel_map_and_counts_lesions_and_grades(tmp_path: Path) -> None:
    drive, idrid, own = make_drive_unlabelled(tmp_path / "d"), make_idrid(tmp_path / "i"), make_own(tmp_path / "own")
    text = prepare([drive, idrid, own], tmp_path / "datalist.json")
    about = {part.partition(":")[0]: part for part in text.split("\n\n")}
    for name, lines in {
        "DRIVE": (
            "splits         14 training, 2 validation, 24 test (20 without a vessel map)",
            "vessel maps    20 given, 20 photographs have none",
        ),
        "IDRiD": (
            "splits         9 training (2 without a vessel map), 1 validation, 5 test (1 without a vessel map)",
            "lesions        4 microaneurysms (11 eyes without), 7 haemorrhages (8 eyes without), 4 hard_exudates",
            "grades         15 unknown",
            "more masks     15 disc",
        ),
        "own": (
            "laterality     3 left, 2 right, 1 unknown",
            "lesions        3 haemorrhages\n",
            "grades         1 of grade 0, 1 of grade 1, 1 of grade 2, 1 of grade 3, 1 of grade 4, 1 unknown",
        ),
    }.items():
        assert all(line in about[name] for line in lines), about[name]


def test_the_datalist_is_what_monai_and_the_library_read(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    prepare([folder], tmp_path / "lists" / "datalist.json")
    found = find_datalist(folder)
    assert find_datalist(tmp_path / "lists") == found
    for split, items in found.items():
        read = load_decathlon_datalist(tmp_path / "lists" / "datalist.json", data_list_key=split)
        assert [Path(item["image"]) for item in read] == [Path(item["image"]) for item in items]
        assert [Path(item["vessel"]) for item in read] == [Path(item["vessel"]) for item in items]
        assert [Path(item["label"]) for item in read] == [Path(item["vessel"]) for item in items]
        assert [item["patient"] for item in read] == [item["patient"] for item in items]
    written = json.loads((tmp_path / "lists" / "datalist.json").read_text())
    assert written["fingerprint"] == fingerprint(found)
    assert not any(os.path.isabs(item["image"]) for item in written["training"])


@pytest.mark.parametrize(
    "make", [make_own, make_drive_unlabelled, make_idrid, lambda path: write_phantoms(path, 5, 32, 0)]
)
@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_every_split_loads_with_monai(tmp_path: Path, make: Callable[[Path], Path], split: str) -> None:
    folder = make(tmp_path / "a set")
    prepare([folder], tmp_path / "lists" / "datalist.json")
    items = load_decathlon_datalist(tmp_path / "lists" / "datalist.json", is_segmentation=True, data_list_key=split)
    found = find_datalist(folder)[split]
    assert len(items) == len(found) > 0
    for item, real in zip(items, found, strict=True):
        assert os.path.isabs(item["image"])
        assert os.path.samefile(item["image"], real["image"])
        assert ("label" in item) is ("vessel" in real)
        assert "label" not in item or os.path.samefile(item["label"], real["vessel"])
    assert find_datalist(tmp_path / "lists") == find_datalist(folder)
    assert not any("label" in item for item in found)


def test_a_datalist_of_a_monai_user(tmp_path: Path) -> None:
    """``image`` and ``label``, as in MONAI's examples, with a patient each: the label is the vessel map."""
    folder = make_set(tmp_path / "set")
    eyes = [{"image": f"set/Image_{n}L.jpg", "label": f"set/Image_{n}L_1stHO.png", "patient": n} for n in ("01", "11")]
    content = {"labels": {"0": "background", "1": "vessel"}, "training": eyes[:1], "test": eyes[1:]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (item,) = find_datalist(tmp_path / "dataset.json")["test"]
    assert item["vessel"] == str(folder / "Image_11L_1stHO.png")
    assert "label" not in item


def test_broken_and_senseless_pictures_are_refused_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = make_set(tmp_path / "set"), tmp_path / "datalist.json"
    save_mask(folder / "Image_01L_1stHO.png", np.zeros((12, 16), dtype=bool), "1")
    (folder / "Image_11R.jpg").write_bytes((folder / "Image_11R.jpg").read_bytes()[:-20])
    with pytest.raises(RetinaError, match=r"Image_11R\.jpg"):
        prepare([folder], path)
    assert not path.exists()
    text = prepare([folder], path, skip_unreadable=True)
    assert "4 eyes of 3 patients" in text
    assert "Image_01L_1stHO.png" in caplog.text
    assert "Image_11R.jpg" in caplog.text
    kept = {item["name"] for items in find_datalist(path).values() for item in items}
    assert kept == {"CHASE_DB1_01R", "CHASE_DB1_02L", "CHASE_DB1_02R", "CHASE_DB1_11L"}


def test_for_nnunet(tmp_path: Path) -> None:
    folder, target = make_set(tmp_path / "set"), tmp_path / "raw" / "Dataset012_CHASE_DB1"
    text = prepare([folder], tmp_path / "raw", format="nnunet", dataset_id=12)
    assert "CHASE_DB1: 6 eyes of 3 patients" in text
    assert f"{target} is a raw data set of nnU-Net" in text
    assert "nnUNetv2_plan_and_preprocess -d 12, then copy" in text
    assert json.loads((target / "dataset.json").read_text())["numTraining"] == 4
    with pytest.raises(RetinaError, match=r"Dataset012_CHASE_DB1 is there already"):
        prepare([folder], tmp_path / "raw", format="nnunet", dataset_id=12)
    with pytest.raises(RetinaError, match=r"format is 'nifti': it takes datalist or nnunet"):
        prepare([folder], tmp_path / "raw", format="nifti")


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
        parts = (layout.name, layout.about, layout.tree, layout.link, layout.terms, *layout.details)
        assert all(part in text for part in parts)
    assert {"DRIVE", "STARE", "IDRiD", "RetinaBloodVessel", "HRF", "FIVES"} < {layout.name for layout in LAYOUTS}


def test_the_command_line(run_module: Command, tmp_path: Path) -> None:
    make_set(tmp_path / "a")
    done = run_module("retina_monai", "prepare", "a", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "CHASE_DB1: 6 eyes of 3 patients" in done.stdout
    assert len(find_datalist(tmp_path / "datalist.json")["test"]) == 2
    options = ("--format", "nnunet", "--dataset_id", "3", "--skip_unreadable", "yes")
    done = run_module("retina_monai", "prepare", "a", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "nnUNet_raw" / "Dataset003_CHASE_DB1" / "imagesTs" / "CHASE_DB1_11L_0000.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a", "absent"], "absent does not exist"),
        (["a"], "datalist.json is there already"),
        (["a", "--output", "a"], "output is a: name the file of the datalist, which ends in .json"),
        (["a", "--skip_unreadable", "perhaps"], "skip_unreadable is a switch"),
        (["a", "--format", "nifti"], "format is 'nifti': it takes datalist or nnunet"),
        (["a", "--format", "nnunet", "--dataset_id", "many"], "nnU-Net takes a number from 1 to 999"),
        (["empty", "--output", "b.json"], "empty is laid out as none of the known data sets"),
        ([], "name one or several"),
    ],
)
def test_a_mistake_is_the_last_line_and_changes_nothing(
    run_module: Command, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    make_set(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "datalist.json").write_text("mine")
    if not arguments:
        arguments = ["--output", "b.json"]
    done = run_module("retina_monai", "prepare", *arguments, cwd=tmp_path, RETINA_DEBUG="0")
    assert done.returncode == 1
    assert sentence in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
    assert (tmp_path / "datalist.json").read_text() == "mine"
    assert not (tmp_path / "b.json").exists()


def test_the_list_on_the_command_line_is_quick(tmp_path: Path) -> None:
    done = run("list", folder=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert "CHASE_DB1" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "fire" in imported
    assert not imported & {"torch", "monai", "itk", "nibabel", "skimage", "scipy"}


def test_real_sets_together(real_set: Callable[[str], Path]) -> None:
    text = describe_datalist(find_datalist([real_set(name) for name in ("CHASE_DB1", "HRF", "FIVES", "IDRiD")]))
    assert "FIVES: 20 eyes of 19 patients" in text
    assert "missing        25 of the 45 of the complete set" in text
    assert "vessel maps    15 given, 8 photographs have none" in text


def test_a_real_set_written_down(real_set: Callable[[str], Path], tmp_path: Path) -> None:
    prepare([real_set("CHASE_DB1")], tmp_path / "datalist.json")
    assert find_datalist(tmp_path) == find_datalist(real_set("CHASE_DB1"))
