"""DRIVE: 40 photographs of a diabetes screening (Staal et al. 2004, https://doi.org/10.1109/TMI.2004.825627).

Older copies have vessel maps of two observers for the official test photographs, which are then the test split. The
current release has none. Its test split is the last fifth of the 20 training photographs, followed by the official test
photographs without ``vessel``.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Item, Layout, describe, folders_at, last_fifth, matching, pair

__all__ = ["DRIVE", "read_drive"]

FOLDERS = {"image": "images", "vessel": "1st_manual", "vessel_2nd": "2nd_manual", "fov": "mask"}
MASK = r"\.(gif|png|tiff?)"
"""GIF as released. Many copies are converted because OpenCV cannot read GIF."""


def read_drive(directory: Path) -> Datalist | None:
    """Items of a directory with ``training`` and ``test``, or one of them.

    Raises:
        RetinaError: if a photograph lacks the first observer's map (unless the whole test split does), or the reverse.
    """
    found = {split: _pictures(directory, split) for split in ("training", "test")}
    labelled = [split for split in found if found[split]["vessel"] or split == "training"]
    images, vessels = (
        {(split, key): path for split in labelled for key, path in found[split][kind].items()}
        for kind in ("image", "vessel")
    )
    pair(images, vessels)
    train, test = (_items(pictures) for pictures in found.values())
    if not train and not test:
        return None
    if any("vessel" in item for item in test):
        return {"training": train, "test": test}
    datalist = last_fifth(train)
    return {"training": datalist["training"], "test": datalist["test"] + test}


def _pictures(directory: Path, split: str) -> dict[str, dict[str, Path]]:
    endings = {"image": rf"_{split}\.(tiff?|png)", "fov": rf"_{split}_mask{MASK}"}
    endings |= {"vessel": rf"_manual1{MASK}", "vessel_2nd": rf"_manual2{MASK}"}
    return {
        key: matching(folders_at([directory], split, name), rf"(?P<id>\d\d){endings[key]}", str)
        for key, name in FOLDERS.items()
    }


def _items(found: dict[str, dict[str, Path]]) -> list[Item]:
    return [
        describe("DRIVE", number, {key: files.get(number) for key, files in found.items()}, number)
        for number in found["image"]
    ]


DRIVE = Layout(
    name="DRIVE",
    about="40 photographs, 565 x 584, 45 degrees, with fields of view; vessel maps of one or two observers",
    tree="training/images/21_training.tif, training/1st_manual/21_manual1.gif",
    link="https://drive.grand-challenge.org/",
    terms="research only, after registration; no redistribution",
    read=read_drive,
    count=40,
)
