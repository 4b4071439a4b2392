"""Vessel maps as input of generators, from a folder of images or from any data set with a known layout.

Each map is resized in two ways. The input of a generator (``vessel_share``) is the share of each pixel covered by
vessels, in which thin vessels are faint. The label (``vessel``) is binary and preserves the topology of the map
(:func:`retina_monai.transforms.vessel_label.vessel_label`), so that networks trained on it learn thin vessels too.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Container, Mapping
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
from retina_monai.data.sets.eyes import find_fov, with_kind
from retina_monai.errors import RetinaError, join_first, parse_switch
from retina_monai.kinds import KINDS
from retina_monai.seeds import draw_latent
from retina_monai.transforms.field_of_view import circle, crop_square, fov_box, resize_area
from retina_monai.transforms.vessel_label import HALF, cut_label, reduce_label, regrid, vessel_label
from retina_monai.transforms.vessel_warp import VesselWarp, draw_warp

__all__ = [
    "FineMap",
    "VesselMaps",
    "field_of_view",
    "find_vessel_maps",
    "fit_disc",
    "fit_label",
    "fit_vessel_map",
]

logger = logging.getLogger("retina_monai")
ALL = "all"
TEXTS = ("name", "patient", "laterality", "index", "condition", "condition_dataset", "augmented", "latent")


class VesselMaps(Dataset):
    """Samples for generating photographs: vessel map, field of view and, if needed, optic disc, of the same size.

    Maps are resized as in training: cropped to the field of view if known, padded to a square and resized by area
    averaging, so that each pixel holds the share covered by vessels. A map without a field of view is not cropped, and
    its field of view is the circle inscribed in the padded square, clipped to the frame. Warped maps are computed on
    access.

    A sample has

    - ``vessel_share`` float32 ``(1, size, size)`` in [0, 255],
    - ``vessel`` and ``fov`` uint8 ``(1, size, size)`` in {0, 1},
    - with ``find_disc``, ``disc`` in the same format: the disc mask of the data set or of ``disc_dir`` if there is one,
      otherwise the disc that ``find_disc`` finds,
    - ``name``, ``patient``, ``laterality`` (empty where unknown), ``source`` and ``index``,
    - ``condition`` and ``condition_dataset`` (empty where unknown), the name and data set of the eye with this map,
    - ``augmented``, 0 or 1,
    - ``latent``, which depends on (seed, index) and seeds a network's noise.

    Args:
        input_dir: folder of vessel maps, or data set with a known layout.
        size: input size of the network in pixels.
        finished: names of samples to leave out, such as those of an interrupted run. The others keep their ``index``.
        skip_unreadable: switch, whether to decode all maps first and leave out those that are broken, empty or
            inverted. Otherwise broken maps raise an error here, and empty or inverted ones on access.
        split: ``training``, ``validation`` or ``test`` to use only that split of the data set, or ``all``.
        augment: number of warped versions that replace each map, named ``<name>_a1`` and so on
            (:mod:`retina_monai.transforms.vessel_warp`). They depend only on (seed, index). 0 uses the original maps.
        seed: seed of the warps and of ``latent``.
        fov_dir: folder with a field of view for each map, of the same name. It takes precedence over those of a data
            set.
        keep_names: switch, whether to keep names of eyes, patients and files that are not published, instead of
            pseudonyms (:func:`retina_monai.data.listing.pseudonyms.pseudonymised`).
        disc_dir: folder with a disc mask for each map, of the same name. It takes precedence over those of a data set.
        find_disc: sample -> sample with ``disc``, for maps without a disc mask; has ``settings`` that determine its
            result (:class:`retina_monai.synthesis.DiscFinder`). ``None`` if the generator takes no disc.

    Raises:
        RetinaError: as :func:`find_vessel_maps`. For an item, as
            :func:`retina_monai.data.files.mask_checks.check_masks`.
    """

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
        disc_dir: str | Path | None = None,
        find_disc: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.size = size
        self.augment, self.seed, self.split = augment, seed, split
        self.find_disc = find_disc
        if disc_dir is not None and find_disc is None:
            raise RetinaError("disc_dir is given, but the network takes no disc: leave out --disc_dir")
        found = find_vessel_maps(input_dir, skip_unreadable, split, {"fov": fov_dir, "disc": disc_dir})
        self.maps = pseudonymised(found, parse_switch(keep_names, "keep_names"))
        if framed := sum("fov" not in item and "image" not in item for item in self.maps):
            logger.info(
                "%d vessel maps have no field of view: using the circle around the centre with the diameter of the "
                "longer side, clipped to the frame; give others with --fov_dir",
                framed,
            )
        self._last: tuple[int, dict[str, np.ndarray], np.ndarray | None, FineMap | None] | None = None
        places = range(len(self.maps) * max(augment, 1))
        super().__init__(array("q", (place for place in places if self.name(place) not in finished)))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of image in a sample."""
        return ("vessel", "vessel_share", "fov", *(("disc",) if self.find_disc else ()))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that determine the samples: ``size``, ``seed``, ``split``, ``augment``, and a map fingerprint."""
        used = [{key: item[key] for key in item if key != "image" or "fov" not in item} for item in self.maps]
        inputs = conditions_fingerprint(used, ("vessel", "fov", "image", *(("disc",) if self.find_disc else ())))
        found: dict[str, Any] = getattr(self.find_disc, "settings", {})
        own = {"size": self.size, "seed": self.seed, "split": self.split, "augment": self.augment, "inputs": inputs}
        return own | found

    def name(self, place: int) -> str:
        """Name of sample ``place`` among all samples, including finished ones."""
        name = str(self.maps[place // max(self.augment, 1)]["name"])
        return f"{name}_a{place % self.augment + 1}" if self.augment else name

    def _transform(self, index: int) -> Any:
        item = self._item(self.data[index])
        masks, fov, fine = self._eye(self.data[index] // max(self.augment, 1))
        vessel, disc = masks["vessel"], masks.get("disc")
        sample = {key: item[key] for key in TEXTS} | {"source": item.get("source", item["vessel"])}
        if fine is not None:
            warp = draw_warp(self.seed, item["index"])
            sample |= fine.warped(warp)
            sample["laterality"] = warp.laterality(item["laterality"])
        else:
            warp = None
            sample |= fit_vessel_map(vessel, fov, self.size)
            sample["vessel"] = fit_label(vessel, fov, self.size)
        if self.find_disc is None:
            return sample
        if disc is None:
            return self.find_disc(sample)
        found_by = {"disc_by": item["disc_by"]} if item.get("disc_by") else {}
        return sample | found_by | {"disc": fit_disc(disc, fov, self.size, warp) * sample["fov"]}

    def _eye(self, number: int) -> tuple[dict[str, np.ndarray], np.ndarray | None, FineMap | None]:
        """Masks, field of view and, if maps are warped, fine map of an eye, which is kept for its next samples."""
        last = self._last
        if last is None or last[0] != number:
            item = self.maps[number]
            keys = ["vessel"] + (["disc"] if self.find_disc and "disc" in item else [])
            masks, fov = {key: read_mask(item[key], key=key) for key in keys}, field_of_view(item)
            check_masks(masks, item, fov)
            last = self._last = (number, masks, fov, FineMap(masks["vessel"], fov, self.size) if self.augment else None)
        return last[1:]

    def _item(self, place: int) -> dict[str, Any]:
        """Metadata of sample ``place``."""
        eye = self.maps[place // max(self.augment, 1)]
        origin = {
            "condition": eye["name"],
            "condition_dataset": eye.get("dataset", ""),
            "augmented": int(self.augment > 0),
        }
        latent = draw_latent(self.seed, place)
        return {"laterality": "", **eye, **origin, "latent": latent, "name": self.name(place), "index": place}


class FineMap:
    """A vessel map to be warped, on a finer grid, so that each final pixel holds a share of area.

    Args:
        vessel, fov, size: as for :func:`fit_vessel_map`.
    """

    def __init__(self, vessel: np.ndarray, fov: np.ndarray | None, size: int) -> None:
        self.size = size
        mask = regrid(_square(vessel, fov) > 0, size)
        fine = fit_vessel_map(vessel, fov, max(len(mask), size))
        if len(mask) < size:
            mask = fine["vessel_share"][0] >= HALF
        line = ndimage.binary_dilation(skeletonize(mask), np.ones((3, 3)))
        self.maps = np.stack([fine["vessel_share"][0], mask, line], dtype=np.float32)
        self.inside = resize_area(fine["fov"], size) >= 0.5

    def warped(self, warp: VesselWarp) -> dict[str, np.ndarray]:
        """Warp the map, resize it like :func:`fit_vessel_map` and derive its label.

        Vessels do not break: their centre lines are warped three pixels wide, thinned and added to the label. The field
        of view is mirrored with the eye but not warped.

        Returns:
            ``vessel_share`` and ``fov`` in the format of :func:`fit_vessel_map`, and ``vessel`` in that of
            :func:`fit_label`.
        """
        inside = np.ascontiguousarray(self.inside[:, :, ::-1]) if warp.flip else self.inside
        share, mask, line = warp(self.maps)
        share = resize_area(share[None], self.size) * inside
        line = skeletonize(line >= 0.5)
        label = reduce_label((mask >= 0.5) | line, share[0] / 255, line)
        masks = {"fov": inside, "vessel": cut_label(label, inside[0])[None]}
        return {"vessel_share": share} | {kind: mask.astype(np.uint8) for kind, mask in masks.items()}


def fit_disc(disc: np.ndarray, fov: np.ndarray | None, size: int, warp: VesselWarp | None = None) -> np.ndarray:
    """A disc mask, aligned with the output of :func:`fit_vessel_map` or of :meth:`FineMap.warped`.

    Args:
        disc: disc mask ``(1, H, W)`` in {0, 1}.
        fov, size: as for the vessel map.
        warp: warp of the vessel map, if any.

    Returns:
        uint8 ``(1, size, size)`` in {0, 1}.
    """
    share = _square(disc, fov)[None]
    share = resize_area(share, size) if warp is None else resize_area(warp(resize_area(share, 2 * size)), size)
    return np.asarray(share >= 0.5).astype(np.uint8)


def fit_vessel_map(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> dict[str, np.ndarray]:
    """Convert a vessel map to the input of the network's preprocessing, as in training.

    Args:
        vessel: vessel map ``(1, H, W)`` in {0, 1}.
        fov: field of view of the same shape, to which the map is cropped. If ``None``, the map is not cropped, and the
            field of view is the circle inscribed in the padded square, clipped to the frame.
        size: side length in pixels.

    Returns:
        ``vessel_share`` float32 ``(1, size, size)`` in [0, 255], the share of each pixel covered by vessels, and
        ``fov`` uint8 ``(1, size, size)`` in {0, 1}.
    """
    square = _square(vessel, fov)
    if len(square) != size:
        logger.info("resizing a vessel map from %d to %d pixels", len(square), size)
    share = np.asarray(resize_area(square[None], size), np.float32)
    return {"vessel_share": share * 255, "fov": _inside(vessel, fov, size)}


def fit_label(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> np.ndarray:
    """The label of a vessel map, aligned with the output of :func:`fit_vessel_map`.

    Args:
        vessel, fov, size: see :func:`fit_vessel_map`.

    Returns:
        Label, uint8 ``(1, size, size)`` in {0, 1}, 0 outside the field of view.
    """
    inside = _inside(vessel, fov, size)[0]
    return cut_label(vessel_label(_square(vessel, fov), size), inside)[None].astype(np.uint8)


def _inside(vessel: np.ndarray, fov: np.ndarray | None, size: int) -> np.ndarray:
    """The resized field of view, uint8 ``(1, size, size)`` in {0, 1}."""
    shown = np.ones(vessel.shape, np.float32) if fov is None else fov.astype(np.float32)
    inside = np.asarray(resize_area(crop_square(shown, _frame(vessel, fov)), size)) >= 0.5
    return inside.astype(np.uint8) if fov is not None else inside * circle(size)


def _frame(vessel: np.ndarray, fov: np.ndarray | None) -> tuple[int, int, int, int]:
    return (0, 0, *vessel.shape[1:]) if fov is None else fov_box(fov)


def _square(vessel: np.ndarray, fov: np.ndarray | None) -> np.ndarray:
    """The map cropped and padded to a square, float32 ``(S, S)`` in {0, 1}."""
    return crop_square(vessel.astype(np.float32), _frame(vessel, fov))[0]


def find_vessel_maps(
    input_dir: str | Path,
    skip_unreadable: bool | str = False,
    split: str = "all",
    mask_dirs: Mapping[str, str | Path | None] | None = None,
) -> list[dict[str, Any]]:
    """List vessel maps as datalist items with ``vessel``, ``name`` and ``patient``, sorted by name.

    Items have ``image``, ``fov`` and ``disc`` where known.

    Args:
        input_dir, skip_unreadable, split: see :class:`VesselMaps`.
        mask_dirs: kind of mask -> folder with such a mask for each map, of the same name, or ``None``.

    Raises:
        RetinaError: if the folder does not exist or has no vessel maps; if two maps have the same name; if files are
            broken (one sentence lists all); if the split is unknown, empty, or not defined by the folder; or if one of
            ``mask_dirs`` is not a folder or lacks the mask of a map.
    """
    if split not in (ALL, *SPLITS):
        raise RetinaError(f"split {split} is unknown: give {', '.join(SPLITS)} or {ALL}")
    folder, skip = Path(input_dir), parse_switch(skip_unreadable, "skip_unreadable")
    if not folder.is_dir():
        raise RetinaError(f"input_dir {folder} is not a directory: name the folder that holds the vessel maps")
    try:
        datalist = find_datalist(folder, skip, photographs=False)
    except UnknownLayoutError:
        datalist = {}
    wanted = SPLITS if split == ALL else (split,)
    items = with_kind([item for part in wanted for item in datalist.get(part, ())], "vessel")
    if not datalist:
        if split != ALL:
            raise RetinaError(f"input_dir {folder} has no splits: leave out --split {split}, or give a data set")
        maps = pictures_by_name([folder]).items()
        items = check_files([{"vessel": str(path), "name": name, "patient": name} for name, path in maps], skip)
    if not items and split != ALL:
        raise RetinaError(f"input_dir {folder} has no vessel map for {split}: give another --split, or leave it out")
    if not items:
        raise RetinaError(f"input_dir {folder} holds no vessel map: it takes {', '.join(IMAGE_SUFFIXES)}")
    for kind, masks in (mask_dirs or {}).items():
        if masks is not None:
            items = check_files(_with_masks(items, kind, Path(masks)), skip)
    return sorted(check_contents(items, skip) if skip else items, key=lambda item: str(item["name"]))


def _with_masks(items: list[dict[str, Any]], kind: str, folder: Path) -> list[dict[str, Any]]:
    """Add masks of a kind, which are named like the file of the map, the file of the photograph, or the item."""
    name = KINDS[kind].name
    if not folder.is_dir():
        raise RetinaError(f"{kind}_dir {folder} is not a directory: name the folder that holds a {name} for each map")
    masks = pictures_by_name([folder])
    found = [next((masks[name] for name in _file_names(item) if name in masks), None) for item in items]
    if missing := [item["vessel"] for item, path in zip(items, found, strict=True) if path is None]:
        raise RetinaError(f"{kind}_dir {folder} has no {name} for {join_first(missing)}: name it after the vessel map")
    given = [{key: value for key, value in item.items() if key != f"{kind}_by"} for item in items]
    return [item | {kind: str(path)} for item, path in zip(given, found, strict=True)]


def _file_names(item: dict[str, Any]) -> list[str]:
    return [picture_name(Path(item[key])) for key in ("vessel", "image") if key in item] + [str(item["name"])]


def field_of_view(item: Mapping[Any, Any]) -> np.ndarray | None:
    """The field of view ``(1, H, W)`` in {0, 1} of a datalist item, read or computed from its photograph, if any."""
    if "fov" in item:
        return read_mask(item["fov"], key="fov")
    return find_fov(read_photograph(item["image"]), item["image"]) if "image" in item else None
