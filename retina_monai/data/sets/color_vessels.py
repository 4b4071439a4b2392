"""Colour vessel masks for outpainting, written by ``pix2pix_color_vessel`` or extracted from photographs."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from numpy.typing import NDArray

from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.listing.layout import SPLITS, Item
from retina_monai.data.listing.layouts import conditions_fingerprint, find_datalist
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.data.listing.pseudonyms import pseudonymised
from retina_monai.data.sets.eyes import LoadEyed, with_kind
from retina_monai.data.sets.vessel_maps import field_of_view, fit_disc, fit_label
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.kinds import KINDS
from retina_monai.transforms.appearance import CANONICAL, apply_appearance
from retina_monai.transforms.vessel_label import HALF, rounded_share

__all__ = ["HALF", "ColorVessels", "outpainting_input"]

ALL = "all"
WRITTEN = ("color_vessel", "vessel_share", "vessel", "fov")  # image kinds of a set of colour vessel masks
TEXTS = ("name", "patient", "laterality", "source", "index", "condition", "condition_dataset", "augmented")


class ColorVessels(Dataset):
    """Samples for outpainting: colour vessel mask, vessel map and field of view of the same size.

    A sample has ``color_vessel``, uint8 ``(3, size, size)`` in [0, 255], as well as ``vessel_share`` (uint8),
    ``vessel``, ``fov``, ``disc`` (with ``find_disc``) and the texts of :class:`retina_monai.data.VesselMaps`.

    Args:
        input_dir: set written by ``pix2pix_color_vessel``, or data set of photographs with vessel maps. Photographs are
            converted to the canonical appearance.
        size: input size of the network in pixels.
        finished: names of samples to leave out, such as those of an interrupted run. The others keep their ``index``.
        skip_unreadable: switch, whether to leave out eyes of a data set with broken files.
        split: ``training``, ``validation`` or ``test`` to use only that split of a data set, or ``all``.
        keep_names: switch, see :class:`retina_monai.data.VesselMaps`. It applies to eyes of a data set.
        find_disc: sample -> sample with ``disc``, for inputs without a disc mask, see
            :class:`retina_monai.data.VesselMaps`. ``None`` if the network takes no disc.

    Raises:
        RetinaError: if the folder does not exist, or has no eyes or none in the split. For an item: if a file is
            broken, has another size than ``size``, or shows no vessel.
    """

    def __init__(
        self,
        input_dir: str | Path,
        size: int,
        finished: Container[str] = (),
        skip_unreadable: bool | str = False,
        split: str = ALL,
        keep_names: bool | str = False,
        find_disc: Callable[[dict[Any, Any]], dict[Any, Any]] | None = None,
    ) -> None:
        if split not in (ALL, *SPLITS):
            raise RetinaError(f"split {split} is unknown: give {', '.join(SPLITS)} or {ALL}")
        self.size, self.split, self.find_disc = size, split, find_disc
        folder = Path(input_dir)
        if not folder.is_dir():
            raise RetinaError(f"input_dir {folder} is not a directory: name the folder of colour vessel masks, or eyes")
        written = (folder / KINDS["color_vessel"].folders[0]).is_dir()
        keep = parse_switch(keep_names, "keep_names")
        self.items = _written(folder, split) if written else _photographed(folder, split, skip_unreadable, keep)
        super().__init__([item for item in self.items if item["name"] not in finished])

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of image in a sample."""
        return (*WRITTEN, *(("disc",) if self.find_disc else ()))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that determine the samples: ``size``, ``split``, and a fingerprint of all masks."""
        found: dict[str, Any] = getattr(self.find_disc, "settings", {})
        return {"size": self.size, "split": self.split, "inputs": conditions_fingerprint(self.items)} | found

    def _transform(self, index: int) -> Any:
        item: dict[Any, Any] = dict(self.data[index])
        pictures = self._read(item) if "color_vessel" in item else self._show(item)
        sample = {key: item[key] for key in TEXTS} | pictures
        if self.find_disc is None:
            return sample
        if "disc" not in sample:
            return self.find_disc(sample)
        return sample | ({"disc_by": item["disc_by"]} if "disc_by" in item else {})

    def _read(self, item: Item) -> dict[str, NDArray[np.uint8]]:
        """Read a colour vessel mask that was written."""
        pictures = {key: read_photograph(item[key]) for key in ("color_vessel", "vessel_share")}
        masks = [key for key in ("vessel", "fov", "disc") if key in item and key in self.kinds]
        pictures |= {key: read_mask(item[key], key=key) for key in masks}
        for key, picture in pictures.items():
            if picture.shape[1:] != (self.size, self.size):
                height, width = picture.shape[1:]
                raise RetinaError(
                    f"{item[key]} has {height} x {width} pixels, but the network takes {self.size} x {self.size}: "
                    f"colour the vessels with --size {self.size}"
                )
        share = pictures["vessel_share"][:1]
        marked = {"vessel": (share >= HALF).astype(np.uint8)}
        check_masks(marked, item | {"vessel": item["vessel_share"]}, pictures["fov"])
        return pictures | {"vessel_share": share}

    def _show(self, item: Mapping[Hashable, Any]) -> dict[str, NDArray[np.uint8]]:
        """Extract the colour vessel mask of a photograph in the canonical appearance."""
        eye = LoadEyed(self.size)(item)
        fov = (eye["fov"] >= 128).to(torch.uint8)
        image = apply_appearance(eye["image"].float() / 127.5 - 1, fov, CANONICAL)
        frame = field_of_view(item)
        pictures = {
            "color_vessel": ((image + 1) * 127.5).round().byte().numpy(),
            "vessel_share": eye["vessel"].numpy(),
            "vessel": fit_label(read_mask(item["vessel"]), frame, self.size),
            "fov": fov.numpy(),
        }
        if "disc" in item and "disc" in self.kinds:
            pictures["disc"] = fit_disc(read_mask(item["disc"], key="disc"), frame, self.size) * fov.numpy()
        return pictures


def outpainting_input(sample: Mapping[Any, Any], disc: bool = False) -> NDArray[np.float32]:
    """Assemble the input of an outpainting network, before scaling.

    A pixel is vessel if vessels cover at least half of it.

    Args:
        sample: dictionary of ``color_vessel`` ``(3, H, W)`` RGB in [0, 255], used only on vessels; ``vessel_share``
            ``(1, H, W)`` in [0, 255]; and ``fov`` and, if needed, ``disc`` ``(1, H, W)`` in {0, 1}.
        disc: whether the network takes the optic disc.

    Returns:
        Input ``(4, H, W)`` or, with the disc, ``(5, H, W)`` in [0, 255]. Three channels are the colours of vessels
        inside the field of view, black elsewhere. The fourth is the share of each pixel not covered by vessels, for
        pixels to be painted (inside the field of view and not vessel), 0 elsewhere. The fifth is the disc.
    """
    share, inside = rounded_share(np.asarray(sample["vessel_share"])), np.asarray(sample["fov"]) > 0
    known = (share >= HALF) & inside
    color = np.rint(np.asarray(sample["color_vessel"], np.float32))
    parts = [color * known, (255 - share) * (inside & ~known)]
    if disc:
        parts.append(np.asarray(sample["disc"], np.float32) * 255)
    return np.concatenate(parts).astype(np.float32)


def _written(folder: Path, split: str) -> list[Item]:
    if split != ALL:
        raise RetinaError(f"input_dir {folder} has no splits: leave out --split {split}, or give a data set")
    lines = list(read_manifest(folder))
    if not lines or not all(key in line for line in lines for key in WRITTEN):
        raise RetinaError(
            f"input_dir {folder} has no manifest.jsonl with colour vessel masks and vessel shares: write the set again"
        )
    items = [_as_item(folder, line) for line in lines]
    return sorted(items, key=lambda item: int(item["index"]))


def _as_item(folder: Path, line: Item) -> Item:
    condition = line.get("condition", {})
    return {
        **{key: line[key] for key in ("name", "patient", "index")},
        **{key: str(folder / line[key]) for key in (*WRITTEN, "disc") if key in line},
        **{key: line[key] for key in ("disc_by",) if key in line},
        "source": str(line.get("source", line["color_vessel"])),
        "laterality": str(line.get("laterality", "")),
        "condition": str(condition.get("name", line["name"])),
        "condition_dataset": str(condition.get("dataset", "")),
        "augmented": int(bool(condition.get("augmented"))),
    }


def _photographed(folder: Path, split: str, skip_unreadable: bool | str, keep_names: bool) -> list[Item]:
    datalist = find_datalist(str(folder), parse_switch(skip_unreadable, "skip_unreadable"))
    eyes = with_kind([item for name in SPLITS if split in (ALL, name) for item in datalist[name]], "vessel")
    if not eyes:
        raise RetinaError(
            f"input_dir {folder} has no eye with a vessel map for {split}: give another --split or data set"
        )
    items = [
        {"laterality": "", **eye, "condition": eye["name"], "condition_dataset": eye.get("dataset", "")}
        for eye in pseudonymised(sorted(eyes, key=lambda eye: str(eye["name"])), keep_names)
    ]
    return [{"source": item["image"], **item, "index": index, "augmented": 0} for index, item in enumerate(items)]
