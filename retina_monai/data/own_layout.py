"""The library's own layout: of phantoms, of generated sets, and of anyone's pictures in two folders.

``datalist.json`` names the pictures (paths relative to it), patients and splits, as MONAI's ``load_decathlon_datalist``
reads it. Without it, ``images/`` and ``vessels/`` (and ``fovs/``) are paired by name, and each name is a patient.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from retina_monai.data.layout import PICTURES, SPLITS, Datalist, Item, Layout, describe, matching, pair
from retina_monai.data.reading import IMAGE_SUFFIXES
from retina_monai.errors import RetinaError

__all__ = ["OWN_LAYOUT", "read_datalist_file", "read_own_layout"]

NEEDED = ("image", "vessel", "patient")
ENDING = "|".join(suffix.replace(".", r"\.") for suffix in IMAGE_SUFFIXES)


def read_own_layout(directory: Path) -> Datalist | None:
    """Items of a directory with ``datalist.json``, or with ``images`` and ``vessels``.

    Raises:
        RetinaError: a set that is not finished; a ``datalist.json`` as :func:`read_datalist_file`; a photograph
            without its vessel map, or the reverse.
    """
    if (directory / "datalist.json").is_file():
        return read_datalist_file(directory / "datalist.json")
    if not all((directory / name).is_dir() for name in ("images", "vessels")):
        return None
    if (directory / "manifest.jsonl").is_file():
        raise RetinaError(f"{directory} is not finished, it has no datalist.json: run again the command that writes it")
    images, vessels, fovs = (_stems(directory / name) for name in ("images", "vessels", "fovs"))
    if not images and not vessels:
        return None
    pairs = pair(images, vessels).items()
    dataset = directory.name
    return {
        "training": [
            describe(dataset, key, {"image": image, "vessel": vessel, "fov": fovs.get(key)}, key)
            for key, (image, vessel) in pairs
        ]
    }


def read_datalist_file(path: Path) -> Datalist:
    """Items of a ``datalist.json``, with the full paths of their pictures.

    Raises:
        RetinaError: it is not JSON, lists no eyes, or an item lacks image, vessel or patient.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        datalist = {split: [dict(item) for item in content.get(split, [])] for split in SPLITS}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RetinaError(f"{path} is not a datalist: it takes JSON with items in {', '.join(SPLITS)}") from error
    if not any(datalist.values()):
        raise RetinaError(f"{path} lists no eyes: it takes items in {', '.join(SPLITS)}")
    name = str(content.get("name", path.parent.name))
    return {split: [_complete(item, split, path, name) for item in items] for split, items in datalist.items()}


def _complete(item: dict[str, Any], split: str, path: Path, dataset: str) -> Item:
    """Full paths for pictures, and what a line may leave out."""
    for key in NEEDED:
        if not isinstance(item.get(key), str):
            raise RetinaError(f"{path}: an item of {split} has no {key}: each needs {', '.join(NEEDED)} as text")
    paths = {key: os.path.realpath(path.parent / item[key]) for key in PICTURES if key in item}
    return {"dataset": dataset, "name": Path(item["image"]).name.split(".")[0]} | item | paths


def _stems(folder: Path) -> dict[str, Path]:
    return matching([folder], rf"(?P<id>[^.].*?)({ENDING})", str) if folder.is_dir() else {}


OWN_LAYOUT = Layout(
    name="retina_monai",
    about="what this project writes (phantoms, generated sets), or your own pictures in the same folders",
    tree="datalist.json, or images/NAME.png and vessels/NAME.png",
    link="python -m retina_monai phantom DIR; or put your own pictures into images/, vessels/ and (if any) fovs/",
    terms="those of the pictures",
    read=read_own_layout,
)
