"""IDRiD, part A: lesions and discs of 81 eyes (Porwal et al. 2018, https://doi.org/10.3390/data3030025).

The set has no vessel maps. Those of other sources, such as AV-MapNet, are read from a separate folder. An eye without a
type of lesion has no file for it. ``annotated`` lists the types of lesion whose folder exists, which distinguishes a
healthy eye from a missing annotation.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import (
    ENDING,
    Datalist,
    Item,
    Layout,
    describe,
    folder_named,
    folders_at,
    last_fifth,
    lonely,
    matching,
    refuse_unpaired,
)

__all__ = ["IDRID", "read_idrid"]

PART = "A. Segmentation"
IMAGES = "1. Original Images"
MASKS = "2. All Segmentation Groundtruths"
SPLITS = {"training": "a. Training Set", "test": "b. Testing Set"}
VESSELS = ("vessels", "vessels_avmapnet")
KINDS = {
    "disc": ("5. Optic Disc", "OD"),
    "microaneurysms": ("1. Microaneurysms", "MA"),
    "haemorrhages": ("2. Haemorrhages", "HE"),
    "hard_exudates": ("3. Hard Exudates", "EX"),
    "soft_exudates": ("4. Soft Exudates", "SE"),
}
"""Folder and file name ending of each kind of mask."""

NUMBER = r"(?P<id>IDRiD_\d\d)"


def read_idrid(directory: Path) -> Datalist | None:
    """Items of ``A. Segmentation`` or of the folder above it.

    Vessel maps are read from ``vessels`` and ``vessels_avmapnet`` inside ``directory``. The official split is used. In
    a copy without the testing set, the last fifth is for testing.

    Raises:
        RetinaError: if a mask or vessel map lacks its photograph, or a photograph has two vessel maps.
    """
    part = folder_named(directory, PART) or directory
    part = folder_named(part, PART) or part  # the archive unpacks into a folder of the same name
    images = {
        split: matching(folders_at([part], IMAGES, name), rf"{NUMBER}\.jpe?g", _case) for split, name in SPLITS.items()
    }
    if not any(images.values()):
        return None
    folders = [folder for name in VESSELS if (folder := folder_named(directory, name))]
    vessels = matching(folders, rf"{NUMBER}({ENDING})", _case)
    masks = {split: _masks(part, name) for split, name in SPLITS.items()}
    faults = [text for split in SPLITS for text in lonely(images[split], *masks[split].values())]
    refuse_unpaired(lonely(images["training"] | images["test"], vessels) + faults)
    train, test = (_items(images[split], vessels, masks[split]) for split in ("training", "test"))
    return {"training": train, "test": test} if test else last_fifth(train)


def _masks(part: Path, split: str) -> dict[str, dict[str, Path]]:
    """Masks of each kind whose folder exists."""
    folders = {kind: folders_at([part], MASKS, split, folder) for kind, (folder, _) in KINDS.items()}
    return {
        kind: matching(folders[kind], rf"{NUMBER}_{ending}\.tiff?", _case)
        for kind, (_, ending) in KINDS.items()
        if folders[kind]
    }


def _items(images: dict[str, Path], vessels: dict[str, Path], masks: dict[str, dict[str, Path]]) -> list[Item]:
    annotated = [kind for kind in masks if kind != "disc"]
    items = []
    for key, image in images.items():
        pictures = {"image": image, "vessel": vessels.get(key)} | {
            kind: files.get(key) for kind, files in masks.items()
        }
        number = key.rpartition("_")[2]
        more = {"annotated": annotated} if annotated else {}
        items.append(describe("IDRiD", number, pictures, number, **more))
    return items


def _case(text: str) -> str:
    return text.lower().replace("idrid", "IDRiD")


IDRID = Layout(
    name="IDRiD",
    about="photographs of 81 eyes, 4288 x 2848, 50 degrees, with optic discs and four types of lesion; no vessel maps",
    tree="A. Segmentation/1. Original Images/a. Training Set/IDRiD_01.jpg",
    link="https://doi.org/10.21227/H25W98",
    terms="CC BY 4.0",
    read=read_idrid,
    count=81,
    details=("your own vessel maps: vessels/IDRiD_01.png beside the folder 'A. Segmentation'",),
)
