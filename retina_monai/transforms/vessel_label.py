"""Reduce a vessel map to a smaller label whose topology stays: vessels thinner than a pixel stay connected.

Where half of a pixel must be covered, a thin vessel falls to pieces: a map of 10 parts becomes a label of 284, and a
network that learns from it learns to leave thin vessels out. Here the centre line is kept. Pixels that the centre line
crosses, or that vessels cover to a quarter, are thinned by removing simple points (Bertrand and Malandain, "A new
characterization of three-dimensional simple points", 1994; here in two dimensions) in the order of what vessels cover,
down to those that are covered by half. Then vessels that only touch because pixels are coarse are separated again, and
small regions between them that the map does not have are filled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from retina_monai.transforms.field_of_view import resize_area

__all__ = ["FINE", "HALF", "cut_label", "reduce_label", "regrid", "rounded_share", "vessel_label"]

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

FINE = 4
"""How many times as fine as the label the grid is on which the topology is looked at."""

HALF = 128
"""What makes a pixel vessel by its covered share alone, on the scale of :func:`rounded_share`."""

ENTERS = 0.25  # share of a pixel from which on it takes part at all
KEPT = 0.5  # share from which on a pixel is vessel in any case
FULL = 0.8  # share from which on a pixel is not taken out to separate two vessels
SMALL = 4  # pixels up to which a region that the map does not have is filled, and a piece at the border dropped
AROUND = np.ones((3, 3), bool)  # vessels connect across corners, what is between them across sides alone
SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
BITS = 1 << np.arange(9).reshape(3, 3)


def vessel_label(vessel: NDArray, size: int) -> Mask:
    """The label of a vessel map at a smaller size.

    Connected parts and holes larger than a pixel of the label keep their number to about a tenth, and every pixel of
    the centre line lies in the label or beside it. Vessels thinner than a pixel are one pixel wide, so that the label
    covers more than the map does.

    Args:
        vessel: ``(S, S)`` of {0, 1}.
        size: pixels a side of the label. A map that is not larger is resized linearly.

    Returns:
        ``(size, size)``.
    """
    mask = np.asarray(vessel).astype(bool)
    share = resize_area(mask[None], size)[0]
    if len(mask) <= size:
        return np.asarray(share >= KEPT)
    return reduce_label(regrid(mask, FINE * size), share)


def regrid(mask: Mask, least: int) -> Mask:
    """A mask ``(S, S)`` on a grid of about ``least`` pixels a side, or its own if that is coarser.

    Pixels are put together by whole numbers, and one of them is enough: what is connected stays so.
    """
    factor = max(1, round(len(mask) / least))
    if factor == 1:
        return mask
    padded = np.pad(mask, (0, -len(mask) % factor))
    blocks = len(padded) // factor
    return np.asarray(padded.reshape(blocks, factor, blocks, factor).any(axis=(1, 3)))


def reduce_label(fine: Mask, share: NDArray[np.float32]) -> Mask:
    """The label ``(size, size)`` of a vessel map that is known on a finer grid.

    Args:
        fine: ``(S, S)``, ``S`` at least ``size``: where vessels are, as far as their topology goes.
        share: ``(size, size)`` in [0, 1]: what of each pixel vessels cover.
    """
    size = len(share)
    label = _thinned(_crossed(skeletonize(fine), size) | (share > ENTERS), share)
    parts, gaps = _parts(fine, size) * label, _regions(fine)
    regions, invented, belongs = _matched(label, gaps)
    contact = ndimage.maximum_filter(parts, 3) != ndimage.minimum_filter(np.where(label, parts, parts.max() + 1), 3)
    contact |= ndimage.binary_dilation(np.isin(regions, invented), AROUND)
    _separate(label, share, contact, parts, regions, belongs)
    regions, invented, _ = _matched(label, gaps)
    small = [region for region in invented if np.count_nonzero(regions == region) <= SMALL]
    return label | np.isin(regions, small)


def cut_label(label: Mask, inside: NDArray) -> Mask:
    """A label within a field of view, both ``(size, size)``, without the crumbs that the border leaves of a vessel."""
    kept = label & (inside > 0)
    named = ndimage.label(kept, AROUND)[0]
    beside = np.unique(named[ndimage.binary_dilation(label & ~kept, AROUND)])
    crumbs = beside[np.bincount(named.ravel())[beside] <= SMALL]
    return kept & ~np.isin(named, crumbs[crumbs > 0])


def rounded_share(share: NDArray[np.floating]) -> NDArray[np.uint8]:
    """What of each pixel vessels cover, in [0, 255], as files hold it: halves go up.

    So do values that floats put a little below a half: the same whichever way a share came.
    """
    return np.floor(np.clip(share, 0, 255) + 0.501).astype(np.uint8)


def _crossed(line: Mask, size: int) -> Mask:
    """The pixels of a grid of ``size`` that hold a part of the line."""
    crossed = np.zeros((size, size), bool)
    crossed[tuple(np.argwhere(line).T * size // len(line))] = True
    return crossed


def _thinned(label: Mask, share: NDArray[np.float32]) -> Mask:
    """Without the simple points that vessels cover by less than half, the least covered first; ends of lines stay."""
    padded = np.pad(label, 1)
    places = np.argwhere(label & (share < KEPT))
    for row, column in places[np.argsort(share[tuple(places.T)], kind="stable")]:
        if SIMPLE[(padded[row : row + 3, column : column + 3] * BITS).sum()]:
            padded[row + 1, column + 1] = False
    return padded[1:-1, 1:-1]


def _simple_points() -> Mask:
    """For each of the 512 neighbourhoods, by its ``BITS``, whether the middle can go and the topology stay."""
    simple = np.zeros(512, bool)
    for code in range(512):
        around = (code & BITS) > 0
        if not around[1, 1] or around.sum() < 3:  # background, an isolated point, or the end of a line
            continue
        around[1, 1] = False
        between = ~around
        between[1, 1] = False
        named = ndimage.label(between)[0]
        beside = {named[1 + row, 1 + column] for row, column in SIDES} - {0}
        simple[code] = ndimage.label(around, AROUND)[1] == 1 and len(beside) == 1
    return simple


SIMPLE = _simple_points()


def _regions(mask: Mask) -> Numbers:
    """What vessels leave free, in regions that are numbered from 1, which is what lies around all."""
    named: Numbers = ndimage.label(~np.pad(mask, 1))[0][1:-1, 1:-1].astype(np.int64)
    return named


def _matched(label: Mask, gaps: Numbers) -> tuple[Numbers, list[int], Numbers]:
    """The regions of a label, those of them that stand for no gap of the map, and the gap that each lies in most.

    A gap is stood for by the region that holds most of it.
    """
    regions = _regions(label)
    place = np.arange(len(gaps)) * len(label) // len(gaps)
    kinds, others = int(regions.max()) + 1, int(gaps.max()) + 1
    pairs = regions[place][:, place] * others + gaps
    shared = np.bincount(pairs.ravel(), minlength=kinds * others).reshape(kinds, others)
    shared[0], shared[:, 0] = 0, 0
    genuine = {1, *shared.argmax(axis=0)[shared.any(axis=0)].tolist()}
    return regions, [region for region in range(1, kinds) if region not in genuine], shared.argmax(axis=1)


def _parts(fine: Mask, size: int) -> Numbers:
    """Of each pixel of a grid of ``size``, which connected part of the map it holds most of; 0: of none."""
    named, count = ndimage.label(fine, AROUND)
    at = np.argwhere(fine)
    row, column = at.T * size // len(fine)
    keys, pixels = np.unique((row * size + column) * (count + 1) + named[tuple(at.T)], return_counts=True)
    order = np.argsort(pixels, kind="stable")
    parts = np.zeros(size * size, np.int64)
    parts[keys[order] // (count + 1)] = keys[order] % (count + 1)
    return parts.reshape(size, size)


def _separate(
    label: Mask, share: NDArray[np.float32], contact: Mask, parts: Numbers, regions: Numbers, belongs: Numbers
) -> None:
    """Remove pixels at which vessels touch that the map holds apart; ``label`` and ``regions`` are changed.

    A pixel goes if what it parts are regions of one gap, and if no part of the map falls into two.
    """
    padded = np.pad(regions, 1, constant_values=1)
    places = np.argwhere(contact & label & (share < FULL))
    for row, column in places[np.argsort(share[tuple(places.T)], kind="stable")]:
        around = np.pad(label, 1)[row : row + 3, column : column + 3].copy()
        around[1, 1] = False
        beside = {int(padded[1 + row + down, 1 + column + right]) for down, right in SIDES} - {0}
        if ndimage.label(around, AROUND)[1] < 2 or len({int(belongs[region]) for region in beside}) > 1:
            continue
        label[row, column] = False
        if _splits(label, np.argwhere(around) + np.array([row - 1, column - 1]), parts):
            label[row, column] = True
        elif beside:
            padded[np.isin(padded, list(beside))] = min(beside)
            padded[1 + row, 1 + column] = min(beside)


def _splits(label: Mask, neighbours: NDArray[np.int64], parts: Numbers) -> bool:
    """Whether pixels around a removed one are no longer connected though a part of the map is in two of the pieces."""
    pieces = ndimage.label(label, AROUND)[0]
    held = [set(np.unique(parts[pieces == piece]).tolist()) for piece in np.unique(pieces[tuple(neighbours.T)])]
    return len(held) > 1 and sum(map(len, held)) > len(set().union(*held))
