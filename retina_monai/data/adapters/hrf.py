"""HRF: 45 photographs in three classes (Budai et al. 2013, https://doi.org/10.1155/2013/154860).

Each photograph shows a different person, including ``01_dr``, ``01_g`` and ``01_h``. The last 6 names in text order are
for testing, or the last fifth if there are at most 6 photographs.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Layout, describe, last_fifth, matching, pair

__all__ = ["HRF", "read_hrf"]

TEST = 6


def read_hrf(directory: Path) -> Datalist | None:
    """Items of a directory with the content of ``all.zip`` (``images``, ``manual1``, ``mask``) or of the class zips.

    Files are recognised by name: ``01_dr.JPG`` is a photograph, ``01_dr.tif`` its vessel map and ``01_dr_mask.tif`` its
    field of view.

    Raises:
        RetinaError: if a photograph lacks its vessel map, or the reverse.
    """
    folders = [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]
    images, vessels, fovs = (
        matching(folders, rf"(?P<id>\d\d_(dr|g|h)){ending}", str.lower)
        for ending in (r"\.jpe?g", r"\.tiff?", r"_mask\.tiff?")
    )
    if not images and not vessels:
        return None
    items = [
        describe("HRF", key, {"image": image, "vessel": vessel, "fov": fovs.get(key)}, key)
        for key, (image, vessel) in pair(images, vessels).items()
    ]
    if len(items) <= TEST:
        return last_fifth(items)
    return {"training": items[:-TEST], "test": items[-TEST:]}


HRF = Layout(
    name="HRF",
    about="photographs of 15 healthy eyes, 15 with diabetic retinopathy and 15 with glaucoma, 3504 x 2336",
    tree="images/01_dr.JPG, manual1/01_dr.tif",
    link="https://www5.cs.fau.de/research/data/fundus-images/",
    terms="CC BY 4.0",
    read=read_hrf,
    count=45,
)
