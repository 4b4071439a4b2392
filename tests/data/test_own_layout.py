"""A user's own folder: pictures paired by name, and a csv that tells whose they are."""

from __future__ import annotations

import csv
import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import PHOTOGRAPH, SHAPE, make_own, save, save_mask, vessels

from retina_monai.data import generate_phantom
from retina_monai.data.adapters.own_layout import read_own_layout
from retina_monai.data.adapters.own_table import read_table
from retina_monai.data.export.prepare import list_layouts
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.errors import RetinaError
from retina_monai.kinds import KINDS, LESIONS

IMAGES = {name: Path(f"{name}.png") for name in ("a", "b c", "Übung", "d.1")}
TABLE = "name,patient\na,p1\nb c,p1\nÜbung,p2\nd.1,p3\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_the_csv_tells_patients_lateralities_splits_and_grades(tmp_path: Path) -> None:
    datalist = find_datalist(make_own(tmp_path / "clinic"))
    assert [item["name"] for item in datalist["training"]] == [
        *("clinic_Müller_1", "clinic_Müller_2", "clinic_eye5", "clinic_eye6")
    ]
    assert [item["patient"] for item in datalist["training"]] == [
        *("clinic/Jürgen M", "clinic/Jürgen M", "clinic/D", "clinic/D")
    ]
    assert [item["laterality"] for item in datalist["training"]] == ["R", "L", "R", "L"]
    assert [item["grade"] for item in datalist["training"]] == [0, 1, 2, 3]
    (validation,), (test,) = datalist["validation"], datalist["test"]
    assert (validation["name"], validation["laterality"]) == ("clinic_eye.3", "L")
    assert "grade" not in validation
    assert (test["name"], test["grade"]) == ("clinic_eye_4", 4)
    assert "laterality" not in test
    assert "split" not in test
    assert "annotated" not in test  # a lesion without a file may be one that nobody looked for


def test_without_a_split_column_a_tenth_of_the_patients_validates(tmp_path: Path) -> None:
    for number in range(24):
        save(tmp_path / "images" / f"{number:02d}.png", PHOTOGRAPH)
        save_mask(tmp_path / "vessels" / f"{number:02d}.png", vessels(number))
    rows = [f"{number:02d}.png,patient {number // 2:02d}" for number in range(24)]
    write(tmp_path / "whose.csv", "\n".join(["file,patient", *rows]))
    datalist = find_datalist(tmp_path)
    assert {item["patient"].rpartition("/")[2] for item in datalist["validation"]} == {"patient 11"}
    assert [len(datalist[split]) for split in ("training", "validation", "test")] == [22, 2, 0]


def test_every_kind_of_mask_has_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "Images" / "a.png", PHOTOGRAPH)
    for number, (key, kind) in enumerate(KINDS.items()):
        if key != "image":
            save_mask(tmp_path / kind.folders[-1] / "a.png", vessels(number))
    (item,) = find_datalist(tmp_path)["training"]
    assert {key for key in item if key in KINDS} == set(KINDS)
    assert Path(item["haemorrhages"]).parent.name == "haemorrhages"
    save_mask(tmp_path / "fovs" / "a.tif", np.ones(SHAPE, dtype=bool))
    with pytest.raises(RetinaError, match="the same picture"):
        find_datalist(tmp_path)  # fov and fovs are one folder


def test_a_mask_without_its_photograph_is_named(tmp_path: Path) -> None:
    folder = make_own(tmp_path)
    (folder / "discs" / "eye5.tif").rename(folder / "discs" / "eye_5.tif")
    with pytest.raises(RetinaError, match=r"eye_5\.tif is a mask without its photograph: give both one name"):
        find_datalist(folder)


def test_several_tables_are_refused_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    folder = make_own(tmp_path)
    for name in ("._my eyes.csv", "~lock.csv"):
        write(folder / name, "")
    assert read_own_layout(folder) is not None
    write(folder / "notes.CSV", "")
    with pytest.raises(RetinaError, match=r"several csv files \(my eyes\.csv, notes\.CSV\)"):
        find_datalist(folder)


def test_a_table_in_decomposed_unicode(tmp_path: Path) -> None:
    """As macOS writes names of files, and others type them."""
    decomposed = unicodedata.normalize("NFD", "Übung")
    assert decomposed != "Übung"
    save(tmp_path / "images" / f"{decomposed}.png", PHOTOGRAPH)
    save_mask(tmp_path / "vessels" / "Übung.png", vessels(1))
    write(tmp_path / "t.csv", "name,patient\nÜbung,p\n")
    (item,) = find_datalist(tmp_path)["training"]
    assert Path(item["image"]).is_file()
    assert item["name"].endswith("Übung")
    write(tmp_path / "t.csv", f"name,patient\n{decomposed}.png,p\n")
    assert find_datalist(tmp_path)["training"] == [item]


def test_names_of_every_sort_are_found(tmp_path: Path) -> None:
    for number, name in enumerate(("a b", "c\nd", "Übung", "e.f", "#1", "'x'", "眼")):
        save(tmp_path / "images" / f"{name}.png", PHOTOGRAPH)
        save_mask(tmp_path / "vessels" / f"{name}.png", vessels(number))
    rows = ['"c\nd",p', "a b,p", "Übung,p", "e.f,p", "#1.png,p", "'x',p", "眼,q"]
    write(tmp_path / "t.csv", "name,patient\n" + "\n".join(rows))
    datalist = find_datalist(tmp_path)
    assert len(datalist["training"]) == 6
    assert {"c_d", "e.f", "_1", "_x_"} <= {
        item["name"].removeprefix(f"{tmp_path.name}_") for item in datalist["training"]
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, encoding: str, separator: str, end: str) -> None:
    text = TABLE.replace(",", separator).replace("\n", end)
    rows = read_table(write(tmp_path / "t.csv", text, encoding), IMAGES)
    assert rows == {name: {"patient": whose} for name, whose in zip(IMAGES, ("p1", "p1", "p2", "p3"), strict=True)}


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).map(
    lambda text: unicodedata.normalize("NFC", text)
)


@given(patients=st.lists(WORDS, min_size=len(IMAGES), max_size=len(IMAGES)), separator=st.sampled_from(",;\t"))
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, patients: list[str], separator: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([("name", "patient"), *zip(IMAGES, patients, strict=True)])
    assert [row["patient"] for row in read_table(path, IMAGES).values()] == patients


def test_quotes_spaces_empty_rows_and_other_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ['"Doe, Jane",71,"a.JPG",', ",,,", "Doe J,70, images\\b c.png,", "p,,Übung.nii.gz,", "p,,d.1,"]
    text = "\n".join([' Patient , AGE,"Image",', *rows])
    with caplog.at_level(logging.WARNING, "retina_monai"):
        rows = read_table(write(tmp_path / "t.csv", text), IMAGES)
    assert [row["patient"] for row in rows.values()] == ["Doe, Jane", "Doe J", "p", "p"]
    assert [record.args[1] for record in caplog.records] == ["age"]  # the column without a title is empty


HEAD = "name,patient,laterality,split,grade\n"
REST = "b c,p2,,train,\nÜbung,p3,,train,\nd.1,p4,,train,\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"row 1 has the columns \(none\): it takes one of name, image, file, then patient"),
        ("eye,patient\na,p\n", "row 1 has the columns eye, patient: it takes one of"),
        ("name,laterality\na,L\n", "row 1 has the columns name, laterality: it takes one of"),
        ("name,image,patient\na,a,p\n", "row 1 has the columns name, image, patient: it takes one of"),
        ("name,patient,patient\na,p,p\n", "row 1 has the column patient twice"),
        (TABLE + "e,p9\n", "row 6, column name: there is no photograph e in images"),
        (TABLE + ",p9\n", r"row 6, column name: there is no photograph \(empty\) in images"),
        (TABLE + "a.png,p1\n", r"row 6, column name: a\.png is in row 2 already"),
        (TABLE.replace("p2", ""), "row 4, column patient is empty"),
        (TABLE.replace("d.1,p3\n", ""), r"has no row for the photograph d\.1\.png"),
        (TABLE + "a,p1,L\n", "row 6 has 3 cells, but there are 2 columns: put quotation marks"),
        ('name,patient\na,"p\n1"\n\nb c,\n', "row 4, column patient is empty"),  # rows of a spreadsheet, not lines
        (f"{HEAD}a,p1,both,train,\n{REST}", "row 2, column laterality is 'both': it takes L or R, left or right"),
        (f"{HEAD}a,p1,OU,train,\n{REST}", "row 2, column laterality is 'OU'"),
        (f"{HEAD}a,p1,L,train,5\n{REST}", "row 2, column grade is '5': it takes a grade"),
        (f"{HEAD}a,p1,L,train,1.5\n{REST}", "row 2, column grade is '1.5'"),
        (f"{HEAD}a,p1,L,train,mild\n{REST}", "row 2, column grade is 'mild'"),
        (f"{HEAD}a,p1,L,holdout,1\n{REST}", "row 2, column split is 'holdout': it takes training, validation or test"),
        (f"{HEAD}a,p1,L,,1\n{REST}", "row 2, column split is ''"),
        (f"{HEAD}a,p3,L,test,1\n{REST}", "row 4, column split: patient p3 is in training, but in row 2 in test"),
        ("name,patient\n\0", "is not csv"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "my table.csv", text)
    with pytest.raises(RetinaError, match=message) as error:
        read_table(path, IMAGES)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [("L", "L"), ("left", "L"), ("OS", "L"), ("r", "R"), ("Right", "R"), ("od", "R"), ("", None)],
)
def test_lateralities(tmp_path: Path, written: str, read: str | None) -> None:
    path = write(tmp_path / "t.csv", f"name,patient,laterality\na,p,{written}\n")
    assert read_table(path, {"a": Path("a.png")})["a"].get("laterality") == read


def test_a_photograph_without_patient_says_so_through_every_door(tmp_path: Path) -> None:
    folder = make_own(tmp_path)
    save(folder / "images" / "new.png", PHOTOGRAPH)
    save_mask(folder / "vessels" / "new.png", vessels(1))
    with pytest.raises(RetinaError, match=r"my eyes\.csv has no row for the photograph .*new\.png: add one"):
        find_datalist(folder)


def test_the_own_folder_is_listed_first_and_in_full() -> None:
    first = list_layouts().partition("\n\n")[0]
    assert first.startswith("your own folder: ")
    for word in ("images/NAME.png", "vessels/", "fov/", "discs/", "csv", "patient", "laterality", "split", "grade"):
        assert word in first
    assert all(lesion in first for lesion in LESIONS)


def test_photographs_with_other_masks_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        phantom = generate_phantom(ord(name), 64)
        write_png(tmp_path / "images" / f"{name}.png", phantom["image"], synthetic=False)
    write_png(tmp_path / "discs" / "a.png", phantom["disc"] * np.uint8(255), synthetic=False)
    items = {item["name"].split("_")[-1]: item for items in find_datalist(tmp_path).values() for item in items}
    assert set(items) == {"a", "b"} and "disc" in items["a"] and "disc" not in items["b"]
    write_png(tmp_path / "discs" / "c.png", phantom["disc"] * np.uint8(255), synthetic=False)
    with pytest.raises(RetinaError, match=r"c\.png is a mask without its photograph"):
        find_datalist(tmp_path)
