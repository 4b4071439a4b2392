"""CHASE_DB1: both eyes of 14 children, two observers (Fraz et al. 2012, https://doi.org/10.1109/TBME.2012.2205687).

Children 01 to 10 are for training and validation, 11 to 14 for testing. Both eyes of a child are in the same split.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Layout, describe, matching, pair

__all__ = ["CHASE_DB1", "read_chase_db1"]

FIRST_TEST_CHILD = "11"


def read_chase_db1(directory: Path) -> Datalist | None:
    """Items of a directory with ``Image_01L.jpg``, ``Image_01L_1stHO.png`` and optionally ``Image_01L_2ndHO.png``.

    Raises:
        RetinaError: if a photograph lacks the first observer's map, or the reverse.
    """
    images, first, second = (
        matching([directory], rf"Image_(?P<id>\d\d[LR]){ending}", str.upper)
        for ending in (r"\.jpe?g", r"_1stHO\.png", r"_2ndHO\.png")
    )
    if not images and not first:
        return None
    datalist: Datalist = {"training": [], "test": []}
    for key, (image, vessel) in pair(images, first).items():
        child, eye = key[:2], key[2]
        pictures = {"image": image, "vessel": vessel, "vessel_2nd": second.get(key)}
        split = "test" if child >= FIRST_TEST_CHILD else "training"
        datalist[split].append(describe("CHASE_DB1", key, pictures, child, laterality=eye))
    return datalist


CHASE_DB1 = Layout(
    name="CHASE_DB1",
    about="photographs of both eyes of 14 children, 999 x 960, 30 degrees, vessel maps of two observers",
    tree="Image_01L.jpg, Image_01L_1stHO.png",
    link="https://researchdata.kingston.ac.uk/96/",
    terms="CC BY 4.0",
    read=read_chase_db1,
    count=28,
)
