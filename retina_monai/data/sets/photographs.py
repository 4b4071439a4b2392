"""Photographs for segmentation, from a folder of images or from any data set with a known layout."""

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
    """Photographs in the size of the network's input and in their original size.

    A sample has

    - ``image`` float32 ``(3, size, size)`` in [0, 255], the network's input, black outside the field of view,
    - in original size, ``photograph`` uint8 ``(3, H, W)``, ``fov`` uint8 ``(1, H, W)`` in {0, 1} (computed if the item
      has none) and, if available, ``masks`` in the same format,
    - ``box`` int64 ``(4,)``, the square of the photograph that ``image`` shows,
    - texts, which are empty where unknown, and ``grade``, which is -1 where unknown,
    - ``source``, ``index`` and ``synthetic`` (0 or 1, from the file),
    - for each mask, the network that segmented it (``vessel_by``), which is empty for annotations,
    - ``identity``, the file keys of eyes that are not published (:mod:`retina_monai.data.listing.pseudonyms`).

    Args:
        data: datalist items, for example from :func:`find_photographs`.
        size: input size of the network in pixels. The field of view is scaled to fit.
        finished: names of samples to leave out, such as those of an interrupted run. The others keep their ``index``.
        transform: transform of the samples.
        skip_unreadable: switch, whether to decode all photographs first and leave out those that are broken or show no
            eye. Otherwise such photographs raise an error on access.
        masks: kinds of mask to read where an item has them.

    Raises:
        RetinaError: if no photograph is left. For an item, as :func:`retina_monai.data.sets.eyes.read_eye`.
    """

    kinds = ("image",)
    """Kinds of image in a sample that a network can take."""

    def __init__(
        self,
        data: Sequence[Item],
        size: int,
        finished: Container[str] = (),
        transform: Callable[..., Any] | None = None,
        skip_unreadable: bool | str = False,
        masks: Sequence[str] = ("vessel",),
    ) -> None:
        self.size, self.masks = size, tuple(masks)
        usable = check_contents(data, True) if parse_switch(skip_unreadable, "skip_unreadable") else data
        self.items = [item | {"index": index} for index, item in enumerate(usable)]
        super().__init__([item for item in self.items if item["name"] not in finished], transform)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that determine the samples: ``size``, and a fingerprint of all photographs and masks."""
        return {"size": self.size, "inputs": conditions_fingerprint(self.items, ("image", "fov", *self.masks))}

    def _transform(self, index: int) -> Any:
        item = dict(self.data[index])
        eye = read_eye(item, self.masks)
        photograph = eye.pop("image")
        image, box = fit_photograph(photograph, eye["fov"], self.size)
        sample: Item = {"image": image, "photograph": photograph, **eye, "box": np.array(box)}
        sample |= {key: str(item.get(key, "")) for key in TEXTS} | {"grade": item.get("grade", UNGRADED)}
        sample |= {f"{kind}_by": str(item.get(f"{kind}_by", "")) for kind in self.masks if kind in eye}
        sample |= {"source": str(item["image"]), "index": item["index"], "synthetic": int(is_synthetic(item))}
        sample[IDENTITY] = "" if is_published(str(item["patient"])) else " ".join(eye_keys(item))
        return sample if self.transform is None else self.transform(sample)


def fit_photograph(
    photograph: NDArray[np.uint8], fov: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.float32], tuple[int, int, int, int]]:
    """Crop a photograph to a square around its field of view, resize it and set the outside to black, as in training.

    Args:
        photograph: photograph ``(3, H, W)`` in [0, 255].
        fov: field of view ``(1, H, W)`` in {0, 1}.
        size: side length in pixels.

    Returns:
        Image, float32 ``(3, size, size)`` in [0, 255], and its bounding box in the photograph.

    Raises:
        RetinaError: if the field of view is empty.
    """
    box = fov_box(fov)
    square = resize_area(crop_square(photograph, box), size)
    inside = resize_area(crop_square(fov, box), size) >= 0.5
    return np.rint(square) * inside, box


def collate_photographs(samples: Sequence[dict[str, Any]]) -> Any:
    """Collate samples of :class:`Photographs` by MONAI's ``list_data_collate``.

    Raises:
        RetinaError: if the photographs differ in size.
    """
    sizes = {f"{width} x {height}" for height, width in (sample["photograph"].shape[-2:] for sample in samples)}
    if len(sizes) > 1:
        raise RetinaError(
            f"photographs of {' and '.join(sorted(sizes))} pixels do not fit into one batch: give a batch_size of 1"
        )
    return list_data_collate(samples)


def find_photographs(
    input_dir: str | Path, skip_unreadable: bool | str = False, split: str = ALL, keep: Sequence[str] = ()
) -> list[Item]:
    """List photographs as datalist items with ``image``, ``name``, ``patient`` and ``dataset``, sorted by name.

    Items may have further keys where known, but no masks other than those in ``keep``. Other masks of a data set are
    neither read nor required.

    Args:
        input_dir: folder of photographs, folder with a subfolder ``images``, or data set with a known layout. For a
            data set, patients, fields of view, lateralities, grades and splits are kept. Otherwise patients are derived
            by :func:`retina_monai.data.listing.patients.identify`, and a photograph without one is its own patient.
        skip_unreadable: switch, whether to leave out photographs with broken files instead of raising an error.
        split: ``training``, ``validation`` or ``test`` to use only that split of the data set, or ``all``.
        keep: kinds of mask to keep in the items, with the networks that segmented them (``vessel_by``).

    Raises:
        RetinaError: if the folder does not exist or has no photographs; if two photographs have the same name; if files
            are broken (one sentence lists all); or if the split is unknown, empty, or not defined by the folder.
    """
    if split not in (ALL, *SPLITS):
        raise RetinaError(f"split {split} is unknown: give {', '.join(SPLITS)} or {ALL}")
    folder, skip = Path(input_dir), parse_switch(skip_unreadable, "skip_unreadable")
    if not folder.is_dir():
        raise RetinaError(f"input_dir {folder} is not a directory: name the folder that holds the photographs")
    found = _from_data_set(folder, keep) or _from_folder(folder)
    if split != ALL and not any("split" in item for item in found):
        raise RetinaError(f"input_dir {folder} has no splits: leave out --split {split}, or give a data set")
    items = [item for item in found if split in (ALL, item.get("split"))]
    if not items:
        which = "" if split == ALL else f" for {split}"
        raise RetinaError(f"input_dir {folder} holds no photograph{which}: it takes {', '.join(IMAGE_SUFFIXES)}")
    return sorted(check_files(items, skip), key=lambda item: str(item["name"]))


def _from_data_set(folder: Path, keep: Sequence[str]) -> list[Item]:
    """Photograph-related keys of each item of a data set, and those of the masks to keep."""
    try:
        datalist = list_eyes(folder)
    except (UnknownLayoutError, NoVesselMapsError):
        return []
    facts = ("name", "patient", "dataset", "laterality", "grade", "stage", "synthetic")
    keys = ("image", "fov", *facts, *keep, *(f"{kind}_by" for kind in keep))
    return [
        {key: item[key] for key in keys if key in item} | {"split": split}
        for split in SPLITS
        for item in datalist[split]
    ]


def _from_folder(folder: Path) -> list[Item]:
    pictures = pictures_by_name([folder]) or pictures_by_name(folders_at([folder], "images"))
    named, known = folder.resolve().name or "photographs", identify(pictures)
    return [
        describe(named, name, {"image": path}, **({"patient": name} | known[name])) | {"name": name}
        for name, path in pictures.items()
    ]
