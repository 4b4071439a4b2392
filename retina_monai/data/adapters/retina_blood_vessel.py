"""The set 'Retina Blood Vessel' of Kaggle: 80 photographs for training and 20 for testing, 512 x 512.

``train`` and ``test`` use the same names, so the split is part of an item's name. Origin and patients of the
photographs are not published, so each photograph counts as a patient.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import (
    Datalist,
    Layout,
    describe,
    folder_named,
    folders_at,
    last_fifth,
    matching,
    pair,
)

__all__ = ["RETINA_BLOOD_VESSEL", "read_retina_blood_vessel"]

FOLDERS = {"train": "training", "test": "test"}


def read_retina_blood_vessel(directory: Path) -> Datalist | None:
    """Items of ``Data`` (with ``train`` and ``test``), or of the folder above it.

    Photograph and mask have the same name. In a copy without ``test``, the last fifth is for testing.

    Raises:
        RetinaError: if a photograph lacks its vessel map, or the reverse.
    """
    root = folder_named(directory, "Data") or directory
    images, vessels = (_pictures(root, name) for name in ("image", "mask"))
    if not images and not vessels:
        return None
    datalist: Datalist = {"training": [], "test": []}
    for (split, name), (image, vessel) in pair(images, vessels).items():
        key = f"{split}_{name}"
        item = describe("RetinaBloodVessel", key, {"image": image, "vessel": vessel}, key)
        datalist[FOLDERS[split]].append(item)
    return datalist if datalist["test"] else last_fifth(datalist["training"])


def _pictures(root: Path, kind: str) -> dict[tuple[str, str], Path]:
    """Images by split and name."""
    return {
        (split, key): path
        for split in FOLDERS
        for key, path in matching(folders_at([root], split, kind), r"(?s:(?P<id>[^.].*)\.png)", str).items()
    }


RETINA_BLOOD_VESSEL = Layout(
    name="RetinaBloodVessel",
    about="the set 'Retina Blood Vessel' of Kaggle: 100 photographs, 512 x 512, with vessel maps",
    tree="Data/train/image/0.png, Data/train/mask/0.png",
    link="https://www.kaggle.com/datasets/abdallahwagih/retina-blood-vessel",
    terms="not known to this project: see its page",
    read=read_retina_blood_vessel,
    count=100,
)
