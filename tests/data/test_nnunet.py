"""The raw data set of nnU-Net: its form, its contents, its folds, and that it is written whole or not at all."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from miniatures import PHOTOGRAPH, SHAPE, make_chase, make_drive_unlabelled, make_idrid, make_own, vessels
from PIL import Image
from skimage import io

from retina_monai.data.export import nnunet
from retina_monai.data.export.nnunet import patient_folds, write_nnunet
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms
from retina_monai.errors import RetinaError


def stems(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".png").removesuffix("_0000") for path in folder.iterdir())


def eyes(patients: str, split: str) -> list[dict[str, str]]:
    return [{"name": f"{split}_{number}_{patient}", "patient": patient} for number, patient in enumerate(patients)]


def test_the_form_of_a_real_set(tmp_path: Path) -> None:
    datalist = find_datalist(make_chase(tmp_path / "set"))
    folder = write_nnunet(datalist, tmp_path / "raw", 7)
    assert folder == tmp_path / "raw" / "Dataset007_CHASE_DB1"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("dataset.json", "imagesTr", "imagesTs", "labelsTr", "labelsTs", "splits_final.json")
    ]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [folder.name]
    assert stems(folder / "imagesTr") == stems(folder / "labelsTr")
    assert stems(folder / "imagesTs") == stems(folder / "labelsTs") == [item["name"] for item in datalist["test"]]
    assert all(path.name.endswith("_0000.png") for path in (folder / "imagesTr").iterdir())
    about = json.loads((folder / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert about["labels"] == {"background": 0, "vessel": 1}
    assert about["file_ending"] == ".png"
    assert about["numTraining"] == len(stems(folder / "imagesTr")) == 20


def test_pictures_as_nnunet_reads_them(tmp_path: Path) -> None:
    """nnU-Net's NaturalImage2DIO reads with scikit-image."""
    datalist = find_datalist(make_own(tmp_path / "own"))
    folder = write_nnunet(datalist, tmp_path / "raw")
    for split, place in (("training", "Tr"), ("validation", "Tr"), ("test", "Ts")):
        for item in datalist[split]:
            image = io.imread(folder / f"images{place}" / f"{item['name']}_0000.png")
            label = io.imread(folder / f"labels{place}" / f"{item['name']}.png")
            assert (image.shape, label.shape, label.dtype) == ((*SHAPE, 3), SHAPE, np.uint8)
            np.testing.assert_array_equal(image, read_photograph(item["image"]).transpose(1, 2, 0))
            np.testing.assert_array_equal(label, read_mask(item["vessel"])[0])
            assert set(np.unique(label)) == {0, 1}
    np.testing.assert_array_equal(io.imread(folder / "imagesTr" / "own_eye6_0000.png"), PHOTOGRAPH)
    np.testing.assert_array_equal(io.imread(folder / "labelsTr" / "own_eye6.png"), vessels(5))


def test_what_is_synthetic_says_so_there_too(tmp_path: Path) -> None:
    phantoms = write_nnunet(find_datalist(write_phantoms(tmp_path / "p", 5, 32, 0)), tmp_path / "raw", 1)
    real = write_nnunet(find_datalist(make_chase(tmp_path / "c", 3)), tmp_path / "raw", 2)
    for folder, marked in ((phantoms, True), (real, False)):
        for path in folder.glob("*/*.png"):
            with Image.open(path) as picture:
                assert (picture.info.get("SyntheticData") == "YES") is marked


@pytest.mark.parametrize(
    ("training", "validation", "count"),
    [("AABBCCDDEEFF", "GG", 5), ("ABCDEFGHIJ", "", 5), ("AAAB", "C", 3), ("AB", "", 2), ("A", "B", 2)],
)
def test_folds_part_patients_and_validate_each_eye_once(training: str, validation: str, count: int) -> None:
    datalist = {"training": eyes(training, "t"), "validation": eyes(validation, "v"), "test": eyes("XYZ", "x")}
    folds = patient_folds(datalist)
    everybody = sorted(item["name"] for split in ("training", "validation") for item in datalist[split])
    assert len(folds) == count
    assert sorted(name for fold in folds for name in fold["val"]) == everybody
    for fold in folds:
        assert fold["train"]
        assert sorted(fold["train"] + fold["val"]) == everybody
        assert not {name[-1] for name in fold["train"]} & {name[-1] for name in fold["val"]}
    if validation:
        assert folds[0] == {
            "train": sorted(item["name"] for item in datalist["training"]),
            "val": sorted(item["name"] for item in datalist["validation"]),
        }


def test_the_folds_are_written(tmp_path: Path) -> None:
    datalist = find_datalist(make_chase(tmp_path / "set"))
    folder = write_nnunet(datalist, tmp_path / "raw")
    folds = json.loads((folder / "splits_final.json").read_text())
    assert folds == patient_folds(datalist)
    assert folds[0]["val"] == [item["name"] for item in datalist["validation"]]
    assert {name for fold in folds for name in fold["val"]} == set(stems(folder / "imagesTr"))


def test_eyes_without_a_vessel_map_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datalist = find_datalist([make_drive_unlabelled(tmp_path / "DRIVE"), make_idrid(tmp_path / "IDRiD")])
    with caplog.at_level(logging.WARNING, "retina_monai"):
        folder = write_nnunet(datalist, tmp_path / "raw")
    assert folder.name == "Dataset501_DRIVE_IDRiD"
    assert "left out 23 photographs that have no vessel map" in caplog.text
    assert len(stems(folder / "imagesTr")) + len(stems(folder / "imagesTs")) == 20 + 12


def test_one_patient_is_too_few(tmp_path: Path) -> None:
    datalist = find_datalist(make_chase(tmp_path / "set", children=1))
    with pytest.raises(RetinaError, match="nnU-Net needs two patients with vessel maps"):
        write_nnunet(datalist, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("number", [0, 1000, -1, "x", 1.5, 500.0, True])
def test_numbers_that_are_none_of_nnunets(tmp_path: Path, number: object) -> None:
    with pytest.raises(RetinaError, match="nnU-Net takes a number from 1 to 999"):
        write_nnunet({"training": [], "validation": [], "test": []}, tmp_path, number)


def test_what_is_there_stays_unless_it_may_go(tmp_path: Path) -> None:
    small, large = find_datalist(make_chase(tmp_path / "a", 2)), find_datalist(make_chase(tmp_path / "b", 4))
    folder = write_nnunet(small, tmp_path / "raw")
    with pytest.raises(RetinaError, match=r"Dataset501_CHASE_DB1 is there already: give another --dataset_id"):
        write_nnunet(large, tmp_path / "raw")
    with pytest.raises(RetinaError, match=r"Dataset501_CHASE_DB1 has the number 501 already"):
        write_nnunet(find_datalist(make_own(tmp_path / "own")), tmp_path / "raw", overwrite=True)
    assert len(stems(folder / "imagesTr")) == 4
    write_nnunet(large, tmp_path / "raw", overwrite=True)
    assert len(stems(folder / "imagesTr")) == 8
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [folder.name]
    (folder / "dataset.json").unlink()
    with pytest.raises(RetinaError, match=r"is not a data set of nnU-Net, it has no dataset\.json: move it away"):
        write_nnunet(large, tmp_path / "raw", overwrite=True)
    assert len(stems(folder / "imagesTr")) == 8


@pytest.mark.parametrize("before", [False, True])
def test_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    datalist = find_datalist(make_chase(tmp_path / "set", 4))
    if before:
        write_nnunet(datalist, tmp_path / "raw")
    contents = {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*.png")}
    (tmp_path / "set" / "Image_04L_1stHO.png").write_bytes(b"no picture")
    with pytest.raises(RetinaError, match=r"Image_04L_1stHO\.png"):
        write_nnunet(datalist, tmp_path / "raw", overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*.png")} == contents

    def interrupt(path: Path, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nnunet, "write_json", interrupt)
    make_chase(tmp_path / "set", 4)
    with pytest.raises(KeyboardInterrupt):
        write_nnunet(datalist, tmp_path / "raw", overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*.png")} == contents
    assert len(list((tmp_path / "raw").iterdir())) == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RetinaError, match=r"file.* choose another place"):
        write_nnunet(find_datalist(make_chase(tmp_path / "set", 4)), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
