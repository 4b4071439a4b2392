"""Photographs to find vessels in: a folder of pictures, or any data set whose layout is recognised."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import Dataset, list_data_collate
from numpy.typing import NDArray

from retina_monai.data.files.checking import check_contents, check_files
from retina_monai.data.files.reading import IMAGE_SUFFIXES
from retina_monai.data.files.writing import is_synthetic
from retina_monai.data.listing.layout import SPLITS, Item, NoVesselMapsError, describe, folders_at, pictures_by_name
from retina_monai.data.listing.layouts import UnknownLayoutError, conditions_fingerprint, list_eyes
from retina_monai.data.listing.patients import identify
from retina_monai.data.listing.pseudonyms import IDENTITY, eye_keys, is_published
from retina_monai.data.sets.eyes import read_eye
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.transforms.field_of_view import crop_square, fov_box, resize_area

__all__ = ["Photographs", "collate_photographs", "find_photographs", "fit_photograph"]

ALL = "all"
TEXTS = ("name", "patient", "dataset", "laterality", "stage", "split")
UNGRADED = -1


class Photographs(Dataset):
    """Photographs as a network takes them, and as they are.

    Args:
        data: datalist items, such as :func:`find_photographs` gives.
        size: pixels a side that the network gets: the field of view fits into them.
        finished: names to leave out (an interrupted run's, say); the others keep their ``index``.
        transform: applied to the items: ``image`` float32 ``(3, size, size)`` in [0, 255], black outside of the field
            of view; at the photograph's own size ``photograph`` uint8 ``(3, H, W)``, ``fov`` uint8 ``(1, H, W)`` in
            {0, 1} (computed where the item has none) and, where it has one, ``vessel`` likewise; ``box``, int64
            ``(4,)``, where the square was cut from; texts, empty where unknown; ``grade`` (-1 where unknown),
            ``source``, ``index``, ``synthetic`` (0 or 1: what the file says), ``identity`` (keys of the files of eyes
            that nobody has published, :mod:`retina_monai.data.listing.pseudonyms`).
        skip_unreadable: a switch: leave out photographs that are broken or show no eye, for which all are decoded once
            more; otherwise what a photograph shows is refused when its turn comes.


    Raises:
        RetinaError: no photograph is left; of an item, as :func:`retina_monai.data.sets.eyes.read_eye`.
    """

    kinds = ("image",)
    """Of its pictures, as a network takes them."""

    def __init__(
        self,
        data: Sequence[Item],
        size: int,
        finished: Container[str] = (),
        transform: Callable[..., Any] | None = None,
        skip_unreadable: bool | str = False,
    ) -> None:
        self.size = size
        usable = check_contents(data, True) if parse_switch(skip_unreadable, "skip_unreadable") else data
        self.items = [item | {"index": index} for index, item in enumerate(usable)]
        super().__init__([item for item in self.items if item["name"] not in finished], transform)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on: ``size``, and a fingerprint of all photographs."""
        return {"size": self.size, "inputs": conditions_fingerprint(self.items, ("image", "fov"))}

    def _transform(self, index: int) -> Any:
        item = dict(self.data[index])
        eye = read_eye(item, ("vessel",))
        photograph = eye.pop("image")
        image, box = fit_photograph(photograph, eye["fov"], self.size)
        sample: Item = {"image": image, "photograph": photograph, **eye, "box": np.array(box)}
        sample |= {key: str(item.get(key, "")) for key in TEXTS} | {"grade": item.get("grade", UNGRADED)}
        sample |= {"source": str(item["image"]), "index": item["index"], "synthetic": int(is_synthetic(item))}
        sample[IDENTITY] = "" if is_published(str(item["patient"])) else " ".join(eye_keys(item))
        return sample if self.transform is None else self.transform(sample)


def fit_photograph(
    photograph: NDArray[np.uint8], fov: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.float32], tuple[int, int, int, int]]:
    """Cut a photograph to its field of view, as training photographs are: square, resized, black outside.

    Args:
        photograph: ``(3, H, W)``.
        fov: ``(1, H, W)`` in {0, 1}.
        size: pixels a side.

    Returns:
        float32 ``(3, size, size)`` in [0, 255], and the box in the photograph that it is of.

    Raises:
        RetinaError: the field of view is empty.
    """
    box = fov_box(fov)
    square = resize_area(crop_square(photograph, box), size)
    inside = resize_area(crop_square(fov, box), size) >= 0.5
    return np.rint(square) * inside, box


def collate_photographs(samples: Sequence[dict[str, Any]]) -> Any:
    """Put samples of :class:`Photographs` into a batch, as MONAI's ``list_data_collate`` does.

    Raises:
        RetinaError: the photographs are of different sizes.
    """
    sizes = {f"{width} x {height}" for height, width in (sample["photograph"].shape[-2:] for sample in samples)}
    if len(sizes) > 1:
        raise RetinaError(
            f"photographs of {' and '.join(sorted(sizes))} pixels do not fit into one batch: give a batch_size of 1"
        )
    return list_data_collate(samples)


def find_photographs(input_dir: str | Path, skip_unreadable: bool | str = False, split: str = ALL) -> list[Item]:
    """Datalist items with ``image``, ``name``, ``patient`` and ``dataset``, sorted by name; more where it is known.

    Vessel maps are not among it: those of a data set that has some are neither read nor asked for.

    Args:
        input_dir: a folder of photographs (or with a folder ``images`` of them), whose patients are those that
            :func:`retina_monai.data.listing.patients.identify` finds, or else one each; or a data set whose layout is
            recognised, whose patients, fields of view, sides, grades and splits are kept.
        skip_unreadable: a switch: leave out photographs whose files are broken, instead of refusing them.
        split: ``training``, ``validation`` or ``test``: of that split of the data set only; ``all``.

    Raises:
        RetinaError: no such folder, or no photograph in it; two of one name; all that are broken, in one sentence; an
            unknown split, one of no photograph, or one of a folder that tells no splits.
    """
    if split not in (ALL, *SPLITS):
        raise RetinaError(f"split {split} is unknown: give {', '.join(SPLITS)} or {ALL}")
    folder, skip = Path(input_dir), parse_switch(skip_unreadable, "skip_unreadable")
    if not folder.is_dir():
        raise RetinaError(f"input_dir {folder} is not a directory: name the folder that holds the photographs")
    found = _listed(folder) or _lying_in(folder)
    if split != ALL and not any("split" in item for item in found):
        raise RetinaError(f"input_dir {folder} tells no splits: leave out --split {split}, or give a data set")
    items = [item for item in found if split in (ALL, item.get("split"))]
    if not items:
        which = "" if split == ALL else f" for {split}"
        raise RetinaError(f"input_dir {folder} holds no photograph{which}: it takes {', '.join(IMAGE_SUFFIXES)}")
    return sorted(check_files(items, skip), key=lambda item: str(item["name"]))


def _listed(folder: Path) -> list[Item]:
    """Of a data set, what is of the photographs."""
    try:
        datalist = list_eyes(folder)
    except (UnknownLayoutError, NoVesselMapsError):
        return []
    keys = ("image", "fov", "name", "patient", "dataset", "laterality", "grade", "stage", "synthetic")
    return [
        {key: item[key] for key in keys if key in item} | {"split": split}
        for split in SPLITS
        for item in datalist[split]
    ]


def _lying_in(folder: Path) -> list[Item]:
    pictures = pictures_by_name([folder]) or pictures_by_name(folders_at([folder], "images"))
    named, known = folder.resolve().name or "photographs", identify(pictures)
    return [
        describe(named, name, {"image": path}, **({"patient": name} | known[name])) | {"name": name}
        for name, path in pictures.items()
    ]
