"""Whose eye a photograph shows, where no csv says so: by DICOM's attributes and by names of left and right."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from miniatures import PHOTOGRAPH, save, save_mask, vessels
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from retina_monai.data.export.prepare import prepare
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.listing.patients import pseudonym, sides_of_names
from retina_monai.data.sets.photographs import find_photographs
from retina_monai.evaluation.measuring.eye_set import list_real

PAIRS = [
    ("10_left", "10_right", "10"),
    ("10_L", "10_R", "10"),
    ("10l", "10r", "10"),
    ("12OS", "12OD", "12"),
    ("left eye 10", "right eye 10", "eye 10"),
    ("x.os.1", "x.OD.1", "x.1"),
    ("LeftEye10", "RightEye10", "Eye10"),
    ("Image12EyeL", "Image12EyeR", "Image12Eye"),
    ("Müller-LE", "Müller-RE", "Müller"),
    ("R_10_L", "R_10_R", "R_10"),  # the first letter is of something else
    ("L_10_left", "R_10_right", "10"),
    ("left", "right", "left"),  # nothing is left of a name
]


@pytest.mark.parametrize(("left", "right", "patient"), PAIRS)
def test_names_that_differ_in_the_side_alone_are_of_one_person(left: str, right: str, patient: str) -> None:
    found = {left: {"patient": patient, "laterality": "L"}, right: {"patient": patient, "laterality": "R"}}
    assert sides_of_names([left, "other", right, "99_left"]) == found  # 99 has no right eye


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b", "l", "r"),
        ("eye_k", "eye_l", "eye_r"),
        ("10A", "10B", "10L", "10R"),
        ("bright_1", "bleft_2"),
        ("l_r", "r_l"),
        ("10_left", "11_right"),
        ("10_left", "10_left_2"),
        ("model", "moder"),
    ],
)
def test_letters_and_words_that_are_no_sides(names: tuple[str, ...]) -> None:
    assert sides_of_names(names) == {}


def test_a_photograph_without_side_is_not_drawn_in() -> None:
    found = sides_of_names(["10", "10_left", "10_right"])
    assert found.keys() == {"10_left", "10_right"}
    assert {of["patient"] for of in found.values()} == {"10_left"}  # not 10, whoever that is


def make_pairs(folder: Path) -> Path:
    for number, name in enumerate(("10_left", "10_right", "13_left", "13_right")):
        save(folder / "images" / f"{name}.png", PHOTOGRAPH)
        save_mask(folder / "vessels" / f"{name}.png", vessels(number))
    return folder


def test_both_eyes_of_a_person_stand_in_one_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_pairs(tmp_path / "data")
    with caplog.at_level(logging.WARNING, "retina_monai"):
        datalist = find_datalist(folder)
    seen = {split: [(i["patient"], i["laterality"]) for i in datalist[split]] for split in ("training", "validation")}
    assert seen == {split: [(f"data/{n}", "L"), (f"data/{n}", "R")] for split, n in zip(seen, (10, 13), strict=True)}
    assert "4 photographs are of 2 patients, as names differ only in left and right" in caplog.text
    assert [item["patient"] for item in list_real(folder)] == ["data/10", "data/10", "data/13", "data/13"]
    for name in ("images", "."):  # photographs alone
        photographs = find_photographs(folder / name)
        assert [item["patient"].rpartition("/")[2] for item in photographs] == ["10", "10", "13", "13"]
        assert [item["laterality"] for item in photographs] == ["L", "R", "L", "R"]
    assert [item["patient"] for item in list_real(folder / "images")] == ["10", "10", "13", "13"]


def test_a_csv_goes_before_names(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "data")
    rows = "".join(f"{name},{name}\n" for name in ("10_left", "10_right", "13_left", "13_right"))
    (folder / "t.csv").write_text(f"name,patient\n{rows}")
    items = [item for items in find_datalist(folder).values() for item in items]
    assert len({item["patient"] for item in items}) == 4 and all("laterality" not in item for item in items)


def write_dicom(path: Path, patient: str, **more: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.OphthalmicPhotography8BitImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientID, file.PatientName = patient, "Doe^Jane"
    for key, value in more.items():
        setattr(file, key, value)
    rows, columns, channels = PHOTOGRAPH.shape
    file.Rows, file.Columns, file.SamplesPerPixel, file.PlanarConfiguration = rows, columns, channels, 0
    file.PhotometricInterpretation, file.PixelRepresentation = "RGB", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = np.ascontiguousarray(PHOTOGRAPH).tobytes()
    file.save_as(path, enforce_file_format=True)


def make_dicom(folder: Path, patients: tuple[str, ...] = ("P1", "P1", "P2", "P2")) -> Path:
    sides = ({"ImageLaterality": "L"}, {"Laterality": "R"}, {"ImageLaterality": "R", "Laterality": "L"}, {})
    for number, (patient, side) in enumerate(zip(patients, sides, strict=True)):
        write_dicom(folder / "images" / f"scan{number}.dcm", patient, **side)
        save_mask(folder / "vessels" / f"scan{number}.png", vessels(number))
    return folder


def test_dicom_says_whose_eye_it_is_and_which_and_nothing_of_it_is_written(tmp_path: Path) -> None:
    folder = make_dicom(tmp_path / "data")
    datalist = find_datalist(folder)
    items = sorted((item for split in SPLITS for item in datalist[split]), key=lambda item: str(item["name"]))
    first, second = (f"data/{pseudonym(patient)}" for patient in ("P1", "P2"))
    assert [item["patient"] for item in items] == [first, first, second, second]
    assert [item.get("laterality") for item in items] == ["L", "R", "R", None]
    assert len({item["patient"] for item in datalist["training"]}) == len(datalist["validation"]) - 1 == 1
    prepare([folder], tmp_path / "list.json")
    written = (tmp_path / "list.json").read_text()
    assert "P1" not in written and "Doe" not in written and len(json.loads(written)["training"]) == 2
    assert [item["patient"].rpartition("/")[2] for item in find_photographs(folder / "images")] == [
        item["patient"].rpartition("/")[2] for item in items
    ]


def test_a_csv_names_the_patients_of_dicom_files_and_the_sides_stay(tmp_path: Path) -> None:
    folder = make_dicom(tmp_path / "data")
    (folder / "t.csv").write_text("name,patient,laterality\nscan0,a,R\nscan1,b,\nscan2,c,\nscan3,d,\n")
    items = sorted((item for items in find_datalist(folder).values() for item in items), key=lambda item: item["name"])
    assert [item["patient"] for item in items] == ["data/a", "data/b", "data/c", "data/d"]
    assert [item.get("laterality") for item in items] == ["R", "R", "R", None]


def test_what_stands_for_nobody_is_no_patient(tmp_path: Path) -> None:
    folder = make_dicom(tmp_path / "data", ("ANONYMOUS", "", "0000", "Unknown"))
    assert len({item["patient"] for items in find_datalist(folder).values() for item in items}) == 4
