"""Vessel maps to generate from: a folder of pictures, or any data set whose layout is recognised."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import Dataset

from retina_monai.data.checking import check_contents, check_files, check_vessel
from retina_monai.data.eyes import find_fov, with_vessels
from retina_monai.data.layout import SPLITS, pictures_by_name
from retina_monai.data.layouts import UnknownLayoutError, find_datalist
from retina_monai.data.reading import IMAGE_SUFFIXES, read_mask, read_photograph
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.networks.hashed_noise import draw_latent
from retina_monai.transforms.field_of_view import circle, crop_square, fov_box, resize_area
from retina_monai.transforms.vessel_warp import VesselWarp, draw_warp

__all__ = ["VesselMaps", "find_vessel_maps", "fit_vessel_map", "warp_vessel_map"]

logger = logging.getLogger("retina_monai")
ALL = "all"  # splits
FINE = 4  # times the size at which maps are warped
TEXTS = ("name", "patient", "laterality", "index", "condition", "condition_dataset", "augmented", "latent")


class VesselMaps(Dataset):
    """Conditions for inference: ``image`` (the vessel map, as the network calls its input) and ``fov``, of one size.

    A map is brought to the network's size as the training maps are: cropped to the field of view if its data set
    tells one, padded square, resized by area, so that each pixel holds the share that vessels cover. A map without a
    field of view keeps its frame and gets the inscribed circle. Warped maps are not held: each is made when it is asked
    for.

    Args:
        input_dir: a folder of vessel maps, or a data set that an adapter recognises.
        size: pixels a side that the network takes.
        finished: names to leave out (an interrupted run's, say); the others keep their ``index``.
        skip_unreadable: a switch: leave out maps that are broken, and those of no vessel or inverted, for which all
            are decoded once more; otherwise what is broken is refused here, what a map shows when its turn comes.
        split: ``training``, ``validation`` or ``test``: maps of that split of the data set only; ``all``.
        augment: each map is warped so many times (:mod:`retina_monai.transforms.vessel_warp`), by (seed, index) alone,
            and the warped maps, ``<name>_a1`` and so on, take its place; 0: maps as they are.
        seed: of the warps.
        transform: applied to the items: ``image`` float32 ``(size, size)`` in [0, 255], ``fov`` uint8
            ``(1, size, size)`` in {0, 1}, ``name``, ``patient``, ``laterality`` (empty where unknown), ``source``,
            ``index``, and of the eye whose map it is ``condition`` (its name) and ``condition_dataset`` (empty where
            unknown); ``augmented``, 0 or 1; ``latent``, by (seed, index), of a network's noise.

    Raises:
        RetinaError: as :func:`find_vessel_maps`; of an item, as :func:`retina_monai.data.checking.check_vessel`.
    """

    def __init__(
        self,
        input_dir: str | Path,
        size: int,
        finished: Container[str] = (),
        transform: Callable[..., Any] | None = None,
        skip_unreadable: bool | str = False,
        split: str = "all",
        augment: int = 0,
        seed: int = 0,
    ) -> None:
        self.size = size
        self.augment, self.seed = augment, seed
        self.maps = find_vessel_maps(input_dir, skip_unreadable, split)
        places = range(len(self.maps) * max(augment, 1))
        super().__init__(array("q", (place for place in places if self.name(place) not in finished)), transform)

    def name(self, place: int) -> str:
        """What sample ``place`` is called, of all that can be made of the maps."""
        name = str(self.maps[place // max(self.augment, 1)]["name"])
        return f"{name}_a{place % self.augment + 1}" if self.augment else name

    def _transform(self, index: int) -> Any:
        item = self._item(self.data[index])
        vessel, fov = read_mask(item["vessel"]), _field_of_view(item)
        check_vessel(vessel, item, fov)
        sample = {key: item[key] for key in TEXTS} | {"source": item["vessel"]}
        if item["augmented"]:
            warp = draw_warp(self.seed, item["index"])
            sample |= warp_vessel_map(vessel, fov, self.size, warp)
            sample["laterality"] = warp.laterality(item["laterality"])
        else:
            sample |= fit_vessel_map(vessel, fov, self.size)
        return sample if self.transform is None else self.transform(sample)

    def _item(self, place: int) -> dict[str, Any]:
        """A sample of its own, with what is told of the eye whose map it is."""
        eye = self.maps[place // max(self.augment, 1)]
        told = {
            "condition": eye["name"],
            "condition_dataset": eye.get("dataset", ""),
            "augmented": int(self.augment > 0),
        }
        drawn = {"latent": draw_latent(self.seed, place)}
        return {"laterality": "", **eye, **told, **drawn, "name": self.name(place), "index": place}


def warp_vessel_map(vessel: np.ndarray, fov: np.ndarray | None, size: int, warp: VesselWarp) -> dict[str, np.ndarray]:
    """As :func:`fit_vessel_map`, of a warped map; the field of view keeps its form, and is mirrored with the eye.

    The map is warped at four times the size, so that what each pixel holds is a share of area again.
    """
    fine = fit_vessel_map(vessel, fov, FINE * size)
    inside = resize_area(fine["fov"], size) >= 0.5
    inside = np.ascontiguousarray(inside[:, :, ::-1]) if warp.flip else inside
    image = resize_area(warp(fine["image"])[None], size)[0] * inside[0]
    return {"image": image, "fov": inside.astype(np.uint8)}


def fit_vessel_map(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> dict[str, np.ndarray]:
    """Bring a vessel map to the size and form that the network's preprocessing takes, as training maps are brought.

    Args:
        vessel: ``(1, H, W)`` in {0, 1}.
        fov: field of view of the same shape, to which the map is cropped; ``None``: the whole frame counts, and the
            field of view is the circle inscribed in it.
        size: pixels a side.

    Returns:
        ``image`` float32 ``(size, size)`` in [0, 255], the share of each pixel that vessels cover, and ``fov`` uint8
        ``(1, size, size)`` in {0, 1}.
    """
    frame = (0, 0, *vessel.shape[1:]) if fov is None else fov_box(fov)
    square = crop_square(vessel.astype(np.float32), frame)
    if square.shape[1:] != (size, size):
        logger.info("a vessel map of %d pixels a side is resized to %d", square.shape[1], size)
    share = np.asarray(resize_area(square, size), np.float32)[0]
    if fov is None:
        return {"image": share * 255, "fov": circle(size)}
    inside = np.asarray(resize_area(crop_square(fov.astype(np.float32), frame), size)) >= 0.5
    return {"image": share * 255, "fov": inside.astype(np.uint8)}


def find_vessel_maps(
    input_dir: str | Path, skip_unreadable: bool | str = False, split: str = "all"
) -> list[dict[str, Any]]:
    """Datalist items with ``vessel``, ``name`` and ``patient``, sorted by name; ``image`` and ``fov`` where known.

    Args:
        input_dir, skip_unreadable, split: as for :class:`VesselMaps`.

    Raises:
        RetinaError: no such folder, or no vessel map in it; two maps of one name; all maps whose files are broken, in
            one sentence; an unknown split, one of no map, or one of a folder of maps that tells no splits.
    """
    if split not in (ALL, *SPLITS):
        raise RetinaError(f"split {split} is unknown: give {', '.join(SPLITS)} or {ALL}")
    folder, skip = Path(input_dir), parse_switch(skip_unreadable, "skip_unreadable")
    if not folder.is_dir():
        raise RetinaError(f"input_dir {folder} is not a directory: name the folder that holds the vessel maps")
    try:
        datalist = find_datalist(folder, skip)
    except UnknownLayoutError:
        datalist = {}
    wanted = SPLITS if split == ALL else (split,)
    items = with_vessels([item for part in wanted for item in datalist.get(part, ())])
    if not datalist:
        if split != ALL:
            raise RetinaError(f"input_dir {folder} tells no splits: leave out --split {split}, or give a data set")
        maps = pictures_by_name([folder]).items()
        items = check_files([{"vessel": str(path), "name": name, "patient": name} for name, path in maps], skip)
    if not items and split != ALL:
        raise RetinaError(f"input_dir {folder} has no vessel map for {split}: give another --split, or leave it out")
    if not items:
        raise RetinaError(f"input_dir {folder} holds no vessel map: it takes {', '.join(IMAGE_SUFFIXES)}")
    return sorted(check_contents(items, skip) if skip else items, key=lambda item: str(item["name"]))


def _field_of_view(item: dict[str, Any]) -> np.ndarray | None:
    if "fov" in item:
        return read_mask(item["fov"])
    return find_fov(read_photograph(item["image"]), item["image"]) if "image" in item else None
