"""IDRiD, part B: 516 photographs with grades (Porwal et al. 2018, https://doi.org/10.3390/data3030025).

The training and the testing set use the same file names, so the split is part of an item's name. The patients are not
published. Some photographs are duplicates, and some are in part A under another name.
:func:`retina_monai.data.listing.layouts.find_datalist` detects both and merges their patients.
"""

from __future__ import annotations

import csv
from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Layout, describe, folder_named, folders_at, last_fifth, matching
from retina_monai.errors import RetinaError, join_first

__all__ = ["IDRID_GRADING", "read_idrid_grading"]

PART = "B. Disease Grading"
IMAGES, LABELS = "1. Original Images", "2. Groundtruths"
SPLITS = {"training": "a. Training Set", "test": "b. Testing Set"}
TABLES = {"training": r"a\. IDRiD.*Training Labels\.csv", "test": r"b\. IDRiD.*Testing Labels\.csv"}
NAME, GRADE = "image name", "retinopathy grade"
GRADES = range(5)


def read_idrid_grading(directory: Path) -> Datalist | None:
    """Items of ``B. Disease Grading`` or of the folder above it, with their ``grade`` from 0 to 4.

    The official split is used. In a copy without the testing set, the last fifth is for testing.

    Raises:
        RetinaError: if a table is missing or has no grade from 0 to 4 for a photograph.
    """
    part = folder_named(directory, PART) or directory
    part = folder_named(part, PART) or part  # the archive unpacks into a folder of the same name
    datalist: Datalist = {}
    for split, folder in SPLITS.items():
        images = matching(folders_at([part], IMAGES, folder), r"(?P<id>IDRiD_\d\d\d)\.jpe?g", _case)
        grades = _grades(part, split) if images else {}
        if lacking := [str(path) for key, path in images.items() if key not in grades]:
            raise RetinaError(
                f"{join_first(lacking)}: the table of the {split} set has no grade from 0 to 4 for it, so correct the "
                "table or remove the photograph"
            )
        numbers = {key: f"{split.removesuffix('ing')}_{key.rpartition('_')[2]}" for key in images}
        datalist[split] = [
            describe("IDRiD", numbers[key], {"image": path}, numbers[key], grade=grades[key])
            for key, path in images.items()
        ]
    if not any(datalist.values()):
        return None
    return datalist if datalist["test"] else last_fifth(datalist["training"])


def _grades(part: Path, split: str) -> dict[str, int]:
    """Grade of each photograph in the table of a split."""
    folders = folders_at([part], LABELS)
    found = matching(folders, f"(?P<id>{TABLES[split]})", str.casefold)
    if not found:
        raise RetinaError(f"{part} has no table of grades for the {split} set: add the folder '{LABELS}'")
    (path,) = list(found.values())[:1]
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = [{str(key).strip().casefold(): value for key, value in row.items()} for row in csv.DictReader(file)]
    if not rows or not {NAME, GRADE} <= rows[0].keys():
        raise RetinaError(f"{path} has no columns 'Image name' and 'Retinopathy grade': restore the official table")
    texts = {_case(str(row[NAME]).strip()): str(row[GRADE]).strip() for row in rows if row[NAME]}
    return {key: int(text) for key, text in texts.items() if text.isdecimal() and int(text) in GRADES}


def _case(text: str) -> str:
    return text.lower().replace("idrid", "IDRiD")


IDRID_GRADING = Layout(
    name="IDRiD grading",
    about="photographs of 516 eyes, 4288 x 2848, 50 degrees, with grades of diabetic retinopathy; no masks",
    tree="B. Disease Grading/1. Original Images/a. Training Set/IDRiD_001.jpg",
    link="https://doi.org/10.21227/H25W98",
    terms="CC BY 4.0",
    read=read_idrid_grading,
    count=516,
    details=("if part A is in the same folder, part A is read: give the folder 'B. Disease Grading' itself",),
)
