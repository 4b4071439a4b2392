"""Read ``datalist.json``, which lists eyes with their image paths, patients and splits.

The format is that of MONAI's ``load_decathlon_datalist``, which follows ``dataset.json`` of the Medical Segmentation
Decathlon: one object with a list of items under each of ``training``, ``validation`` and ``test``. The split names of
Auto3DSeg and nnU-Net are accepted as well (:data:`retina_monai.data.listing.layout.ROLES`). Any invalid content raises
a ``RetinaError`` that names the file and the item, counted from 1.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from retina_monai.data.files.reading import IMAGE_SUFFIXES
from retina_monai.data.listing.layout import ROLES, SPLITS, Datalist, Item, full_path, main_picture
from retina_monai.errors import RetinaError
from retina_monai.kinds import PICTURES

__all__ = ["read_datalist_file"]

logger = logging.getLogger("retina_monai")

NEEDED = ("image", "patient")  # instead of a photograph, an item can have other pictures
TEXTS = ("patient", "dataset", "name")
SIDES = ("L", "R")
GRADES = range(5)  # diabetic retinopathy grades of Wilkinson et al. 2003, https://doi.org/10.1016/S0161-6420(03)00475-5
DEPTH = 16  # maximum nesting depth of an item, far below Python's recursion limit


def read_datalist_file(path: str | Path) -> Datalist:
    """Read the items of a ``datalist.json``, with full paths to their images.

    An item requires ``patient`` and ``image`` or, in a set without photographs, another image of :data:`PICTURES`.
    Optional keys are further images, ``dataset``, ``name``, ``laterality`` ('L' or 'R'), ``grade`` (0 to 4), ``stage``
    and ``annotated`` (keys of images). Other keys are kept unchanged. ``label``, the mask's name in MONAI's examples,
    is read as ``vessel`` if there is no ``vessel``. ``fold`` is ignored with a warning. An optional key that is
    ``null`` counts as absent. Paths are relative to the file's folder and may point outside it. The existence of the
    images is not checked.

    Args:
        path: JSON file in UTF-8, with or without a byte order mark, or in UTF-16 or UTF-32.

    Returns:
        Items of ``training``, ``validation`` and ``test``, each with ``dataset`` and ``name``.

    Raises:
        RetinaError: if the file cannot be read, is not JSON, or lists no eyes; if items are listed under an unknown
            key or under two keys of one split; if an item lacks images or patient, or has a value of the wrong type; if
            a patient is in two splits; or if a photograph is listed twice.
    """
    path = Path(path)
    content = _parse(path)
    dataset, lists = _dataset(content, path), _lists(content, path)
    datalist = {
        split: [_eye(*entry, path, dataset) for entry in _entries(content, lists[split], path)] for split in lists
    }
    datalist = {split: datalist.get(split, []) for split in SPLITS}
    if content.get("synthetic") is True:
        datalist = {split: [{**item, "synthetic": True} for item in items] for split, items in datalist.items()}
    folds = sum("fold" in item for items in datalist.values() for item in items)
    if folds:
        logger.warning("%s: fold of %d items is ignored: list validation eyes under validation", path, folds)
    if not any(datalist.values()):
        raise RetinaError(f"{path} lists no eyes: it takes items in {', '.join(SPLITS)}")
    _check_duplicates(datalist, path)
    return datalist


class _Repeated(dict[str, Any]):
    """The duplicate keys of a JSON object, in place of the object."""


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    counts = Counter(key for key, _ in pairs)
    return _Repeated({key: None for key, count in counts.items() if count > 1})


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_object)
    except OSError as error:
        raise RetinaError(f"{path} cannot be read ({error.strerror}): give a datalist.json") from error
    except (ValueError, RecursionError) as error:
        raise RetinaError(f"{path} is not a datalist, it is not JSON ({_reason(error)}): write it as JSON") from error
    if isinstance(content, dict):
        _check_duplicate_keys(content, str(path))
        return content
    raise RetinaError(f"{path} is not a datalist: it takes JSON with items in {', '.join(SPLITS)}")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    return {UnicodeDecodeError: "bytes that are not UTF-8", RecursionError: "lists nested too deep"}.get(
        type(error), "a number of thousands of digits or an invalid name"
    )


def _dataset(content: dict[str, Any], path: Path) -> str:
    name = content.get("name")
    if name is None:
        return path.parent.name or "datalist"
    if not isinstance(name, str) or not name.strip():
        raise RetinaError(f"{path}: name is {_short(name)}: give the data set's name as text")
    return name


def _lists(content: dict[str, Any], path: Path) -> dict[str, str]:
    """The key under which the file lists the items of each split.

    Raises:
        RetinaError: if a split has two keys, or items are listed under an unknown key.
    """
    lists: dict[str, str] = {}
    for key, value in content.items():
        split = ROLES.get(key.lower())
        if split is None and _holds_items(value):
            raise RetinaError(
                f"{path}: {_short(key)} is not the name of a split: name it {', '.join(SPLITS)}, or remove it"
            )
        if split is not None and value != [] and lists.setdefault(split, key) != key:
            raise RetinaError(f"{path} has both {lists[split]} and {key}: put the items of {split} into one list")
    return lists


def _holds_items(value: Any) -> bool:
    """Whether a list, or a list inside an object, contains objects or image paths."""
    if isinstance(value, dict):
        return any(_holds_items(inner) for inner in value.values() if isinstance(inner, list))
    if not isinstance(value, list):
        return False
    return any(
        isinstance(one, dict) or (isinstance(one, str) and one.lower().endswith(IMAGE_SUFFIXES)) for one in value
    )


def _entries(content: dict[str, Any], split: str, path: Path) -> Iterator[tuple[Any, str]]:
    """Items of a list, each with its name in messages."""
    entries = content[split]
    if not isinstance(entries, list):
        raise RetinaError(f"{path}: {split} is {_short(entries)}: it takes a list of items")
    return ((entry, f"{path}: item {number} of {split}") for number, entry in enumerate(entries, 1))


def _eye(entry: Any, where: str, path: Path, dataset: str) -> Item:
    """Complete an item with full image paths and default values."""
    if not isinstance(entry, dict):
        raise RetinaError(f"{where} is {_short(entry)}: each is an object with {', '.join(NEEDED)}")
    _check_json(entry, where)
    item = {key: value for key, value in entry.items() if value is not None or not _is_known(key)}
    if isinstance(item.get("label"), str) and item.get("vessel", item["label"]) == item["label"]:
        item["vessel"] = item.pop("label")
    _check(item, where)
    paths = {key: _full(item[key], path.parent, f"{where}: {key}") for key in PICTURES if key in item}
    return {"dataset": dataset, "name": _name(main_picture(item))} | item | paths


def _is_known(key: str) -> bool:
    return key in PICTURES or key in TEXTS or key in ("label", "laterality", "grade", "stage", "annotated")


def _check(item: Item, where: str) -> None:
    for key in NEEDED:
        if key not in item and not (key == "image" and any(kind in item for kind in PICTURES)):
            raise RetinaError(f"{where} has no {key}: each needs {' and '.join(NEEDED)} as text")
    for key in (key for key in (*PICTURES, *TEXTS) if key in item):
        if not isinstance(item[key], str) or not item[key].strip():
            raise RetinaError(f"{where}: {key} is {_short(item[key])}: give it as text")
    if item.get("laterality", "L") not in SIDES:
        raise RetinaError(f"{where}: laterality is {_short(item['laterality'])}: it takes L or R")
    grade = item.get("grade", 0)
    if type(grade) is not int or grade not in GRADES:
        raise RetinaError(f"{where}: grade is {_short(grade)}: it takes a whole number from 0 to {GRADES[-1]}")
    annotated = item.get("annotated", [])
    if not isinstance(annotated, list) or not all(key in PICTURES[1:] for key in annotated):
        raise RetinaError(f"{where}: annotated is {_short(annotated)}: it takes a list of {', '.join(PICTURES[1:])}")


def _full(text: str, folder: Path, where: str) -> str:
    try:
        return full_path(folder / text)
    except (OSError, ValueError, RecursionError) as error:  # NUL, lone surrogates, loops of links
        raise RetinaError(f"{where} is {_short(text)}, which cannot be a file name: correct the path") from error


def _name(image: str) -> str:
    """File name up to its first dot, ignoring leading dots."""
    return Path(image).name.lstrip(".").split(".")[0] or "eye"


def _check_json(entry: dict[str, Any], where: str) -> None:
    """Reject duplicate keys, non-finite numbers and deep nesting."""
    level: list[Any] = [entry]
    for _ in range(DEPTH):
        for value in level:
            _check_duplicate_keys(value, where)
            if isinstance(value, float) and not math.isfinite(value):
                raise RetinaError(f"{where} has the number {value}, which JSON does not allow: write null")
        inner = (
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        )
        level = [value for values in inner for value in values]
    if level:
        raise RetinaError(f"{where} is nested more than {DEPTH} deep: make it flat")


def _check_duplicate_keys(value: Any, where: str) -> None:
    if isinstance(value, _Repeated):
        raise RetinaError(f"{where} names the key {_short(next(iter(value)))} twice: leave one of them out")


def _check_duplicates(datalist: Datalist, path: Path) -> None:
    """Reject a patient in two splits and a photograph in two items."""
    splits: dict[str, str] = {}
    places: dict[str, str] = {}
    for split, items in datalist.items():
        for number, item in enumerate(items, 1):
            patient, place = item["patient"], f"item {number} of {split}"
            if splits.setdefault(patient, split) != split:
                raise RetinaError(
                    f"{path}: patient {_short(patient)} is in {splits[patient]} and in {split} ({place}): "
                    "give each patient to one split"
                )
            if (first := places.setdefault(os.path.realpath(main_picture(item)), place)) != place:
                raise RetinaError(f"{path}: {first} and {place} are one photograph: remove one of them")


def _short(value: Any) -> str:
    """The ``repr`` of a value, truncated if it is long."""
    if isinstance(value, dict | list):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
