"""STARE: 20 photographs, ten with pathology (Hoover et al. 2000, https://doi.org/10.1109/42.845178).

The patients are not published, so each photograph counts as a patient. The set defines no test split, so the last fifth
in text order is for testing.
"""

from __future__ import annotations

from pathlib import Path

from retina_monai.data.listing.layout import Datalist, Layout, describe, folder_named, last_fifth, matching, pair

__all__ = ["STARE", "read_stare"]

FOLDERS = ("stare-images", "labels-ah", "labels-vk")


def read_stare(directory: Path) -> Datalist | None:
    """Items of a directory with the three unpacked archives, each in a folder of its name or all in one folder.

    Files are recognised by name, with or without ``.gz``: ``im0001.ppm.gz`` is a photograph, ``im0001.ah.ppm.gz`` the
    map of the first observer (A. Hoover) and ``im0001.vk.ppm.gz`` that of the second (V. Kouznetsova).

    Raises:
        RetinaError: if a photograph lacks the first observer's map, or the reverse; or if a file exists both with and
            without ``.gz``.
    """
    folders = [directory, *(folder for name in FOLDERS if (folder := folder_named(directory, name)))]
    images, first, second = (
        matching(folders, rf"(?P<id>im\d{{4}}){observer}\.ppm(\.gz)?", str.lower) for observer in ("", r"\.ah", r"\.vk")
    )
    if not images and not first:
        return None
    return last_fifth(
        [
            describe("STARE", key, {"image": image, "vessel": vessel, "vessel_2nd": second.get(key)}, key)
            for key, (image, vessel) in pair(images, first).items()
        ]
    )


STARE = Layout(
    name="STARE",
    about="photographs of 10 healthy eyes and 10 with pathology, 700 x 605, 35 degrees, vessel maps of two observers",
    tree="stare-images/im0001.ppm.gz, labels-ah/im0001.ah.ppm.gz, or all in one folder",
    link="https://cecas.clemson.edu/~ahoover/stare/",
    terms="research; no licence is stated",
    read=read_stare,
    count=20,
)
