"""Vessel maps to generate from: a folder of pictures, or any data set whose layout is recognised.

Each map is reduced in two ways. What a generator is given (``vessel_share``) is the share of each pixel that vessels
cover, which holds thin vessels faintly. The label (``vessel``) is binary and keeps the map's topology
(:func:`retina_monai.transforms.vessel_label.vessel_label`), so that a network that learns from it learns thin vessels
too.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Container, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import Dataset
from scipy import ndimage
from skimage.morphology import skeletonize

from retina_monai.data.files.checking import check_contents, check_files
from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.files.reading import IMAGE_SUFFIXES, read_mask, read_photograph
from retina_monai.data.listing.layout import SPLITS, picture_name, pictures_by_name
from retina_monai.data.listing.layouts import UnknownLayoutError, conditions_fingerprint, find_datalist
from retina_monai.data.listing.pseudonyms import pseudonymised
from retina_monai.data.sets.eyes import find_fov, with_vessels
from retina_monai.errors import RetinaError, join_first, parse_switch
from retina_monai.seeds import draw_latent
from retina_monai.transforms.field_of_view import circle, crop_square, fov_box, resize_area
from retina_monai.transforms.vessel_label import FINE, cut_label, reduce_label, regrid, vessel_label
from retina_monai.transforms.vessel_warp import VesselWarp, draw_warp

__all__ = ["VesselMaps", "field_of_view", "find_vessel_maps", "fit_label", "fit_vessel_map", "warp_vessel_map"]

logger = logging.getLogger("retina_monai")
ALL = "all"  # splits
TEXTS = ("name", "patient", "laterality", "index", "condition", "condition_dataset", "augmented", "latent")


class VesselMaps(Dataset):
    """Samples to generate photographs from: vessel map and field of view, of one size.

    A map is brought to the network's size as the training maps are: cropped to its field of view where that is known,
    padded square, resized by area, so that each pixel holds the share that vessels cover. A map without a field of view
    keeps its frame, and gets the circle inscribed in the padded square as far as it lies in the frame. Warped maps are
    not held: each is made when it is asked for.

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
        fov_dir: a folder of fields of view, one for each map and of its name; they go before those of a data set.
        keep_names: a switch: keep names of eyes, patients and files that nobody has published; otherwise they become
            pseudonyms (:func:`retina_monai.data.listing.pseudonyms.pseudonymised`).

    A sample has ``vessel_share``, float32 ``(1, size, size)`` in [0, 255]; ``vessel`` and ``fov``, uint8
    ``(1, size, size)`` in {0, 1}; ``name``, ``patient``, ``laterality`` (empty where unknown), ``source``, ``index``;
    of the eye whose map it is ``condition`` (its name) and ``condition_dataset`` (empty where unknown); ``augmented``,
    0 or 1; and ``latent``, by (seed, index), of a network's noise.

    Raises:
        RetinaError: as :func:`find_vessel_maps`; an item, as :func:`retina_monai.data.files.mask_checks.check_masks`.
    """

    kinds = ("vessel", "vessel_share", "fov")
    """Of its pictures."""

    def __init__(
        self,
        input_dir: str | Path,
        size: int,
        finished: Container[str] = (),
        skip_unreadable: bool | str = False,
        split: str = "all",
        augment: int = 0,
        seed: int = 0,
        fov_dir: str | Path | None = None,
        keep_names: bool | str = False,
    ) -> None:
        self.size = size
        self.augment, self.seed, self.split = augment, seed, split
        found = find_vessel_maps(input_dir, skip_unreadable, split, fov_dir)
        self.maps = pseudonymised(found, parse_switch(keep_names, "keep_names"))
        if framed := sum("fov" not in item and "image" not in item for item in self.maps):
            logger.info(
                "%d vessel maps have no field of view: it is the circle around the middle of the map that touches its "
                "longer sides' ends, cut off by its frame; --fov_dir takes a folder of others",
                framed,
            )
        places = range(len(self.maps) * max(augment, 1))
        super().__init__(array("q", (place for place in places if self.name(place) not in finished)))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on: ``size``, ``seed``, ``split``, ``augment``, and a fingerprint of all maps."""
        used = [{key: item[key] for key in item if key != "image" or "fov" not in item} for item in self.maps]
        inputs = conditions_fingerprint(used, ("vessel", "fov", "image"))
        return {"size": self.size, "seed": self.seed, "split": self.split, "augment": self.augment, "inputs": inputs}

    def name(self, place: int) -> str:
        """What sample ``place`` is called, of all that can be made of the maps."""
        name = str(self.maps[place // max(self.augment, 1)]["name"])
        return f"{name}_a{place % self.augment + 1}" if self.augment else name

    def _transform(self, index: int) -> Any:
        item = self._item(self.data[index])
        vessel, fov = read_mask(item["vessel"], key="vessel"), field_of_view(item)
        check_masks({"vessel": vessel}, item, fov)
        sample = {key: item[key] for key in TEXTS} | {"source": item.get("source", item["vessel"])}
        if item["augmented"]:
            warp = draw_warp(self.seed, item["index"])
            sample |= warp_vessel_map(vessel, fov, self.size, warp)
            sample["laterality"] = warp.laterality(item["laterality"])
        else:
            sample |= fit_vessel_map(vessel, fov, self.size)
            sample["vessel"] = fit_label(vessel, fov, self.size)
        return sample

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
    """As :func:`fit_vessel_map`, of a warped map, with its label; the field of view is mirrored with the eye.

    The map is warped at four times the size, so that what each pixel holds is a share of area again.

    Returns:
        ``vessel_share`` and ``fov`` as :func:`fit_vessel_map`, and ``vessel`` as :func:`fit_label`.
    """
    fine = fit_vessel_map(vessel, fov, FINE * size)
    inside = resize_area(fine["fov"], size) >= 0.5
    inside = np.ascontiguousarray(inside[:, :, ::-1]) if warp.flip else inside
    share = resize_area(warp(fine["vessel_share"][0])[None], size) * inside
    label = reduce_label(_warped(regrid(_square(vessel, fov) > 0, FINE * size), warp), share[0] / 255)
    masks = {"fov": inside, "vessel": cut_label(label, inside[0])[None]}
    return {"vessel_share": share} | {kind: mask.astype(np.uint8) for kind, mask in masks.items()}


def fit_vessel_map(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> dict[str, np.ndarray]:
    """Bring a vessel map to the size and form that the network's preprocessing takes, as training maps are brought.

    Args:
        vessel: ``(1, H, W)`` in {0, 1}.
        fov: field of view of the same shape, to which the map is cropped; ``None``: the whole frame counts, and the
            field of view is the circle inscribed in the square to which the frame is padded, cut off by the frame.
        size: pixels a side.

    Returns:
        ``vessel_share`` float32 ``(1, size, size)`` in [0, 255], the share of each pixel that vessels cover, and
        ``fov`` uint8 ``(1, size, size)`` in {0, 1}.
    """
    square = _square(vessel, fov)
    if len(square) != size:
        logger.info("a vessel map of %d pixels a side is resized to %d", len(square), size)
    share = np.asarray(resize_area(square[None], size), np.float32)
    return {"vessel_share": share * 255, "fov": _inside(vessel, fov, size)}


def fit_label(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> np.ndarray:
    """The label of a vessel map at the size to which :func:`fit_vessel_map` brings it.

    Args:
        vessel, fov, size: as for :func:`fit_vessel_map`.

    Returns:
        uint8 ``(1, size, size)`` in {0, 1}; 0 outside of the field of view.
    """
    inside = _inside(vessel, fov, size)[0]
    return cut_label(vessel_label(_square(vessel, fov), size), inside)[None].astype(np.uint8)


def _inside(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> np.ndarray:
    """The field of view at that size: uint8 ``(1, size, size)`` in {0, 1}."""
    shown = np.ones(vessel.shape, np.float32) if fov is None else fov.astype(np.float32)
    inside = np.asarray(resize_area(crop_square(shown, _frame(vessel, fov)), size)) >= 0.5
    return inside.astype(np.uint8) if fov is not None else inside * circle(size)


def _frame(vessel: np.ndarray, fov: np.ndarray | None) -> tuple[int, int, int, int]:
    return (0, 0, *vessel.shape[1:]) if fov is None else fov_box(fov)


def _square(vessel: np.ndarray, fov: np.ndarray | None) -> np.ndarray:
    """The map as it is, cropped and padded: float32 ``(S, S)`` in {0, 1}."""
    return crop_square(vessel.astype(np.float32), _frame(vessel, fov))[0]


def _warped(fine: np.ndarray, warp: VesselWarp) -> np.ndarray:
    """A mask ``(S, S)`` warped so that no vessel breaks: its centre line is warped three pixels wide and thinned."""
    line = ndimage.binary_dilation(skeletonize(fine), np.ones((3, 3)))
    thread = skeletonize(warp(line.astype(np.float32)) >= 0.5)
    return np.asarray((warp(fine.astype(np.float32)) >= 0.5) | thread)


def find_vessel_maps(
    input_dir: str | Path,
    skip_unreadable: bool | str = False,
    split: str = "all",
    fov_dir: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Datalist items with ``vessel``, ``name`` and ``patient``, sorted by name; ``image`` and ``fov`` where known.

    Args:
        input_dir, skip_unreadable, split, fov_dir: as for :class:`VesselMaps`.

    Raises:
        RetinaError: no such folder, or no vessel map in it; two maps of one name; all maps whose files are broken, in
            one sentence; an unknown split, one of no map, or one of a folder of maps that tells no splits; a
            ``fov_dir`` that is no folder or lacks the field of view of a map.
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
    if fov_dir is not None:
        items = check_files(_with_fields_of_view(items, Path(fov_dir)), skip)
    return sorted(check_contents(items, skip) if skip else items, key=lambda item: str(item["name"]))


def _with_fields_of_view(items: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Items with the field of view that has the name of their map's file, of their photograph's, or their own."""
    if not folder.is_dir():
        raise RetinaError(f"fov_dir {folder} is not a directory: name the folder that holds the fields of view")
    fields = pictures_by_name([folder])
    found = [next((fields[name] for name in _file_names(item) if name in fields), None) for item in items]
    if lonely := [item["vessel"] for item, path in zip(items, found, strict=True) if path is None]:
        raise RetinaError(
            f"fov_dir {folder} has no field of view for {join_first(lonely)}: name it after the vessel map"
        )
    return [item | {"fov": str(path)} for item, path in zip(items, found, strict=True)]


def _file_names(item: dict[str, Any]) -> list[str]:
    return [picture_name(Path(item[key])) for key in ("vessel", "image") if key in item] + [str(item["name"])]


def field_of_view(item: Mapping[Any, Any]) -> np.ndarray | None:
    """The field of view of a datalist item, ``(1, H, W)`` in {0, 1}: its own, or found in its photograph; else none."""
    if "fov" in item:
        return read_mask(item["fov"], key="fov")
    return find_fov(read_photograph(item["image"]), item["image"]) if "image" in item else None
