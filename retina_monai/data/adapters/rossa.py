"""ROSSA: 918 en-face OCTA images of the macula with vessel labels (Ning et al. 2023, https://arxiv.org/abs/2309.09483).

The authors' splits are used: ``train_manual`` and, if present, ``train_sam`` (labelled with the help of a network) for
training, ``val`` for validation and ``test`` for testing. File names are numbers that restart in each folder, so the
folder is part of an item's name. Patients are not published, so each image counts as a patient.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Layout, describe, folders_at, matching, pair

__all__ = ["ROSSA", "read_rossa"]

FOLDERS = {"train_manual": "training", "train_sam": "training", "val": "validation", "test": "test"}


def read_rossa(directory: Path) -> Datalist | None:
    """Items of a directory with ``train_manual``, ``val`` and ``test``; ``label`` is their vessel map.

    Raises:
        RetinaError: if an image lacks its label, or the reverse.
    """
    if not folders_at([directory], "train_manual", "image"):
        return None
    datalist: Datalist = {"training": [], "validation": [], "test": []}
    for folder, split in FOLDERS.items():
        images, labels = (
            matching(folders_at([directory], folder, kind), r"(?P<id>\d+)\.png", str) for kind in ("image", "label")
        )
        keys = sorted(pair(images, labels), key=int)
        datalist[split] += [
            describe("ROSSA", f"{folder}_{key}", {"image": images[key], "vessel": labels[key]}, f"{folder}_{key}")
            for key in keys
        ]
    return datalist


ROSSA = Layout(
    name="ROSSA",
    about="en-face OCTA images of the macula, 320 x 320, with vessel labels",
    tree="train_manual/image/1.png, train_manual/label/1.png",
    link="https://github.com/nhjydywd/OCTA-FRNet",
    terms="MIT",
    read=read_rossa,
    count=918,
)
