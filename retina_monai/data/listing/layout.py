"""What the layout of a data set is to this library, and what its readers share: listing files and pairing them."""

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
"""The words, in lower case, by which tables and datalists call a split."""

ENDING = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
"""Pattern of the endings of all pictures that can be read."""


UNPAIRED = 50  # files without a partner that an error names


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


def picture_name(path: Path) -> str:
    """The name under which :func:`pictures_by_name` lists a file: without its ending."""
    return unicodedata.normalize("NFC", re.sub(rf"({ENDING})$", "", path.name, flags=re.IGNORECASE))


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


def full_path(path: str | Path) -> str:
    """The absolute path of a file. Links in its folders are followed; the file's own name, which says its kind, stays.

    In a content store (Hugging Face's cache, DVC, git-annex) a file is a link to one that is named by a digest.

    Raises:
        OSError, ValueError, RecursionError: no file can have this name.
    """
    os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def lonely(images: Mapping[Key, Path], *masks: Mapping[Key, Path]) -> list[str]:
    """A sentence for each mask without its photograph, for :func:`refuse_unpaired`.

    Args:
        images: photographs by key.
        masks: masks of one kind each, by the same keys.
    """
    advice = "is a mask without its photograph: give both one name, or remove the mask"
    return [f"{path} {advice}" for found in masks for key, path in found.items() if key not in images]


def refuse_unpaired(faults: Sequence[str], kind: type[RetinaError] = RetinaError) -> None:
    """Refuse the files without a partner, all in one sentence.

    Args:
        faults: a sentence for each of them.
        kind: of the error.

    Raises:
        RetinaError: there are any.
    """
    if len(faults) == 1:
        raise kind(faults[0])
    if faults:
        raise kind(f"{join_first(faults, UNPAIRED)} ({len(faults)} files have no partner)")


class NoVesselMapsError(RetinaError):
    """Photographs of a data set and none of its vessel maps: enough for who asks for photographs."""


def pair(
    images: Mapping[Key, Path], vessels: Mapping[Key, Path], *masks: Mapping[Key, Path]
) -> dict[Key, tuple[Path, Path]]:
    """Photograph and vessel map of each key.

    Args:
        images: photographs by key.
        vessels: vessel maps by the same keys.
        masks: other masks of one kind each, which need not be there for every photograph.

    Raises:
        NoVesselMapsError: there are photographs and no vessel map at all.
        RetinaError: names all files without their partner.
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
