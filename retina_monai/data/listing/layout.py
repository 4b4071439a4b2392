"""The layout of a data set, and functions to list and pair its files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from retina_monai.data.files.reading import IMAGE_SUFFIXES
from retina_monai.errors import RetinaError, join_first
from retina_monai.kinds import PICTURES

__all__ = [
    "ENDING",
    "ROLES",
    "SPLITS",
    "Datalist",
    "Item",
    "Layout",
    "NoVesselMapsError",
    "describe",
    "folder_named",
    "folders_at",
    "full_path",
    "last_fifth",
    "lonely",
    "main_picture",
    "matching",
    "pair",
    "picture_name",
    "pictures_by_name",
    "refuse_unpaired",
]

Item = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)
Datalist = dict[str, list[Item]]

SPLITS = ("training", "validation", "test")

ROLES = {
    **dict.fromkeys(("training", "train"), "training"),
    **dict.fromkeys(("validation", "val", "valid"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of splits in tables and datalists, in lower case."""

ENDING = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
"""Regular expression of the suffixes of all supported images."""


UNPAIRED = 50  # maximum number of unpaired files in an error message


@dataclass(frozen=True)
class Layout:
    """The layout of a data set on disk.

    Attributes:
        name: name of the data set.
        about: one line about its content.
        tree: the files by which it is recognised.
        link: where to get it.
        terms: its licence.
        read: function that maps a directory to items of ``training`` and ``test`` (and of ``validation``, if the set
            has this split), or to ``None`` if the directory does not have this layout.
        count: number of photographs in the complete set, if fixed.
        details: further lines about the layout.
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
    """Files whose full name matches a pattern, ignoring case, keyed and sorted by the group ``id``.

    Args:
        folders: folders to search, not recursively.
        pattern: regular expression with a group ``id``.
        case: function that converts the text of ``id`` to the case used by the data set.

    Raises:
        RetinaError: if two files have the same ``id``.
    """
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in folder.iterdir()):
        match = re.fullmatch(pattern, path.name, re.IGNORECASE)
        if match is None or path.is_dir():  # broken links are reported when they are read
            continue
        key = case(match["id"])
        if key in found:
            raise RetinaError(f"{path} and {found[key]} are the same picture: remove or rename one of them")
        found[key] = path
    return dict(sorted(found.items()))


def pictures_by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Images by name without suffix, in Unicode's composed form (NFC), since macOS uses the decomposed form.

    Raises:
        RetinaError: if two images have the same name.
    """
    return matching(folders, rf"(?s:(?P<id>[^.].*?)({ENDING}))", lambda text: unicodedata.normalize("NFC", text))


def picture_name(path: Path) -> str:
    """The name without suffix under which :func:`pictures_by_name` lists a file."""
    return unicodedata.normalize("NFC", re.sub(rf"({ENDING})$", "", path.name, flags=re.IGNORECASE))


def folder_named(parent: Path, name: str) -> Path | None:
    """The folder of the given name, ignoring case, spaces, hyphens and underscores; ``None`` if there is none."""
    folders = (path for path in parent.iterdir() if path.is_dir())
    return next((path for path in sorted(folders) if _plain(path.name) == _plain(name)), None)


def folders_at(roots: Iterable[Path], *names: str) -> list[Path]:
    """The folders that exist at the path of nested ``names`` below each root."""
    folders = list(roots)
    for name in names:
        folders = [inner for folder in folders if (inner := folder_named(folder, name))]
    return folders


def main_picture(item: Item) -> str:
    """The photograph of an item of a datalist or, in a set without photographs, its first other image."""
    return str(next(item[kind] for kind in PICTURES if kind in item))


def full_path(path: str | Path) -> str:
    """The absolute path of a file, with links resolved in its folders but not in the file name.

    In a content store (Hugging Face's cache, DVC, git-annex), a file is a link to one that is named by a digest. The
    name of the link is kept because its suffix gives the file format.

    Raises:
        OSError, ValueError, RecursionError: if the path is not a valid file name.
    """
    os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def lonely(images: Mapping[Key, Path], *masks: Mapping[Key, Path]) -> list[str]:
    """One sentence for each mask without a photograph, for :func:`refuse_unpaired`.

    Args:
        images: photographs by key.
        masks: for each kind of mask, its files by the same keys.
    """
    advice = "is a mask without its photograph: give both one name, or remove the mask"
    return [f"{path} {advice}" for found in masks for key, path in found.items() if key not in images]


def refuse_unpaired(faults: Sequence[str], kind: type[RetinaError] = RetinaError) -> None:
    """Raise one error for all unpaired files.

    Args:
        faults: one sentence for each unpaired file.
        kind: class of the error.

    Raises:
        RetinaError: if there are unpaired files.
    """
    if len(faults) == 1:
        raise kind(faults[0])
    if faults:
        raise kind(f"{join_first(faults, UNPAIRED)} ({len(faults)} files have no partner)")


class NoVesselMapsError(RetinaError):
    """A data set has photographs but no vessel maps. This suffices where only photographs are needed."""


def pair(
    images: Mapping[Key, Path], vessels: Mapping[Key, Path], *masks: Mapping[Key, Path]
) -> dict[Key, tuple[Path, Path]]:
    """Pair photographs with vessel maps by key.

    Args:
        images: photographs by key.
        vessels: vessel maps by the same keys.
        masks: for each kind of other mask, its files by the same keys. They may be incomplete.

    Raises:
        NoVesselMapsError: if there are photographs but no vessel maps.
        RetinaError: if files are unpaired. The message names them.
    """
    advice = {
        "is a photograph without its vessel map: add the map or remove the photograph": (images, vessels),
        "is a vessel map without its photograph: add the photograph or remove the map": (vessels, images),
    }
    faults = [
        f"{path} {text}" for text, (ours, theirs) in advice.items() for key, path in ours.items() if key not in theirs
    ]
    refuse_unpaired(faults + lonely(images, *masks), RetinaError if vessels else NoVesselMapsError)
    return {key: (path, vessels[key]) for key, path in images.items()}


def last_fifth(items: Sequence[Item]) -> Datalist:
    """Split a set without a test split: the last fifth of its patients, sorted as text, become the test split.

    The test split has at least one patient, unless the set has only one patient.
    """
    patients = sorted({item["patient"] for item in items})
    testing = set(patients[-max(1, round(len(patients) / 5)) :]) if len(patients) > 1 else set()
    return {
        "training": [item for item in items if item["patient"] not in testing],
        "test": [item for item in items if item["patient"] in testing],
    }


def describe(dataset: str, key: str, pictures: Mapping[str, Path | None], patient: str, **more: Any) -> Item:
    """Create an item of a datalist from the existing images, the patient, the data set and a unique name."""
    paths = {picture: str(path) for picture, path in pictures.items() if path is not None}
    return {**paths, "patient": f"{dataset}/{patient}", "dataset": dataset, "name": f"{dataset}_{key}", **more}


def _plain(name: str) -> str:
    return re.sub(r"%20|[\s_-]", "", name).casefold()
