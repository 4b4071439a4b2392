"""Anyone's own pictures in folders, and what this project writes: phantoms and generated sets.

``images/`` and the folders of masks in :data:`retina_monai.kinds.KINDS` (``vessels/``, ``discs/``) are paired by name.
Where there is a folder ``vessels/``, each photograph has a vessel map; other masks need not be there for each. A csv
beside them names patients, lateralities, splits and grades. Without one, DICOM's PatientID is the patient, names that
differ in left and right alone are of one patient, and each other name is a patient. A ``datalist.json`` takes
precedence over all that.
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

    Where no csv says who tests, nobody does.

    Raises:
        RetinaError: a set that is not finished; a ``datalist.json`` as
            :func:`~retina_monai.data.listing.datalist_file.read_datalist_file`; a csv as
            :func:`~retina_monai.data.adapters.own_table.read_table`; a photograph without its vessel map, or a mask
            without its photograph.
    """
    if (directory / "datalist.json").is_file():
        return read_datalist_file(directory / "datalist.json")
    return _read(directory) if folders_at([directory], KINDS["vessel"].folders[0]) else None


def read_masked_photographs(directory: Path) -> Datalist | None:
    """Items of a directory with ``images`` and a folder of other masks than vessel maps, which need not be complete.

    Raises:
        RetinaError: as :func:`read_own_layout`.
    """
    folders = [name for key, kind in MASKS.items() if key != "fov" for name in kind.folders]
    return _read(directory) if any(folders_at([directory], name) for name in folders) else None


def _read(directory: Path) -> Datalist | None:
    """Pairs of photographs and masks, by name."""
    if not folders_at([directory], KINDS["image"].folders[0]):
        return None
    if (directory / "manifest.jsonl").is_file():
        raise RetinaError(f"{directory} is not finished, it has no datalist.json: run again the command that writes it")
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
    """The split and the line of the datalist of a photograph."""
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
        "may be there too: fov/, discs/, cups/, atrophy/ and, of lesions, " + "/, ".join(LESIONS) + "/,",
        "    each with masks of the photographs' names (PNG, JPEG, TIFF, GIF, PPM, BMP, NIfTI, MHA, DICOM)",
        "and one csv, a row for each photograph, with the columns",
        "    name         of the photograph, with or without its ending (or: image, file)",
        "    patient      whose eye it is; all photographs of a patient stand in one split",
        "    laterality   L or R, left or right, OD (right) or OS (left); may be left out",
        "    split        training, validation or test; left out: nobody tests",
        "    if nobody validates, a tenth of the patients who do not test does",
        "    grade        of diabetic retinopathy, 0 to 4; may be left out",
        "    stage        of the visit, such as s1t1; may be left out",
        "without a csv, photographs of one DICOM PatientID are of one patient, and so are those whose names differ in",
        "left and right alone (10_left and 10_right, 12OD and 12OS); each other one is taken to be of another patient",
    ),
)

MASKED_PHOTOGRAPHS = replace(
    OWN_LAYOUT,
    about="your own pictures without vessel maps, for what learns from other masks or is measured against them",
    tree="images/NAME.png and discs/NAME.png, or other masks",
    link="put photographs into images/, their masks by the same names into discs/, cups/, atrophy/, ...",
    read=read_masked_photographs,
    details=(),
)
"""Looked for last: a data set of another layout may have such folders beside its own."""
