"""Photographs that are one picture under two names: copies, recompressed, resized, cropped to the eye, moved a little.

A photograph is cut to what is not black, resized to 64 x 64 and compared by its local contrast, which hardly changes
with brightness. Pairs that agree at 16 x 16 are laid over each other, a little shifted, at 64 x 64, where vessels show.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from retina_monai.data.files.checking import THREADS
from retina_monai.data.files.reading import read_preview
from retina_monai.data.files.writing import is_synthetic
from retina_monai.data.listing.layout import Datalist, Item
from retina_monai.errors import RetinaError, join_first

__all__ = ["find_twins", "join_patients", "join_twins", "thumbnail"]

logger = logging.getLogger("retina_monai")

SIDE = 64
COARSE = 16
SMALLEST = 48  # pixels a side of an eye: smaller ones are too coarse to compare
BLACK = 0.2  # of a bright pixel of the photograph
LINE = 0.04  # a row or column in which fewer pixels are brighter than that is no part of the eye
INSIDE = 0.85  # of the frame's radius: the border of the eye is alike in all photographs
FAINT = 2.0  # grey values: contrast below is noise and is not raised
FINE, COARSELY = 3.0, 6.0  # sigma of a pixel's surroundings
PLAIN = 0.2  # root mean square of the local contrast below which a picture shows nothing to know it by
ALIKE = 0.8  # correlation at 16 x 16
SAME = 0.6  # correlation at 64 x 64
# Of 1.5 million pairs of 1,738 photographs (CHASE_DB1, HRF, FIVES, IDRiD, PALM, ROSSA, OCTA-500), the 26 that IDRiD is
# known to hold twice have at least 0.98, 14 of one eye, taken or stored twice, at least 0.67, other pairs at most 0.53.
SHIFT = 4  # pixels of SIDE
ROWS, PAIRS = 512, 256  # at a time

Floats = NDArray[np.float32]
Pair = tuple[int, int]


def join_twins(datalists: Sequence[Datalist], public: Container[str] = ()) -> list[Datalist]:
    """Make one patient of those whose photographs are one picture, named as the first of them, and log the photographs.

    Beside real photographs, a synthetic one that shows a real one becomes that one's patient, and two synthetic ones
    may be alike.

    Args:
        datalists: of one data set each.
        public: names of published data sets, whose splits a user cannot change.

    Returns:
        The datalists. A patient may be in two splits now, which :func:`retina_monai.data.listing.splits.merge` mends.

    Raises:
        RetinaError: two photographs in two splits of a data set that is not ``public`` are one picture.
    """
    found = [
        (item, (number, split))
        for number, datalist in enumerate(datalists)
        for split, items in datalist.items()
        for item in items
    ]
    items, places = [item for item, _ in found], [place for _, place in found]
    synthetic = [is_synthetic(item) for item in items]
    if all(synthetic):  # nothing real to tell them from, as phantoms that are trained on
        synthetic = [False] * len(items)
    twins = find_twins(_thumbnails(items))
    pairs = [
        (a, b) for a, b in twins if items[a]["patient"] != items[b]["patient"] and not (synthetic[a] and synthetic[b])
    ]
    if not pairs:
        return list(datalists)
    real = [(a, b) for a, b in pairs if not (synthetic[a] or synthetic[b])]
    _refuse_torn([pair for pair in real if items[pair[0]]["dataset"] not in public], items, places)
    names = [f"{items[a]['name']} and {items[b]['name']}" for a, b in pairs]
    logger.warning("one picture, or nearly, under two patients, which count as one: %s", join_first(names))
    patients = join_patients([(items[a]["patient"], items[b]["patient"]) for a, b in real])
    owners = {items[place]["image"]: items[place]["patient"] for place in range(len(items))}
    for a, b in pairs:
        if synthetic[a] or synthetic[b]:
            shown, drawn = (b, a) if synthetic[a] else (a, b)
            owners[items[drawn]["image"]] = items[shown]["patient"]
    owners = {image: patients.get(patient, patient) for image, patient in owners.items()}
    return [
        {split: [item | {"patient": owners[item["image"]]} for item in items] for split, items in datalist.items()}
        for datalist in datalists
    ]


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The part of a photograph that is not black, in 64 x 64 pixels.

    Args:
        grey: (H, W).

    Returns:
        (64, 64); ``None`` if the photograph is too small, or too plain, to be known by it.
    """
    bright = grey > max(BLACK * float(np.percentile(grey, 90)), 4)
    rows, columns = (np.flatnonzero(bright.mean(axis) > LINE) for axis in (1, 0))
    if min(len(rows), len(columns)) < SMALLEST:
        return None
    eye = Image.fromarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    filtering = Image.Resampling.BOX if min(eye.size) >= SIDE else Image.Resampling.BILINEAR
    small = np.asarray(eye.resize((SIDE, SIDE), filtering))
    return small if np.sqrt(np.mean(_local_contrast(small[None], SIDE, FINE) ** 2)) > PLAIN else None


def find_twins(thumbnails: Sequence[NDArray[np.uint8] | None]) -> list[Pair]:
    """Pairs of photographs that are one picture, or nearly: their places, the lower first, in order.

    Of several equal ones, each makes a pair with the first.

    Args:
        thumbnails: as :func:`thumbnail` makes them.
    """
    first: dict[bytes, int] = {}
    pairs = []
    for place, small in enumerate(thumbnails):
        if small is not None and (before := first.setdefault(small.tobytes(), place)) != place:
            pairs.append((before, place))
    places = list(first.values())
    stack = np.frombuffer(b"".join(first), np.uint8).reshape(-1, SIDE, SIDE)
    fine, coarse = _unit(stack, SIDE, FINE), _unit(stack, COARSE, COARSELY).reshape(-1, COARSE**2)
    likely = [pair for start in range(0, len(stack), ROWS) for pair in _likely(coarse, start)]
    for start in range(0, len(likely), PAIRS):
        left, right = np.array(likely[start : start + PAIRS]).T
        same = _overlaid(fine[left], fine[right]) >= SAME
        pairs += [(places[a], places[b]) for a, b in zip(left[same].tolist(), right[same].tolist(), strict=True)]
    return sorted(pairs)


def _thumbnails(items: Sequence[Item]) -> list[NDArray[np.uint8] | None]:
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(_read, [item["image"] for item in items])
        return list(tqdm(found, desc="comparing photographs", total=len(items), leave=False, disable=None))


def _read(path: str) -> NDArray[np.uint8] | None:
    try:
        return thumbnail(read_preview(path, 4 * SIDE))
    except RetinaError:  # whoever reads the whole photograph says so
        return None


def _likely(coarse: Floats, start: int) -> list[Pair]:
    """Pairs of a block of rows with all that come after them."""
    alike = coarse[start : start + ROWS] @ coarse.T >= ALIKE
    rows, columns = np.nonzero(np.triu(alike, start + 1))
    return list(zip((rows + start).tolist(), columns.tolist(), strict=True))


def _overlaid(left: Floats, right: Floats) -> Floats:
    """The best correlation of each pair over the shifts."""
    from scipy import fft

    products = fft.irfft2(fft.rfft2(left).conj() * fft.rfft2(right), (SIDE, SIDE))
    near = np.arange(-SHIFT, SHIFT + 1)
    best: Floats = products[:, near[:, None], near].max((1, 2))
    return best


def _unit(stack: NDArray[np.uint8], side: int, sigma: float) -> Floats:
    """(N, side, side): local contrast, each of length 1, so that the product of two is how they correlate."""
    blocks = [_local_contrast(stack[start : start + ROWS], side, sigma) for start in range(0, len(stack), ROWS)]
    contrast = np.concatenate([np.zeros((0, side, side), np.float32), *blocks])
    unit: Floats = contrast / np.linalg.norm(contrast, axis=(1, 2), keepdims=True).clip(1e-6)
    return unit


def _local_contrast(stack: NDArray[np.uint8], side: int, sigma: float) -> Floats:
    """What differs from the mean of its surroundings, over their standard deviation, reduced to ``side`` pixels."""
    from scipy import ndimage  # slow to import

    grey = stack.astype(np.float32)
    contrast = grey - ndimage.gaussian_filter(grey, (0, sigma, sigma))
    contrast /= np.sqrt(ndimage.gaussian_filter(contrast**2, (0, sigma, sigma)) + FAINT**2)
    reduced: Floats = contrast.reshape(len(stack), side, SIDE // side, side, SIDE // side).mean((2, 4))
    places = (np.arange(side) + 0.5) / side * 2 - 1
    return reduced * (np.hypot(*np.meshgrid(places, places)) < INSIDE)


def join_patients(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Each patient of the pairs, and the first of those with whom it is one, directly or by others."""
    groups: dict[str, list[str]] = {}
    for one, other in pairs:
        ours, theirs = groups.setdefault(one, [one]), groups.setdefault(other, [other])
        if ours is not theirs:
            ours += theirs
            groups |= dict.fromkeys(theirs, ours)
    return {patient: group[0] for patient, group in groups.items()}


def _refuse_torn(pairs: Sequence[Pair], items: Sequence[Item], places: Sequence[tuple[int, str]]) -> None:
    """Refuse pairs that stand in two splits of one data set."""
    torn = [
        f"{items[a]['image']} ({places[a][1]}) and {items[b]['image']} ({places[b][1]})"
        for a, b in pairs
        if places[a][0] == places[b][0] and places[a][1] != places[b][1]
    ]
    if torn:
        raise RetinaError(
            f"one picture, or nearly, stands in two splits: {join_first(torn)}: remove one of them, or give both to "
            "one split"
        )
