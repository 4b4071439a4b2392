"""Disc masks for photographs without them, so that generators that take a disc can be trained on any data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.layout import Datalist, Item
from retina_monai.data.listing.layouts import file_digest
from retina_monai.data.sets.eyes import read_eye
from retina_monai.errors import RetinaError, counted, join_first, parse_switch
from retina_monai.progress import progress
from retina_monai.synthesis.disc_segmentation import DiscSegmenter

__all__ = ["find_missing_discs"]

logger = logging.getLogger("retina_monai")


def find_missing_discs(
    datalist: Datalist,
    kinds: Sequence[str],
    cache_dir: str | Path,
    skip_unreadable: bool | str = False,
    bundle: str | Path = "unet_disc",
) -> Datalist:
    """Add a disc mask to every eye without one, as segmented in its photograph by ``unet_disc``.

    Masks are kept in ``cache_dir/discs`` under a digest of the photograph, its field of view and the weights. Eyes
    without a visible disc are left out and logged.

    Args:
        datalist: items with ``image``, by split.
        kinds: kinds of mask that are needed. The datalist is returned as it is if ``disc`` is not one of them.
        cache_dir: folder of the masks.
        skip_unreadable: switch, whether to leave out eyes that cannot be read.
        bundle: bundle from photograph to disc mask.

    Returns:
        A datalist whose items all have ``disc``. Those that were added also have ``disc_by``.

    Raises:
        RetinaError: an eye cannot be read, no eye has a disc, or the weights of the bundle are missing.
    """
    items = {split: list(part) for split, part in datalist.items()}
    missing = [item for part in items.values() for item in part if "disc" not in item]
    if "disc" not in kinds or not missing:
        return datalist
    segmenter, folder, skip = DiscSegmenter(bundle), Path(cache_dir) / "discs", parse_switch(skip_unreadable, "skip")
    found: dict[int, Item] = {}
    for item in progress(missing, f"finding {counted(len(missing), 'disc')}", "eye"):
        try:
            path = _segmented(item, segmenter, folder)
        except RetinaError:
            if not skip:
                raise
            continue
        if np.asarray(Image.open(path)).any():
            found[id(item)] = item | {"disc": str(path), "disc_by": f"{segmenter.name} {segmenter.weights[:12]}"}
    without = [str(item["name"]) for item in missing if id(item) not in found]
    if without:
        logger.warning(
            "left out %d of %d eyes, in which no disc was found: %s",
            len(without),
            sum(map(len, items.values())),
            join_first(without),
        )
    completed = {
        split: [found.get(id(item), item) for item in part if "disc" in item or id(item) in found]
        for split, part in items.items()
    }
    if not any(completed.values()):
        raise RetinaError("no disc was found in any photograph: give a data set with disc masks")
    return completed


def _segmented(item: Mapping[Any, Any], segmenter: DiscSegmenter, folder: Path) -> Path:
    """The file of an eye's mask, which is written on first use."""
    files = [file_digest(Path(item[key]))[:16] for key in ("image", "fov") if key in item]
    path = folder / f"{'-'.join([*files, segmenter.weights[:16]])}.png"
    if not path.is_file():
        eye = read_eye(item)
        write_png(path, segmenter(eye["image"], eye["fov"]).mask[None] * np.uint8(255), synthetic=False)
    return path
