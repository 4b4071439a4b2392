"""Read a user's own images in folders, phantoms and generated sets.

``images/`` and the mask folders of :data:`retina_monai.kinds.KINDS` (``vessels/``, ``discs/``) are paired by name. If
there is a folder ``vessels/``, each photograph requires a vessel map. Other masks may be incomplete. A csv beside the
folders lists patients, lateralities, splits and grades. Without a csv, the patient is DICOM's PatientID, names that
differ only in left and right belong to one patient, and each other name is a patient. A ``datalist.json`` takes
precedence over all of this.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from retina_monai.data.adapters.own_table import find_table, read_table
from retina_monai.data.listing.datalist_file import read_datalist_file
from retina_monai.data.listing.layout import (
    SPLITS,
    Datalist,
    Item,
    Layout,
    describe,
    folders_at,
    lonely,
    pair,
    pictures_by_name,
    refuse_unpaired,
)
from retina_monai.data.listing.patients import identify
from retina_monai.errors import RetinaError
from retina_monai.kinds import KINDS, LESIONS, MASKS

__all__ = ["MASKED_PHOTOGRAPHS", "OWN_LAYOUT", "read_masked_photographs", "read_own_layout"]


def read_own_layout(directory: Path) -> Datalist | None:
    """Items of a directory with ``datalist.json``, or with ``images`` and ``vessels``.

    The test split is empty unless a csv defines one.

    Raises:
        RetinaError: if a generated set is unfinished; if a photograph lacks its vessel map, or a mask its photograph;
            or as :func:`~retina_monai.data.listing.datalist_file.read_datalist_file` and
            :func:`~retina_monai.data.adapters.own_table.read_table`.
    """
    if (directory / "datalist.json").is_file():
        return read_datalist_file(directory / "datalist.json")
    return _read(directory) if folders_at([directory], KINDS["vessel"].folders[0]) else None


def read_masked_photographs(directory: Path) -> Datalist | None:
    """Items of a directory with ``images`` and a folder of masks other than vessel maps, which may be incomplete.

    Raises:
        RetinaError: as :func:`read_own_layout`.
    """
    folders = [name for key, kind in MASKS.items() if key != "fov" for name in kind.folders]
    return _read(directory) if any(folders_at([directory], name) for name in folders) else None


def _read(directory: Path) -> Datalist | None:
    """Pair photographs and masks by name."""
    if not folders_at([directory], KINDS["image"].folders[0]):
        return None
    if (directory / "manifest.jsonl").is_file():
        raise RetinaError(f"{directory} is not finished, it has no datalist.json: rerun the command that writes it")
    found = {
        key: pictures_by_name(folder for name in kind.folders for folder in folders_at([directory], name))
        for key, kind in KINDS.items()
    }
    images = found["image"]
    if not images and not any(found.values()):
        return None
    others = [files for key, files in found.items() if key not in ("image", "vessel")]
    if folders_at([directory], KINDS["vessel"].folders[0]):
        pair(images, found["vessel"], *others)
    else:
        refuse_unpaired(lonely(images, *others))
    table = find_table(directory)
    known = identify(images, names=table is None)
    rows = read_table(table, images) if table else {}
    datalist: Datalist = {split: [] for split in SPLITS}
    for key in images:
        split, item = _item(directory.name, key, found, known[key] | rows.get(key, {}))
        datalist[split].append(item)
    return datalist


def _item(dataset: str, key: str, found: dict[str, dict[str, Path]], row: Item) -> tuple[str, Item]:
    """Split and datalist item of a photograph."""
    pictures = {picture: files.get(key) for picture, files in found.items()}
    more = {name: value for name, value in row.items() if name in ("laterality", "grade", "stage")}
    return row.get("split", "training"), describe(dataset, key, pictures, row.get("patient", key), **more)


OWN_LAYOUT = Layout(
    name="your own folder",
    about="your own pictures, or a set that this project wrote (phantoms, generated sets)",
    tree="images/NAME.png and vessels/NAME.png, or datalist.json",
    link="put photographs into images/, vessel maps of the same names into vessels/; python -m retina_monai phantom",
    terms="those of the pictures",
    read=read_own_layout,
    details=(
        "optional folders: fov/, discs/, cups/, atrophy/ and, for lesions, " + "/, ".join(LESIONS) + "/,",
        "    with masks named like the photographs (PNG, JPEG, TIFF, GIF, PPM, BMP, NIfTI, MHA, DICOM)",
        "optional csv with one row per photograph and the columns",
        "    name         name of the photograph, with or without its ending (or: image, file)",
        "    patient      all photographs of a patient are in one split",
        "    laterality   L or R, left or right, OD (right) or OS (left); optional",
        "    split        training, validation or test; without this column, the test split is empty",
        "                 without validation patients, a tenth of the patients outside the test split is used",
        "    grade        grade of diabetic retinopathy from 0 to 4; optional",
        "    stage        stage of the visit, such as s1t1; optional",
        "without a csv, photographs with the same DICOM PatientID belong to one patient, and so do names that differ",
        "only in left and right (10_left and 10_right, 12OD and 12OS); any other photograph is a patient of its own",
    ),
)

MASKED_PHOTOGRAPHS = replace(
    OWN_LAYOUT,
    about="your own pictures without vessel maps, for training and evaluation with other masks",
    tree="images/NAME.png and discs/NAME.png, or other masks",
    link="put photographs into images/, masks of the same names into discs/, cups/, atrophy/, ...",
    read=read_masked_photographs,
    details=(),
)
"""Tried last, since a data set of another layout may contain such folders as well."""
