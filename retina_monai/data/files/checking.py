"""Validate the images of a data set before training, and report all faults at once.

:func:`check_files` reads headers and file structure only, which is fast. :func:`check_contents` decodes every image and
checks its content. :func:`check_eye` checks the content of one decoded eye.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from retina_monai.data.files.masks import PhotographAsMaskError
from retina_monai.data.files.reading import check_picture, read_mask, read_photograph
from retina_monai.data.listing.layout import Item
from retina_monai.errors import RetinaError, join_first, one_line
from retina_monai.kinds import MASKS, PICTURES

__all__ = ["check_contents", "check_eye", "check_files", "read_pictures", "refuse_or_skip"]

logger = logging.getLogger("retina_monai")

PHOTOGRAPHS = tuple(key for key in PICTURES if key not in MASKS)
THREADS = min(8, os.cpu_count() or 1)
SKIP = "--skip_unreadable true"

NO_MASKS: Mapping[str, NDArray[np.uint8]] = MappingProxyType({})

MOST = 0.5
COLOUR_GRID = 256  # points per side of the grid on which colours are counted
COLOURS = 8  # maximum number of colours in a label map
DARK, BRIGHT = 32, 223  # a mask with smooth edges or JPEG artefacts has few pixels between these grey levels
BETWEEN, BETWEEN_BRIGHT = 0.2, 0.02  # maximum share of such pixels, in general and in a mostly bright image
FEW = 0.005  # minimum share of brighter pixels, which are also at least a quarter as many as those between
GREY = 12  # maximum difference between the channels of a grey image, after JPEG rounding
SMALLEST = 64  # minimum side in pixels at which vessels can be distinguished from noise
FITS = 0.2  # correlation of an aligned map; on real eyes at least 0.33 if aligned and at most 0.09 if not
MISSES = 0.1
GRID = 1024  # points per side of the grid on which photographs are examined


def check_files(items: Sequence[Item], skip_unreadable: bool = False) -> list[Item]:
    """Check that the images of all eyes exist, are structurally complete, and have one size per eye.

    Args:
        items: items of a datalist.
        skip_unreadable: whether to leave out the eyes that fail and log their names, instead of raising an error.

    Returns:
        The items that pass, in the same order.

    Raises:
        RetinaError: if an eye fails and ``skip_unreadable`` is false (the message names up to ten images), or if no
            eye is left.
    """
    sizes: dict[str, tuple[int, int] | RetinaError] = {}
    for path in tqdm(_paths(items), desc="checking files", leave=False, disable=None):
        try:
            sizes[path] = check_picture(path)
        except RetinaError as error:
            sizes[path] = error
    return _passing(items, [_file_faults(item, sizes) for item in items], skip_unreadable)


def check_contents(items: Sequence[Item], skip_unreadable: bool = False) -> list[Item]:
    """Decode the images of all eyes in several threads and check their content as :func:`check_eye` does.

    Args:
        items, skip_unreadable: see :func:`check_files`.

    Returns:
        The items that pass, in the same order.

    Raises:
        RetinaError: see :func:`check_files`.
    """
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(_content_faults, items)
        faults = list(tqdm(found, desc="checking pictures", total=len(items), leave=False, disable=None))
    return _passing(items, faults, skip_unreadable)


def read_pictures(
    item: Mapping[Any, Any], keys: Sequence[str] = PICTURES
) -> tuple[dict[str, NDArray[np.uint8]], list[str]]:
    """Read the images of an eye.

    Args:
        item: item of a datalist.
        keys: keys of the images to read. Keys that the item lacks are ignored.

    Returns:
        A dictionary of photographs ``(3, H, W)`` in [0, 255] and masks ``(1, H, W)`` in {0, 1}, and one sentence for
        each image that cannot be read or is a photograph in place of a mask.
    """
    pictures: dict[str, NDArray[np.uint8]] = {}
    faults: dict[str, RetinaError] = {}
    for key in (key for key in keys if key in item):
        try:
            pictures[key] = read_photograph(item[key]) if key in PHOTOGRAPHS else read_mask(item[key], key=key)
        except RetinaError as error:
            faults[key] = error
    swapped = [key for key, fault in faults.items() if isinstance(fault, PhotographAsMaskError)]
    if swapped and "image" in pictures and _is_mask(pictures["image"]):
        return pictures, [
            f"{item['image']} is a mask, black and white, and {item[swapped[0]]} is a photograph where a "
            f"{MASKS[swapped[0]].name} belongs: swap them"
        ]
    return pictures, [str(fault) for fault in faults.values()]


def check_eye(
    image: NDArray[np.uint8],
    vessel: NDArray[np.uint8] | None,
    item: Mapping[Any, Any],
    fov: NDArray[np.uint8] | None = None,
    masks: Mapping[str, NDArray[np.uint8]] = NO_MASKS,
) -> None:
    """Check that a photograph and its masks show what their keys say.

    Args:
        image: photograph ``(3, H, W)`` in [0, 255].
        vessel: vessel map ``(1, H, W)`` in {0, 1}, or ``None`` if the eye has no vessel map.
        item: item of the datalist, whose paths appear in error messages.
        fov: field of view ``(1, H, W)`` in {0, 1}, or ``None`` to use the whole frame. It is checked if ``item`` has
            the key ``fov``.
        masks: masks of other structures by key, in the format of ``vessel``.

    Raises:
        RetinaError: if a mask and the photograph differ in size; if the photograph is black, has two values like a
            mask, or has few colours like a label map; if the vessel map is aligned only after it is rotated or
            mirrored; if vessels in a colour photograph are brighter than their surroundings; or as
            :func:`retina_monai.data.files.mask_checks.check_masks`.
    """
    found = ({} if vessel is None else {"vessel": vessel}) | dict(masks)
    pictures = {"image": image, **found} | ({} if fov is None else {"fov": fov})
    for fault in _size_faults(item, {key: array.shape[1:] for key, array in pictures.items()}):
        raise RetinaError(fault)
    if not image.any():
        raise RetinaError(f"{item['image']} is black: it shows no eye, so give another photograph")
    if _is_mask(image):
        raise RetinaError(
            f"{item['image']} is a mask, black and white, where a photograph belongs: "
            "mask and photograph may be swapped"
        )
    if _is_label_map(image):
        raise RetinaError(f"{item['image']} has at most {COLOURS} colours: it is a label map, so give the photograph")
    from retina_monai.data.files.mask_checks import check_masks  # imports torch, which takes seconds

    check_masks(found, item, fov, image)
    if "vessel" in found:
        _check_alignment(image, found["vessel"], item, fov)


def _check_alignment(
    image: NDArray[np.uint8], vessel: NDArray[np.uint8], item: Mapping[Any, Any], fov: NDArray[np.uint8] | None
) -> None:
    """Raise an error if a map is misoriented, and warn if it fits its photograph in no orientation."""
    if max(image.shape[1:]) < SMALLEST:
        return
    from retina_monai.data.files.orientation import ORIENTATIONS, vessel_fit  # imports torch, which takes seconds

    whole_frame = "fov" not in item and _is_grey(image)  # in OCTA, dark areas are not a border
    fits = vessel_fit(image, vessel, np.ones_like(vessel) if whole_frame else fov)
    size = np.abs(fits)  # vessels are bright in angiograms and OCTA
    best = int(size.argmax())
    if size[best] >= FITS and size[0] < size[best] / 2:
        raise RetinaError(
            f"{item['vessel']} fits its photograph {item['image']} only when it is {ORIENTATIONS[best]}: save the map "
            "in the orientation of the photograph"
        )
    if fits[0] <= -FITS and not _is_grey(image):
        raise RetinaError(
            f"{item['image']} has vessels that are brighter than their surroundings: it is a negative, so give the "
            "original photograph"
        )
    if size[0] < MISSES and not item.get("synthetic"):
        logger.warning(
            "%s fits its photograph %s in no orientation: check that both show the same eye and the same crop",
            item["vessel"],
            item["image"],
        )


def refuse_or_skip(faults: Sequence[Sequence[str]], total: int, skip_unreadable: bool) -> None:
    """Raise one error that lists all faults, or log the eyes that are left out.

    Args:
        faults: one sentence per fault, for each eye that fails.
        total: total number of eyes.
        skip_unreadable: whether to log instead of raising, as long as an eye is left.

    Raises:
        RetinaError: if there are faults and either they are not skipped or no eye is left.
    """
    texts = [text for found in faults for text in found]
    if not texts:
        return
    if skip_unreadable and len(faults) < total:
        logger.warning("left out %d of %d eyes: %s", len(faults), total, join_first([one_line(text) for text in texts]))
    elif skip_unreadable:
        raise RetinaError(f"no eye is left, each of the {total} cannot be used: {join_first(texts)}")
    elif len(texts) == 1:
        raise RetinaError(f"{texts[0]} (or leave the eye out with {SKIP})")
    else:
        advice = f"fix or remove them, or leave them out with {SKIP}"
        raise RetinaError(f"{len(faults)} of {total} eyes cannot be used: {join_first(texts)} ({advice})")


def _passing(items: Sequence[Item], faults: Sequence[Sequence[str]], skip_unreadable: bool) -> list[Item]:
    refuse_or_skip([texts for texts in faults if texts], len(items), skip_unreadable)
    return [item for item, texts in zip(items, faults, strict=True) if not texts]


def _paths(items: Sequence[Item]) -> list[str]:
    """Paths of all images without duplicates, in the order of the items."""
    return list(dict.fromkeys(str(item[key]) for item in items for key in PICTURES if key in item))


def _file_faults(item: Item, sizes: Mapping[str, tuple[int, int] | RetinaError]) -> list[str]:
    """Faults of an eye's files, or of the image sizes if all files are complete."""
    found = {key: sizes[str(item[key])] for key in PICTURES if key in item}
    broken = [str(value) for value in found.values() if isinstance(value, RetinaError)]
    return broken or _size_faults(item, {key: value for key, value in found.items() if isinstance(value, tuple)})


def _size_faults(item: Mapping[Any, Any], sizes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """One sentence for each image whose size differs from that of the eye's first image."""
    first, *others = sizes or [""]
    faults = []
    for key in (key for key in others if sizes[key] != sizes[first]):
        turned = tuple(sizes[key]) == tuple(sizes[first])[::-1]
        advice = (
            "the mask lies on its side (stored transposed, or without the EXIF rotation of the photograph), so save "
            "it in the orientation of the photograph"
            if turned
            else "give masks of the photograph's size"
        )
        faults.append(
            f"{item[key]} is {sizes[key][1]} x {sizes[key][0]} pixels, but its photograph {item[first]} is "
            f"{sizes[first][1]} x {sizes[first][0]}: {advice}"
        )
    return faults


def _content_faults(item: Item) -> list[str]:
    pictures, faults = read_pictures(item)
    faults += _size_faults(item, {key: picture.shape[1:] for key, picture in pictures.items()})
    return faults or _eye_faults(item, pictures)


def _eye_faults(item: Item, pictures: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    image, fov = pictures.get("image"), pictures.get("fov")
    masks = {key: picture for key, picture in pictures.items() if key not in (*PHOTOGRAPHS, "fov")}
    from retina_monai.data.files.mask_checks import check_masks  # imports torch, which takes seconds

    try:
        if image is not None:
            check_eye(image, None, item, fov, masks)
        else:
            check_masks(masks, item, fov)
    except RetinaError as error:
        return [str(error)]
    return []


def _is_label_map(image: NDArray[np.uint8]) -> bool:
    """Whether an image ``(3, H, W)``, sampled on a grid, is mostly black and has as few colours as a label map."""
    step = -(-max(image.shape[1:]) // COLOUR_GRID)
    seen = image[:, ::step, ::step].reshape(3, -1).astype(np.int32)
    colours, count = np.unique(seen[0] << 16 | seen[1] << 8 | seen[2], return_counts=True)
    return bool(len(colours) <= COLOURS and colours[0] == 0 and count[0] > MOST * count.sum())


def _is_mask(image: NDArray[np.uint8]) -> bool:
    """Whether an image ``(3, H, W)``, sampled on a grid, is grey and has two values or nearly so."""
    if not _is_grey(image):
        return False
    seen = _seen(image)
    count = np.bincount(seen[1].ravel(), minlength=256)
    between, bright = (count[start:end].sum() / seen[1].size for start, end in ((DARK, BRIGHT + 1), (BRIGHT + 1, 256)))
    clear = between <= (BETWEEN if bright <= MOST else BETWEEN_BRIGHT) and bright >= max(FEW, between / 4)
    return bool(clear or np.count_nonzero(count) == 2)


def _is_grey(image: NDArray[np.uint8]) -> bool:
    seen = _seen(image)
    return bool((seen.max(axis=0) - seen.min(axis=0)).max() <= GREY)


def _seen(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = -(-max(image.shape[1:]) // GRID)
    return image[:, ::step, ::step]
