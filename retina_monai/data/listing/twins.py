"""Find duplicate photographs: copies that may be recompressed, resized, cropped to the eye or slightly shifted.

A photograph is cropped to its non-black part, resized to 64 x 64 and compared by its local contrast, which hardly
depends on brightness. Pairs that correlate at 16 x 16 are compared at 64 x 64, where vessels are visible, under small
shifts.
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
from retina_monai.data.listing.layout import Datalist, Item, main_picture
from retina_monai.errors import RetinaError, join_first

__all__ = ["find_twins", "join_patients", "join_twins", "thumbnail"]

logger = logging.getLogger("retina_monai")

SIDE = 64
COARSE = 16
SMALLEST = 48  # minimum side of an eye in pixels; smaller eyes are too coarse to compare
BLACK = 0.2  # maximum brightness of black pixels, relative to the photograph's 90th percentile
LINE = 0.04  # minimum share of brighter pixels in rows and columns of the eye
INSIDE = 0.85  # fraction of the radius that is compared, as the border of the eye looks alike in all photographs
FAINT = 2.0  # grey levels; lower contrast is noise and is not amplified
FINE, COARSELY = 3.0, 6.0  # sigma of the Gaussian window for local contrast
PLAIN = 0.2  # minimum root mean square of the local contrast of a recognisable image
ALIKE = 0.8  # minimum correlation at 16 x 16
SAME = 0.6  # minimum correlation at 64 x 64
# Among 1.5 million pairs of 1,738 photographs (CHASE_DB1, HRF, FIVES, IDRiD, PALM, ROSSA, OCTA-500), the 26 known
# duplicates of IDRiD correlate by at least 0.98, 14 pairs of one eye, taken or stored twice, by at least 0.67, and all
# other pairs by at most 0.53.
SHIFT = 4  # maximum shift in pixels at 64 x 64
ROWS, PAIRS = 512, 256  # batch sizes

Floats = NDArray[np.float32]
Pair = tuple[int, int]


def join_twins(datalists: Sequence[Datalist], public: Container[str] = ()) -> list[Datalist]:
    """Merge the patients of duplicate photographs under the name of the first, and log the photographs.

    If there are real photographs, a synthetic duplicate of a real one is assigned to its patient, and duplicates among
    synthetic photographs are ignored.

    Args:
        datalists: one datalist per data set.
        public: names of published data sets, whose splits a user cannot change.

    Returns:
        The datalists. A patient may be in two splits afterwards, which
        :func:`retina_monai.data.listing.splits.merge` resolves.

    Raises:
        RetinaError: if a data set that is not ``public`` has duplicates in two splits.
    """
    found = [
        (item, (number, split))
        for number, datalist in enumerate(datalists)
        for split, items in datalist.items()
        for item in items
    ]
    items, places = [item for item, _ in found], [place for _, place in found]
    synthetic = [is_synthetic(item) for item in items]
    if all(synthetic):  # such as training on phantoms
        synthetic = [False] * len(items)
    twins = find_twins(_thumbnails(items))
    pairs = [
        (a, b) for a, b in twins if items[a]["patient"] != items[b]["patient"] and not (synthetic[a] and synthetic[b])
    ]
    if not pairs:
        return list(datalists)
    real = [(a, b) for a, b in pairs if not (synthetic[a] or synthetic[b])]
    _check_splits([pair for pair in real if items[pair[0]]["dataset"] not in public], items, places)
    names = [f"{items[a]['name']} and {items[b]['name']}" for a, b in pairs]
    logger.warning("duplicate photographs of two patients, who are merged: %s", join_first(names))
    patients = join_patients([(items[a]["patient"], items[b]["patient"]) for a, b in real])
    owners = {main_picture(item): item["patient"] for item in items}
    for a, b in pairs:
        if synthetic[a] or synthetic[b]:
            original, copy = (b, a) if synthetic[a] else (a, b)
            owners[main_picture(items[copy])] = items[original]["patient"]
    owners = {image: patients.get(patient, patient) for image, patient in owners.items()}
    return [
        {split: [item | {"patient": owners[main_picture(item)]} for item in items] for split, items in datalist.items()}
        for datalist in datalists
    ]


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Crop a photograph to its non-black part and resize it to 64 x 64 pixels.

    Args:
        grey: grey image ``(H, W)`` in [0, 255].

    Returns:
        Thumbnail ``(64, 64)``, or ``None`` if the photograph is too small or too plain to be recognised.
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
    """Find duplicate photographs.

    Args:
        thumbnails: thumbnails as returned by :func:`thumbnail`.

    Returns:
        Sorted pairs of indices, the lower first. Exact copies are each paired with the first.
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
        found = threads.map(_read, [item.get("image") for item in items])
        return list(tqdm(found, desc="comparing photographs", total=len(items), leave=False, disable=None))


def _read(path: str | None) -> NDArray[np.uint8] | None:
    try:
        return thumbnail(read_preview(path, 4 * SIDE)) if path is not None else None
    except RetinaError:  # reported when the photograph is read
        return None


def _likely(coarse: Floats, start: int) -> list[Pair]:
    """Likely duplicates between a block of rows and all later ones."""
    alike = coarse[start : start + ROWS] @ coarse.T >= ALIKE
    rows, columns = np.nonzero(np.triu(alike, start + 1))
    return list(zip((rows + start).tolist(), columns.tolist(), strict=True))


def _overlaid(left: Floats, right: Floats) -> Floats:
    """Maximum correlation of each pair over all shifts."""
    from scipy import fft

    products = fft.irfft2(fft.rfft2(left).conj() * fft.rfft2(right), (SIDE, SIDE))
    near = np.arange(-SHIFT, SHIFT + 1)
    best: Floats = products[:, near[:, None], near].max((1, 2))
    return best


def _unit(stack: NDArray[np.uint8], side: int, sigma: float) -> Floats:
    """Local contrast ``(N, side, side)``, normalised so that the inner product of two is their correlation."""
    blocks = [_local_contrast(stack[start : start + ROWS], side, sigma) for start in range(0, len(stack), ROWS)]
    contrast = np.concatenate([np.zeros((0, side, side), np.float32), *blocks])
    unit: Floats = contrast / np.linalg.norm(contrast, axis=(1, 2), keepdims=True).clip(1e-6)
    return unit


def _local_contrast(stack: NDArray[np.uint8], side: int, sigma: float) -> Floats:
    """Difference from the local mean, texts by the local standard deviation and downsampled to ``side`` pixels."""
    from scipy import ndimage  # slow to import

    grey = stack.astype(np.float32)
    contrast = grey - ndimage.gaussian_filter(grey, (0, sigma, sigma))
    contrast /= np.sqrt(ndimage.gaussian_filter(contrast**2, (0, sigma, sigma)) + FAINT**2)
    reduced: Floats = contrast.reshape(len(stack), side, SIDE // side, side, SIDE // side).mean((2, 4))
    places = (np.arange(side) + 0.5) / side * 2 - 1
    return reduced * (np.hypot(*np.meshgrid(places, places)) < INSIDE)


def join_patients(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Map each patient to the first patient of its connected group."""
    groups: dict[str, list[str]] = {}
    for one, other in pairs:
        ours, theirs = groups.setdefault(one, [one]), groups.setdefault(other, [other])
        if ours is not theirs:
            ours += theirs
            groups |= dict.fromkeys(theirs, ours)
    return {patient: group[0] for patient, group in groups.items()}


def _check_splits(pairs: Sequence[Pair], items: Sequence[Item], places: Sequence[tuple[int, str]]) -> None:
    """Reject duplicates in two splits of one data set."""
    texts = [
        f"{items[a]['image']} ({places[a][1]}) and {items[b]['image']} ({places[b][1]})"
        for a, b in pairs
        if places[a][0] == places[b][0] and places[a][1] != places[b][1]
    ]
    if texts:
        raise RetinaError(
            f"the same photograph is in two splits: {join_first(texts)}: remove one of them, or move both to one split"
        )
