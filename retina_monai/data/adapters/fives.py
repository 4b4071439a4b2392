"""FIVES: 800 photographs in four classes (Jin et al. 2022, https://doi.org/10.1038/s41597-022-01564-3).

``train`` and ``test`` use the same names, so the split is part of an item's name. The patients are not published. Two
photographs with the same vessel map (``train/22_A`` and ``train/23_A``) show one eye and are assigned to one patient.
The test split is the ``test`` folder. In a copy without it, the last 6 names in text order are for testing, or the last
fifth of the patients if there are at most 6 photographs.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Item, Layout, describe, folders_at, last_fifth, matching, pair

__all__ = ["FIVES", "read_fives"]

LONG_NAME = "fives a fundus image dataset"
TEST = 6


def read_fives(directory: Path) -> Datalist | None:
    """Items of a directory with ``train`` and ``test``, or of the folder above it.

    Raises:
        RetinaError: if a photograph lacks its vessel map, or the reverse.
    """
    roots = [directory, *sorted(path for path in directory.iterdir() if path.name.casefold().startswith(LONG_NAME))]
    images, vessels = (
        _pictures([root for root in roots if root.is_dir()], name) for name in ("Original", "Ground truth")
    )
    if not images and not vessels:
        return None
    items = _join_eyes(
        [
            describe("FIVES", key, {"image": image, "vessel": vessel}, key)
            for key, (image, vessel) in pair(images, vessels).items()
        ]
    )
    official = sum(key.startswith("test_") for key in images)
    if not official and len(items) <= TEST:
        return last_fifth(items)
    first_test = len(items) - (official or TEST)
    return {"training": items[:first_test], "test": items[first_test:]}


def _pictures(roots: list[Path], name: str) -> dict[str, Path]:
    """Files of both splits, ``train`` first."""
    found = {
        split: matching(folders_at(roots, split, name), r"(?P<id>\d+_[ADGN])\.png", str.upper)
        for split in ("train", "test")
    }
    return {f"{split}_{key}": path for split, files in found.items() for key, path in files.items()}


def _join_eyes(items: list[Item]) -> list[Item]:
    """Assign photographs with the same vessel map to the patient of the first."""
    patients: dict[bytes, str] = {}
    digests = (sha256(Path(item["vessel"]).read_bytes()).digest() for item in items)
    return [
        item | {"patient": patients.setdefault(digest, item["patient"])}
        for item, digest in zip(items, digests, strict=True)
    ]


FIVES = Layout(
    name="FIVES",
    about="photographs with AMD, diabetic retinopathy, glaucoma and of normal eyes, 2048 x 2048, 50 degrees",
    tree="train/Original/1_A.png, train/Ground truth/1_A.png",
    link="https://doi.org/10.6084/m9.figshare.19688169",
    terms="CC BY 4.0",
    read=read_fives,
    count=800,
)
