"""What a mask is, in files and in arrays alike, and what is given instead of one: label maps and photographs.

A mask has two values, whatever its scale. Anti-aliasing, JPEG and the votes of several experts put other values between
them, on the edges of what is marked. Labels fill areas with them, and a photograph has them everywhere.
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
NOISE = 1e-3  # of floating-point numbers about whole ones

FAINT = 12  # of 255: darker is background, as JPEG leaves it
FULL = 223  # of 255: brighter is inside, as JPEG leaves it
GRID = 512  # points a side on which a photograph is looked for
FRAME = 0.1  # share of the frame that a photograph's eye takes at least
SHOWN, BETWEEN = 0.8, 0.6  # shares of a photograph's middle that are not dark, and neither dark nor full
SMOOTH = 0.3  # correlation of neighbours in grey photographs: at least 0.8 in real ones, 0.39 in OCTA, 0 in noise
PEAK = 0.25  # share of these that one value may have: more is a flat background

FEW_VALUES = 32  # as labels have
SAMPLE = 2**16  # pixels of which more values show that there are more
ALL, TO_END, TO_LAST = slice(None), slice(1, None), slice(-1)
PAIRS = (
    ((TO_END, ALL), (TO_LAST, ALL)),
    ((ALL, TO_END), (ALL, TO_LAST)),
    ((TO_END, TO_END), (TO_LAST, TO_LAST)),
    ((TO_END, TO_LAST), (TO_LAST, TO_END)),
)  # a pixel and its neighbour, in four of eight directions
PURE = 0.75  # share of a value's marked neighbours that are equal to it ...
CONNECTED = 1.5  # ... and how many those are: two along a line
EDGE = 0.5  # share of its pixels that lie between a lower and a higher neighbour
COUNTED = 0.005  # share of what is marked that a label must have
NESTED = 0.05  # of a side: how wide the rings are on which experts disagree
AREA_GRID = 1024  # points a side at which neighbours are compared
FLAT = 6  # grey levels among neighbours in an area of one label, after JPEG
WIDE, ALONE = 3, 3  # its grey levels each way, and how many times as much as the levels beside they hold


ANY = Kind((), "mask", "mask", one="structure", many="one structure")


class PhotographAsMaskError(RetinaError):
    """A photograph where a mask belongs."""


def to_mask(array: NDArray, name: str | Path, key: str = "", threshold: int = 128) -> NDArray[np.uint8]:
    """Bring a picture with two values to 0 and 1, and refuse one that has labels or is a photograph.

    The brightest channel counts. Without values above 1 the scale is [0, 1], else the smallest usual depth.
    Floating-point values may miss 0 and 1 by what interpolation adds. Where one value other than 0 occurs, it is
    inside, however dark it is.

    Args:
        array: ``(H, W)`` or ``(H, W, 3)``: Boolean, whole numbers or floating point.
        name: file or argument, for the error.
        key: of :data:`retina_monai.kinds.MASKS`; empty: a mask of anything.
        threshold: on the scale of [0, 255]; what reaches it is inside.

    Returns:
        ``(1, H, W)`` of {0, 1}.

    Raises:
        PhotographAsMaskError: a photograph, in colour or grey.
        RetinaError: values that are negative, NaN, infinite or beyond 16 bits; labels: up to 32 values of which one
            between the lowest and the highest fills areas, whereas those of smooth edges lie between a lower and a
            higher one; values above 1 of which none reaches the threshold.
    """
    kind = MASKS.get(key, ANY)
    array = _without_noise(array)
    refuse_values(array, name)
    if shows_photograph(array):
        advice = "; iternet_vessel makes vessel maps of photographs" if kind.form == "tree" else ""
        raise PhotographAsMaskError(
            f"{name} is a photograph where a {kind.name} belongs: photograph and mask may have changed places{advice}"
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
            f"give a {kind.name} that marks {kind.many} alone"
        )
    return inside.astype(np.uint8)[None]


def shows_photograph(array: NDArray) -> bool:
    """Whether a picture has a continuum of values all over its middle, in one of its channels at least.

    Args:
        array: ``(H, W)`` or ``(H, W, 3)``, not negative.
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
    """Whether neighbours on one side of one half are alike, as in what shows something, and not in a noisy mask."""
    one, other = picture[:, 1:].ravel(), picture[:, :-1].ravel()
    sides = [(one < 128) & (other < 128), (one >= 128) & (other >= 128)]
    larger = max(sides, key=np.count_nonzero)
    return bool(np.corrcoef(one[larger], other[larger])[0, 1] > SMOOTH)


def refuse_values(array: NDArray, name: str | Path) -> None:
    """Refuse what no picture holds.

    Raises:
        RetinaError: values that are negative, NaN, infinite or beyond 16 bits.
    """
    smallest, largest = float(array.min()), float(array.max())
    if not (smallest >= 0 and largest < 2 ** DEPTHS[-1]):
        advice = "" if np.isfinite(smallest + largest) else "; replace NaN and infinity, by 0 outside of the eye say"
        raise RetinaError(
            f"{name} holds values from {smallest:g} to {largest:g}: a picture has 0 to 255, or 0 to 1{advice}"
        )


def _without_noise(array: NDArray) -> NDArray:
    """Floating-point values of a mask without what resampling and compression add: noise, and overshoot of a spline."""
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        return array
    nearest = np.rint(array)
    settled = np.where(np.abs(array - nearest) <= NOISE, nearest, array)
    is_share = settled.min() > -0.5 and settled.max() < 1.5  # labels would be 0 and 1 as well
    return np.clip(settled, 0, 1) if is_share else settled


def _on_scale(array: NDArray) -> NDArray:
    """On the scale of [0, 255]: without values above 1 from [0, 1], else rounded from the smallest usual depth."""
    largest = float(array.max())
    if largest <= 1:
        return array.astype(np.float32) * 255
    depth = next(depth for depth in DEPTHS if largest < 2**depth)
    return array if depth == 8 else np.rint(array * (255 / (2**depth - 1)))


def _few_values(array: NDArray) -> list[float]:
    """All values, in their order; none if there are more than labels have."""
    values = np.unique(array.ravel()[:: max(array.size // SAMPLE, 1)])
    values = np.unique(array) if len(values) <= FEW_VALUES else values
    return [float(value) for value in values] if len(values) <= FEW_VALUES else []


def _listed(values: list[float]) -> str:
    texts = [f"{value:g}" for value in values]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) < 8 else f"{', '.join(texts[:6])}, ... {texts[-1]}"


def _has_labels(array: NDArray, values: list[float]) -> bool:
    """Whether a value between the lowest and the highest fills areas or lines of its own."""
    if len(values) < 3:
        return False
    lowest, highest = values[0], values[-1]
    between = [value for value in values[1:-1] if value <= highest - (highest - lowest) / 16]
    views = _neighbours(np.pad(array, 1, mode="edge"))
    lower, higher = reduce(np.minimum, views), reduce(np.maximum, views)
    fewest = max(FEW_VALUES, COUNTED * np.count_nonzero(array > lowest))
    return any(_fills(array, value, lowest, lower, higher, fewest) for value in between)


def _fills(array: NDArray, value: float, lowest: float, lower: NDArray, higher: NDArray, fewest: float) -> bool:
    """Whether a value has lines or areas of its own, and is no edge between lower and higher ones."""
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
    """Whether values are evenly spaced, three at least, and each surrounds the next as a narrow ring."""
    if len(values) < 4 or np.ptp(np.diff(values)) > max(values[-1] / 100, 1):
        return False
    from scipy import ndimage  # slow to import, seldom needed

    reach = NESTED * max(array.shape)
    return all(
        (ndimage.distance_transform_edt(array <= value)[array == value] <= reach).all() for value in values[1:-1]
    )


def _has_areas(scaled: NDArray) -> bool:
    """Whether areas of one grey level lie among what is marked: labels that were smoothed or stored as JPEG."""
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
    """Each pixel that has eight neighbours (every ``step``-th of them) at place 4, with its neighbours around it."""
    height, width = (max(side - 2, 0) for side in array.shape)
    return [array[row : row + height : step, column : column + width : step] for row, column in np.ndindex(3, 3)]
