"""What the layout of a data set is to this library, and what its readers share: listing files and pairing them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retina_monai.data.reading import IMAGE_SUFFIXES
from retina_monai.errors import RetinaError

__all__ = [
    "ENDING",
    "LESIONS",
    "PICTURES",
    "SPLITS",
    "Datalist",
    "Item",
    "Layout",
    "NoVesselMapsError",
    "describe",
    "folder_named",
    "folders_at",
    "last_fifth",
    "matching",
    "pair",
    "pictures_by_name",
    "refuse_lonely",
]

Item = dict[str, Any]
Datalist = dict[str, list[Item]]

SPLITS = ("training", "validation", "test")

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates", "neovascularisation")
"""Keys of the masks of diabetic retinopathy's lesions, one per type."""

PICTURES = (
    "image",
    "vessel",
    "vessel_2nd",
    "fov",
    "disc",
    "cup",
    "artery",
    "vein",
    "atrophy",
    "lesion",
    "color_vessel",
    "vessel_share",
    *LESIONS,
)
"""Keys of an item whose values are paths of pictures of one size.

An item may also have ``annotated``, the list of kinds of mask that somebody looked for: one that it names and that has
no key of its own is empty.
"""

ENDING = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
"""Pattern of the endings of all pictures that can be read."""


@dataclass(frozen=True)
class Layout:
    """A data set as it lies on disk.

    Attributes:
        name: of the set.
        about: what it holds, in a line.
        tree: the files by which it is recognised.
        link: where to get it.
        terms: its licence.
        read: from a directory to its items in ``training`` and ``test`` (and ``validation``, if the set has one);
            ``None`` if the directory is not laid out so.
        count: photographs in the complete set, if that is fixed.
        details: what else a user has to know of the layout, lines of their own.
    """

    name: str
    about: str
    tree: str
    link: str
    terms: str
    read: Callable[[Path], Datalist | None]
    count: int | None = None
    details: tuple[str, ...] = ()


def matching(folders: Iterable[Path], pattern: str, case: Callable[[str], str]) -> dict[str, Path]:
    """Files whose whole name matches, whatever its case, by the text of their group ``id``, sorted as text.

    Args:
        folders: where to look, not below.
        pattern: a regular expression with a group ``id``.
        case: brings the text of ``id`` to the case in which the set writes it.

    Raises:
        RetinaError: two files of one ``id``.
    """
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in folder.iterdir()):
        match = re.fullmatch(pattern, path.name, re.IGNORECASE)
        if match is None or path.is_dir():  # a broken link is named when it is read
            continue
        key = case(match["id"])
        if key in found:
            raise RetinaError(f"{path} and {found[key]} are one picture twice: remove or rename one of them")
        found[key] = path
    return dict(sorted(found.items()))


def pictures_by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Pictures by their names without ending, in the composed form of Unicode (macOS writes the other).

    Raises:
        RetinaError: two of one name.
    """
    return matching(folders, rf"(?s:(?P<id>[^.].*?)({ENDING}))", lambda text: unicodedata.normalize("NFC", text))


def folder_named(parent: Path, name: str) -> Path | None:
    """The folder of that name, whatever its case and spaces; ``None`` if there is none."""
    folders = (path for path in parent.iterdir() if path.is_dir())
    return next((path for path in sorted(folders) if _plain(path.name) == _plain(name)), None)


def folders_at(roots: Iterable[Path], *names: str) -> list[Path]:
    """From each root the folder at the end of the names, one inside the other; those that are there."""
    folders = list(roots)
    for name in names:
        folders = [inner for folder in folders if (inner := folder_named(folder, name))]
    return folders


def refuse_lonely(masks: Mapping[str, Path], images: Mapping[str, Path]) -> None:
    """Refuse a mask without its photograph.

    Raises:
        RetinaError: there is one.
    """
    for key, path in masks.items():
        if key not in images:
            raise RetinaError(f"{path} is a mask without its photograph: give both one name, or remove the mask")


class NoVesselMapsError(RetinaError):
    """Photographs of a data set and none of its vessel maps: enough for who asks for photographs."""


def pair(images: Mapping[str, Path], vessels: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    """Photograph and vessel map of each key.

    Raises:
        NoVesselMapsError: there are photographs and no vessel map at all.
        RetinaError: one without the other.
    """
    kind = RetinaError if vessels else NoVesselMapsError
    for key, path in images.items():
        if key not in vessels:
            raise kind(f"{path} is a photograph without its vessel map: add the map or remove the photograph")
    for key, path in vessels.items():
        if key not in images:
            raise RetinaError(f"{path} is a vessel map without its photograph: add the photograph or remove the map")
    return {key: (path, vessels[key]) for key, path in images.items()}


def last_fifth(items: Sequence[Item]) -> Datalist:
    """Split a set that names nobody for testing: the last fifth of its patients, sorted as text, test.

    At least one does, but nobody of a single one.
    """
    patients = sorted({item["patient"] for item in items})
    testing = set(patients[-max(1, round(len(patients) / 5)) :]) if len(patients) > 1 else set()
    return {
        "training": [item for item in items if item["patient"] not in testing],
        "test": [item for item in items if item["patient"] in testing],
    }


def describe(dataset: str, key: str, pictures: Mapping[str, Path | None], patient: str, **more: Any) -> Item:
    """A line of the datalist: paths of the pictures that are there, then patient, data set and unique name."""
    paths = {picture: str(path) for picture, path in pictures.items() if path is not None}
    return {**paths, "patient": f"{dataset}/{patient}", "dataset": dataset, "name": f"{dataset}_{key}", **more}


def _plain(name: str) -> str:
    return re.sub(r"%20|[\s_-]", "", name).casefold()
