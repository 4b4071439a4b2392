"""Convert ``dataset_dir`` to a datalist. Data sets are recognised by their layout."""

from __future__ import annotations

import ast
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from retina_monai.data.adapters.chase_db1 import CHASE_DB1
from retina_monai.data.adapters.drive import DRIVE
from retina_monai.data.adapters.fives import FIVES
from retina_monai.data.adapters.hrf import HRF
from retina_monai.data.adapters.idrid import IDRID
from retina_monai.data.adapters.idrid_grading import IDRID_GRADING
from retina_monai.data.adapters.own_layout import MASKED_PHOTOGRAPHS, OWN_LAYOUT
from retina_monai.data.adapters.retina_blood_vessel import RETINA_BLOOD_VESSEL
from retina_monai.data.adapters.rossa import ROSSA
from retina_monai.data.adapters.stare import STARE
from retina_monai.data.files.checking import check_files
from retina_monai.data.listing.datalist_file import read_datalist_file
from retina_monai.data.listing.layout import SPLITS, Datalist, Item, Layout, full_path, main_picture
from retina_monai.data.listing.splits import merge
from retina_monai.data.listing.twins import join_twins
from retina_monai.errors import RetinaError, join_first
from retina_monai.kinds import PICTURES

__all__ = [
    "LAYOUTS",
    "UnknownLayoutError",
    "file_digest",
    "find_datalist",
    "fingerprint",
    "list_eyes",
    "refuse_missing",
]

LAYOUTS: tuple[Layout, ...] = (
    OWN_LAYOUT,
    CHASE_DB1,
    DRIVE,
    FIVES,
    HRF,
    IDRID,
    IDRID_GRADING,
    ROSSA,
    RETINA_BLOOD_VESSEL,
    STARE,
    MASKED_PHOTOGRAPHS,
)
"""Layouts in the order in which they are tried. A ``datalist.json`` takes precedence over all other content of a
directory. ROSSA precedes another set with a folder ``test/image``."""

PUBLIC = [layout.name for layout in LAYOUTS if layout.name != OWN_LAYOUT.name]
CHUNK = 2**16
WHO = ("name", "patient", "dataset", "laterality", "grade", "split", "condition", "condition_dataset", "augmented")


class UnknownLayoutError(RetinaError):
    """A directory has none of the known layouts."""


def find_datalist(
    dataset_dir: str | Path | Sequence[str | Path], skip_unreadable: bool = False, photographs: bool = True
) -> Datalist:
    """List the eyes of one or several data sets, split by patient.

    Duplicate and near-duplicate photographs are assigned to one patient, whatever their names
    (:mod:`retina_monai.data.listing.twins`). If duplicates are in different published splits or in several data sets,
    the eye of the test split is kept and the other is left out.

    Args:
        dataset_dir: directory with one of :data:`LAYOUTS`, a ``datalist.json``, a list of these, or the text of such a
            list in Python syntax.
        skip_unreadable: whether to leave out eyes with a broken file and log their number and files, instead of
            raising an error.
        photographs: whether every eye must have a photograph. Sets of generated vessel maps have none.

    Returns:
        Lists of items for ``training``, ``validation`` and ``test``. An item has the paths ``image`` and, if present,
        ``vessel``, ``fov``, ``vessel_2nd``, ``disc``, ``cup``, ..., as well as ``patient``, ``dataset``, ``name``
        (unique) and ``laterality`` (if known).

    Raises:
        UnknownLayoutError: if a directory has no known layout.
        RetinaError: if a directory does not exist or is given twice; if a photograph lacks its vessel map or the
            reverse; if ``photographs`` is true and an eye has none; if duplicates are in two splits of a user's own
            data set; or as :func:`retina_monai.data.files.checking.check_files`, with all faults in one sentence.
    """
    named = list_eyes(dataset_dir, photographs=photographs)
    whole = {item["name"] for item in check_files([item for split in SPLITS for item in named[split]], skip_unreadable)}
    return {split: [item for item in items if item["name"] in whole] for split, items in named.items()}


def list_eyes(dataset_dir: str | Path | Sequence[str | Path], join: bool = True, photographs: bool = True) -> Datalist:
    """List eyes like :func:`find_datalist`, without checking the files.

    Args:
        dataset_dir: see :func:`find_datalist`.
        join: whether to merge patients with duplicate photographs (:mod:`retina_monai.data.listing.twins`).
        photographs: see :func:`find_datalist`.

    Raises:
        UnknownLayoutError: if a directory has no known layout.
        RetinaError: as :func:`find_datalist`, except for faults of files.
    """
    refuse_missing(dataset_dir)
    found = [_read(path) for path in _paths(dataset_dir)]
    if photographs:
        for path, datalist in zip(_paths(dataset_dir), found, strict=True):
            _check_photographs(datalist, path)
    _check_duplicates([item for datalist in found for items in datalist.values() for item in items])
    datalist = merge(join_twins(found, PUBLIC) if join else found)
    names = _unique_names([item for split in SPLITS for item in datalist[split]])
    return {split: [item | {"name": next(names)} for item in datalist[split]] for split in SPLITS}


def refuse_missing(dataset_dir: str | Path | Sequence[str | Path]) -> None:
    """Check that each path is a directory or a datalist.

    Raises:
        RetinaError: if a path is neither.
    """
    for path in _paths(dataset_dir):
        if not path.is_dir() and not (path.suffix == ".json" and path.is_file()):
            problem = "is not a directory" if path.exists() else "does not exist"
            raise RetinaError(f"{path} {problem}: give a directory that holds a data set, or its datalist.json")


def fingerprint(datalist: Datalist) -> str:
    """SHA-256 of a datalist and its images, independent of their location on disk.

    Of each image file, only the size and the first and last 64 KiB are hashed.
    """
    digest = sha256()
    for split in SPLITS:
        for item in datalist.get(split, []):
            texts = {key: value for key, value in item.items() if key not in PICTURES}
            digest.update(json.dumps([split, texts], sort_keys=True, default=str).encode())
            for key in (key for key in PICTURES if key in item):
                digest.update(key.encode() + _ends(Path(item[key])))
    return digest.hexdigest()


def conditions_fingerprint(items: Sequence[Item], pictures: Sequence[str] = PICTURES) -> str:
    """SHA-256 of the eyes that samples are generated from: their order, metadata and image files.

    Like :func:`fingerprint`, it is fast and independent of the location of the files.

    Args:
        items: items of a datalist.
        pictures: keys of the images to include.
    """
    digest = sha256()
    for item in items:
        digest.update(json.dumps({key: item[key] for key in WHO if key in item}, sort_keys=True, default=str).encode())
        for key in (key for key in pictures if key in item):
            digest.update(key.encode() + _ends(Path(item[key])))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of the size and the first and last 64 KiB of a file."""
    return sha256(_ends(path)).hexdigest()


def _paths(dataset_dir: str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(dataset_dir, str) and dataset_dir.lstrip().startswith("["):
        try:
            dataset_dir = ast.literal_eval(dataset_dir.strip())
        except (SyntaxError, ValueError) as error:
            raise RetinaError(f"dataset_dir {dataset_dir} is not a list: write it as ['first', 'second']") from error
    paths = [dataset_dir] if isinstance(dataset_dir, str | Path) else list(dataset_dir)
    if not paths or not all(isinstance(path, str | Path) and str(path).strip() for path in paths):
        raise RetinaError(f"dataset_dir is {dataset_dir!r}: give a directory, or a list of directories")
    return [Path(path).expanduser() for path in paths]


def _read(path: Path) -> Datalist:
    if path.suffix == ".json" and path.is_file():
        return read_datalist_file(full_path(path))
    try:
        found = _recognised(path.resolve())
        inside = [] if found else [folder.name for folder in sorted(path.iterdir()) if _is_known(folder)]
    except OSError as error:
        raise RetinaError(f"{path} cannot be read ({error.strerror}): change its permissions") from error
    if found is None:
        looked_for = "; ".join(f"{layout.name} ({layout.tree})" for layout in LAYOUTS)
        hint = f"; its folders {', '.join(inside)} hold a data set: give those" if inside else ""
        raise UnknownLayoutError(f"{path} is laid out as none of the known data sets: {looked_for}{hint}")
    return found


def _recognised(directory: Path) -> Datalist | None:
    datalists = (layout.read(directory) for layout in LAYOUTS)
    return next((datalist for datalist in datalists if datalist is not None), None)


def _is_known(folder: Path) -> bool:
    try:
        return folder.is_dir() and _recognised(folder) is not None
    except RetinaError:
        return False


def _check_photographs(datalist: Datalist, path: Path) -> None:
    without = [str(item["name"]) for items in datalist.values() for item in items if "image" not in item]
    if without:
        raise RetinaError(f"{path} has no photograph of {join_first(without)}: give a data set with photographs")


def _check_duplicates(items: Sequence[Item]) -> None:
    count = Counter(os.path.realpath(main_picture(item)) for item in items)
    repeated = next((path for path, times in count.items() if times > 1), None)
    if repeated is not None:
        raise RetinaError(f"{repeated} is in the list twice: give each directory once")


def _unique_names(items: Sequence[Item]) -> Iterator[str]:
    """The names of the items as valid file names, numbered where two sets use the same name."""
    used: set[str] = set()
    for item in items:
        plain = re.sub(r"[^\w.-]+", "_", str(item["name"]))
        name, number = plain, 2
        while name in used:
            name, number = f"{plain}_{number}", number + 1
        used.add(name)
        yield name


def _ends(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(CHUNK)
        file.seek(max(size - CHUNK, 0))
        return f":{size}:".encode() + head + file.read(CHUNK)
