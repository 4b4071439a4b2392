"""Binarise masks from files and arrays, and reject label maps and photographs.

A mask has two values on any scale. Anti-aliasing, JPEG and averaging over annotators add intermediate values, but only
at the edges of marked areas. In a label map, intermediate values fill areas. In a photograph, they are everywhere.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retina_monai.errors import RetinaError
from retina_monai.kinds import MASKS, Kind

__all__ = ["DEPTHS", "PhotographAsMaskError", "refuse_values", "shows_photograph", "to_mask"]

DEPTHS = (8, 10, 12, 14, 16)
NOISE = 1e-3  # tolerance of floating-point values around integers

FAINT = 12  # of 255: maximum background value after JPEG compression
FULL = 223  # of 255: minimum foreground value after JPEG compression, exclusive
GRID = 512  # points per side of the grid on which photographs are detected
FRAME = 0.1  # minimum share of the frame that the eye covers in a photograph
SHOWN, BETWEEN = 0.8, 0.6  # minimum shares of non-dark and of intermediate pixels in the middle of a photograph
SMOOTH = 0.3  # minimum correlation of neighbours in a grey photograph: 0.8 and more in real ones, 0.39 in OCTA
PEAK = 0.25  # maximum share of one value among the intermediate pixels; a flat background has more

FEW_VALUES = 32  # maximum number of values in a label map
SAMPLE = 2**16  # pixels in which values are counted before all pixels are
ALL, TO_END, TO_LAST = slice(None), slice(1, None), slice(-1)
PAIRS = (
    ((TO_END, ALL), (TO_LAST, ALL)),
    ((ALL, TO_END), (ALL, TO_LAST)),
    ((TO_END, TO_END), (TO_LAST, TO_LAST)),
    ((TO_END, TO_LAST), (TO_LAST, TO_END)),
)  # a pixel and its neighbour, in four of eight directions
PURE = 0.75  # minimum share of equal values among the marked neighbours of a label's pixels
CONNECTED = 1.5  # minimum number of equal neighbours per pixel of a label; pixels of a line have two
EDGE = 0.5  # maximum share of a label's pixels with both a lower and a higher neighbour
COUNTED = 0.005  # minimum share of the marked pixels that a label has
NESTED = 0.05  # maximum width, relative to the side, of the rings on which annotators disagree
AREA_GRID = 1024  # points per side of the grid on which neighbours are compared
FLAT = 6  # maximum range of grey levels among neighbours in an area of one label, after JPEG compression
WIDE = 3  # half width of a label's peak in the histogram, in grey levels
ALONE = 3  # minimum ratio of the peak's count to that of the levels beside it


ANY = Kind((), "mask", "mask", one="structure", many="one structure")


class PhotographAsMaskError(RetinaError):
    """A photograph was given in place of a mask."""


def to_mask(array: NDArray, name: str | Path, key: str = "", threshold: int = 128) -> NDArray[np.uint8]:
    """Binarise a mask, and reject label maps and photographs.

    The maximum over the channels is used. The scale is [0, 1] if no value exceeds 1, otherwise that of the smallest
    usual bit depth. Floating-point values may deviate from 0 and 1 as interpolation causes it. A single non-zero value
    is foreground, however small it is.

    Args:
        array: mask ``(H, W)`` or ``(H, W, 3)``: Boolean, integer or floating point.
        name: file or argument, for error messages.
        key: key in :data:`retina_monai.kinds.MASKS`, or empty for a mask of any structure.
        threshold: minimum foreground value on the scale of [0, 255].

    Returns:
        Binary mask ``(1, H, W)`` in {0, 1}.

    Raises:
        PhotographAsMaskError: if the array is a photograph, in colour or grey.
        RetinaError: if values are negative, NaN, infinite or beyond 16 bits; if the array is a label map, which has up
            to 32 values of which an intermediate one fills areas; or if values exceed 1 but none reaches the threshold.
    """
    kind = MASKS.get(key, ANY)
    array = _without_noise(array)
    refuse_values(array, name)
    if shows_photograph(array):
        advice = "; iternet_vessel makes vessel maps of photographs" if kind.form == "tree" else ""
        raise PhotographAsMaskError(
            f"{name} is a photograph where a {kind.name} belongs: photograph and mask may be swapped{advice}"
        )
    brightest = array if array.ndim == 2 else reduce(np.maximum, np.moveaxis(array, 2, 0))
    marked = brightest > 0
    if (marked == (brightest == brightest.max())).all() or not marked.any():
        return marked.astype(np.uint8)[None]
    values, scaled = _few_values(brightest), _on_scale(brightest)
    inside = scaled >= threshold
    has_labels = not _counts_votes(brightest, values) and (_has_labels(brightest, values) or _has_areas(scaled))
    if has_labels or not (inside.any() or brightest.max() <= 1):
        has = f"the values {_listed(values)}" if values else f"values up to {brightest.max():g} in grey areas"
        raise RetinaError(
            f"{name} has {has}: a mask has 0 and 1, or 0 and 255, not labels; "
            f"give a {kind.name} that marks only {kind.many}"
        )
    return inside.astype(np.uint8)[None]


def shows_photograph(array: NDArray) -> bool:
    """Whether the middle of an image has a continuum of values, in at least one channel.

    Args:
        array: non-negative image ``(H, W)`` or ``(H, W, 3)``.
    """
    step = -(-max(array.shape[:2]) // GRID)
    seen = array[::step, ::step].astype(np.float32)
    seen *= 255 / max(float(seen.max()), 1e-9)
    colour = seen.ndim == 3 and float(np.ptp(seen, axis=2).max()) > FAINT
    for channel in seen[None] if seen.ndim == 2 else np.moveaxis(seen, 2, 0):
        rows, columns = (np.flatnonzero((channel > FAINT).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        (top, bottom), (left, right) = (side[[0, -1]] for side in (rows, columns))
        height, width = bottom + 1 - top, right + 1 - left
        if height * width < FRAME * channel.size:
            continue
        middle = channel[top + height // 4 : bottom + 1 - height // 4, left + width // 4 : right + 1 - width // 4]
        between = middle[(middle > FAINT) & (middle <= FULL)].astype(np.uint8)
        if len(between) < BETWEEN * middle.size or np.count_nonzero(middle > FAINT) < SHOWN * middle.size:
            continue
        if np.bincount(between).max() < PEAK * len(between) and (colour or _is_smooth(middle)):
            return True
    return False


def _is_smooth(picture: NDArray[np.float32]) -> bool:
    """Whether neighbouring values in the larger of the dark and the bright half correlate, unlike in a noisy mask."""
    one, other = picture[:, 1:].ravel(), picture[:, :-1].ravel()
    sides = [(one < 128) & (other < 128), (one >= 128) & (other >= 128)]
    larger = max(sides, key=np.count_nonzero)
    return bool(np.corrcoef(one[larger], other[larger])[0, 1] > SMOOTH)


def refuse_values(array: NDArray, name: str | Path) -> None:
    """Check the range of values of an image.

    Raises:
        RetinaError: if values are negative, NaN, infinite or beyond 16 bits.
    """
    smallest, largest = float(array.min()), float(array.max())
    if not (smallest >= 0 and largest < 2 ** DEPTHS[-1]):
        advice = "" if np.isfinite(smallest + largest) else "; replace NaN and infinity, for example by 0"
        raise RetinaError(
            f"{name} holds values from {smallest:g} to {largest:g}: a picture has 0 to 255, or 0 to 1{advice}"
        )


def _without_noise(array: NDArray) -> NDArray:
    """Remove the noise and spline overshoot that resampling and compression add to a floating-point mask."""
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        return array
    nearest = np.rint(array)
    settled = np.where(np.abs(array - nearest) <= NOISE, nearest, array)
    is_share = settled.min() > -0.5 and settled.max() < 1.5  # labels 0 and 1 pass as well
    return np.clip(settled, 0, 1) if is_share else settled


def _on_scale(array: NDArray) -> NDArray:
    """Rescale to [0, 255] from [0, 1] if no value exceeds 1, otherwise from the smallest usual bit depth, rounded."""
    largest = float(array.max())
    if largest <= 1:
        return array.astype(np.float32) * 255
    depth = next(depth for depth in DEPTHS if largest < 2**depth)
    return array if depth == 8 else np.rint(array * (255 / (2**depth - 1)))


def _few_values(array: NDArray) -> list[float]:
    """The sorted distinct values; empty if there are more than a label map has."""
    values = np.unique(array.ravel()[:: max(array.size // SAMPLE, 1)])
    values = np.unique(array) if len(values) <= FEW_VALUES else values
    return [float(value) for value in values] if len(values) <= FEW_VALUES else []


def _listed(values: list[float]) -> str:
    texts = [f"{value:g}" for value in values]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) < 8 else f"{', '.join(texts[:6])}, ... {texts[-1]}"


def _has_labels(array: NDArray, values: list[float]) -> bool:
    """Whether an intermediate value fills areas or lines."""
    if len(values) < 3:
        return False
    lowest, highest = values[0], values[-1]
    between = [value for value in values[1:-1] if value <= highest - (highest - lowest) / 16]
    views = _neighbours(np.pad(array, 1, mode="edge"))
    lower, higher = reduce(np.minimum, views), reduce(np.maximum, views)
    fewest = max(FEW_VALUES, COUNTED * np.count_nonzero(array > lowest))
    return any(_fills(array, value, lowest, lower, higher, fewest) for value in between)


def _fills(array: NDArray, value: float, lowest: float, lower: NDArray, higher: NDArray, fewest: float) -> bool:
    """Whether a value fills areas or lines instead of edges between lower and higher values."""
    at = array == value
    count = np.count_nonzero(at)
    if count < fewest or np.count_nonzero(at & (lower < value) & (higher > value)) > EDGE * count:
        return False
    marked = array > lowest
    equal = neighbours = 0
    for one, other in PAIRS:
        equal += int(np.count_nonzero(at[one] & at[other]))
        neighbours += int(np.count_nonzero(at[one] & marked[other]) + np.count_nonzero(at[other] & marked[one]))
    return 2 * equal > PURE * neighbours and 2 * equal > CONNECTED * int(count)


def _counts_votes(array: NDArray, values: list[float]) -> bool:
    """Whether four or more values are evenly spaced and form narrow nested rings, as counts of votes do."""
    if len(values) < 4 or np.ptp(np.diff(values)) > max(values[-1] / 100, 1):
        return False
    from scipy import ndimage  # slow to import and rarely needed

    reach = NESTED * max(array.shape)
    return all(
        (ndimage.distance_transform_edt(array <= value)[array == value] <= reach).all() for value in values[1:-1]
    )


def _has_areas(scaled: NDArray) -> bool:
    """Whether marked pixels include areas of one grey level, as in smoothed or JPEG-compressed labels."""
    views = _neighbours(scaled, -(-max(scaled.shape) // AREA_GRID))
    if not views[0].size:
        return False
    scale = np.float32(255 / max(float(scaled.max()), 1))
    lower, grey, higher = (
        np.rint(view * scale).astype(np.uint8)
        for view in (reduce(np.minimum, views), views[4], reduce(np.maximum, views))
    )
    even = higher - lower <= FLAT
    count = np.bincount(grey[even], minlength=256)
    lowest = int(grey.min()) + 2 * FAINT
    if lowest > FULL:
        return False
    peak = lowest + int(count[lowest : FULL + 1].argmax())
    area = count[peak - WIDE : peak + WIDE + 1].sum()
    beside = max(count[peak - 3 * WIDE - 1 : peak - WIDE].sum(), count[peak + WIDE + 1 : peak + 3 * WIDE + 2].sum())
    return bool(area > max(FEW_VALUES, COUNTED * np.count_nonzero(grey >= lowest), ALONE * beside))


def _neighbours(array: NDArray, step: int = 1) -> list[NDArray]:
    """Nine shifted views of the interior pixels, subsampled by ``step``; index 4 is the pixel itself."""
    height, width = (max(side - 2, 0) for side in array.shape)
    return [array[row : row + height : step, column : column + width : step] for row, column in np.ndindex(3, 3)]
