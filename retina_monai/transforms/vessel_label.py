"""Downsample a vessel map to a label of the same topology, in which vessels thinner than a pixel stay connected.

If half of a pixel must be covered, thin vessels break up: a map with 10 components becomes a label with 284, and a
network trained on it learns to omit thin vessels. Here the centre line is preserved. The label starts from the pixels
that the centre line crosses or that vessels cover to a quarter. It is thinned by removing simple points (Bertrand and
Malandain, "A new characterization of three-dimensional simple points", 1994; here in two dimensions) with less than
half coverage, least covered first. Then vessels that touch only because of the coarser pixels are separated, and small
regions between vessels that do not exist in the map are filled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from retina_monai.transforms.field_of_view import resize_area

__all__ = ["FINE", "HALF", "cut_label", "reduce_label", "regrid", "rounded_share", "vessel_label"]

Mask = NDArray[np.bool_]
Numbers = NDArray[np.integer]

FINE, ENOUGH = 4, 1024
"""Resolution of the grid on which the topology is examined, relative to the label; if that exceeds ``ENOUGH`` pixels
per side, less, but at least twice the resolution of the label."""

HALF = 128
"""Minimum covered share of a vessel pixel, on the scale of :func:`rounded_share`."""

ENTERS = 0.25  # covered share above which a pixel is a candidate
KEPT = 0.5  # covered share at which a pixel is always vessel
FULL = 0.8  # covered share at which a pixel is not removed to separate vessels
SMALL = 4  # maximum size in pixels of regions that are filled and of fragments at the border that are removed
NEAR = 8  # pixels around a removed one that suffice in most cases to see which components it connects
AROUND = np.ones((3, 3), bool)  # 8-connectivity of vessels; the background is 4-connected
SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
BITS = (1 << np.arange(9, dtype=np.uint16)).reshape(3, 3)


def vessel_label(vessel: NDArray, size: int) -> Mask:
    """The label of a vessel map at a smaller size.

    The numbers of components and of holes larger than a pixel of the label are preserved to about a tenth. Every pixel
    of the centre line is in the label or adjacent to it. Vessels thinner than a pixel become one pixel wide, so the
    label covers more area than the map.

    Args:
        vessel: vessel map ``(S, S)`` in {0, 1}.
        size: side length of the label in pixels. A map that is not larger is resized linearly.

    Returns:
        Label ``(size, size)``.
    """
    mask = np.asarray(vessel).astype(bool)
    share = resize_area(mask[None], size)[0]
    if len(mask) <= size:
        return np.asarray(share >= KEPT)
    return reduce_label(regrid(mask, size), share)


def regrid(mask: Mask, size: int) -> Mask:
    """Downsample a mask ``(S, S)`` to the grid on which the topology of a label of ``size`` pixels is examined.

    A block of pixels is marked if any of its pixels is, which preserves connections. Smaller masks are kept.
    """
    factor = max(1, round(len(mask) / min(FINE * size, max(ENOUGH, 2 * size))))
    if factor == 1:
        return mask
    padded = np.pad(mask, (0, -len(mask) % factor))
    blocks = len(padded) // factor
    return np.asarray(padded.reshape(blocks, factor, blocks, factor).any(axis=(1, 3)))


def reduce_label(fine: Mask, share: NDArray[np.float32], line: Mask | None = None) -> Mask:
    """The label ``(size, size)`` of a vessel map given on a finer grid.

    Args:
        fine: vessel map ``(S, S)`` with ``S`` at least ``size``, which defines the topology.
        share: share ``(size, size)`` of each pixel covered by vessels, in [0, 1].
        line: centre lines ``(S, S)`` of the map; computed if ``None``.
    """
    size = len(share)
    label = _thinned(_crossed(skeletonize(fine) if line is None else line, size) | (share > ENTERS), share)
    parts, gaps = _parts(fine, size) * label, _Gaps(fine, size)
    regions, invented, belongs = gaps.matched(label)
    contact = ndimage.maximum_filter(parts, 3) != ndimage.minimum_filter(np.where(label, parts, parts.max() + 1), 3)
    contact |= ndimage.binary_dilation(np.isin(regions, invented), AROUND)
    _separate(label, share, contact, parts, regions, belongs)
    regions, invented, _ = gaps.matched(label)
    small = [region for region in invented if np.count_nonzero(regions == region) <= SMALL]
    return label | np.isin(regions, small)


def cut_label(label: Mask, inside: NDArray) -> Mask:
    """Clip a label to a field of view, both ``(size, size)``, and remove small fragments of vessels at the border."""
    kept = label & (inside > 0)
    named = ndimage.label(kept, AROUND)[0]
    beside = np.unique(named[ndimage.binary_dilation(label & ~kept, AROUND)])
    fragments = beside[np.bincount(named.ravel())[beside] <= SMALL]
    return kept & ~np.isin(named, fragments[fragments > 0])


def rounded_share(share: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round covered shares in [0, 255] to uint8 for files.

    Halves are rounded up, and so are values slightly below a half, which makes the result independent of float errors.
    """
    return np.floor(np.clip(share, 0, 255) + 0.501).astype(np.uint8)


def _crossed(line: Mask, size: int) -> Mask:
    """The pixels of a grid of ``size`` that a line crosses."""
    crossed = np.zeros((size, size), bool)
    crossed[tuple(np.argwhere(line).T * size // len(line))] = True
    return crossed


def _thinned(label: Mask, share: NDArray[np.float32]) -> Mask:
    """Remove simple points with less than half coverage, least covered first. Ends of lines are kept."""
    height, width = label.shape[0] + 2, label.shape[1] + 2
    codes = np.zeros((height, width), np.uint16)
    for row, column in np.ndindex(3, 3):
        codes[2 - row : height - row, 2 - column : width - column] += label * BITS[row, column]
    steps = [((1 - row) * width + 1 - column, int(~BITS[row, column])) for row, column in np.ndindex(3, 3)]
    row, column = np.nonzero(label & (share < KEPT))
    places = ((row + 1) * width + column + 1)[np.argsort(share[row, column], kind="stable")]
    code = codes.ravel().data
    for place in places.tolist():
        if SIMPLE[code[place]]:
            for step, others in steps:
                code[place + step] &= others
    kept: Mask = (codes & BITS[1, 1] > 0)[1:-1, 1:-1]
    return kept


def _neighbourhoods() -> tuple[tuple[bool, ...], tuple[int, ...]]:
    """For each of the 512 neighbourhoods of a pixel, indexed by ``BITS``: whether the pixel is a simple point, and the
    number of components of its neighbours."""
    simple, counts = [], []
    for code in range(512):
        around = (code & BITS) > 0
        drawn, around[1, 1] = bool(around[1, 1]), False
        between = ~around
        between[1, 1] = False
        named = ndimage.label(between)[0]
        beside = {named[1 + row, 1 + column] for row, column in SIDES} - {0}
        counts.append(int(ndimage.label(around, AROUND)[1]))
        end = np.count_nonzero(around) < 2  # the end of a line or an isolated point
        simple.append(drawn and not end and counts[-1] == 1 and len(beside) == 1)
    return tuple(simple), tuple(counts)


SIMPLE, NEIGHBOURS = _neighbourhoods()


def _regions(mask: Mask) -> Numbers:
    """Label the background regions from 1. Region 1 is the outer background."""
    named: Numbers = ndimage.label(~np.pad(mask, 1))[0][1:-1, 1:-1]
    return named


class _Gaps:
    """The background regions (gaps) of a map on a finer grid, and their area in each pixel of a grid of ``size``.

    Pixels within one gap are counted as a whole, and only the others by their parts on the finer grid.
    """

    def __init__(self, fine: Mask, size: int) -> None:
        gaps = _regions(fine)
        self.count = int(gaps.max()) + 1
        place = np.arange(len(gaps)) * size // len(gaps)
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        lengths = np.diff(starts, append=len(gaps))
        mixed = np.zeros((size, size), bool)
        for several, (down, right) in (((gaps[1:] != gaps[:-1]), (1, 0)), ((gaps[:, 1:] != gaps[:, :-1]), (0, 1))):
            row, column = np.nonzero(several)
            within = (place[row] == place[row + down]) & (place[column] == place[column + right])
            mixed[place[row[within]], place[column[within]]] = True
        self.alone = ~mixed
        self.gap, self.area = gaps[starts][:, starts][self.alone], np.outer(lengths, lengths)[self.alone]
        row, column = np.nonzero(mixed[place][:, place])
        self.mixed_at, self.mixed = place[row] * size + place[column], gaps[row, column]

    def matched(self, label: Mask) -> tuple[Numbers, list[int], Numbers]:
        """Match background regions of the label with gaps of the map.

        Returns:
            The labelled regions, the regions without a gap, and for each region the gap with the largest overlap. Each
            gap is matched with the region that covers most of it.
        """
        regions = _regions(label)
        kinds = int(regions.max()) + 1
        pairs = np.append(
            regions[self.alone] * self.count + self.gap, regions.ravel()[self.mixed_at] * self.count + self.mixed
        )
        areas = np.append(self.area, np.ones(len(self.mixed)))
        shared = np.bincount(pairs, areas, minlength=kinds * self.count).reshape(kinds, self.count)
        shared[0], shared[:, 0] = 0, 0
        genuine = {1, *shared.argmax(axis=0)[shared.any(axis=0)].tolist()}
        return regions, [region for region in range(1, kinds) if region not in genuine], shared.argmax(axis=1)


def _parts(fine: Mask, size: int) -> Numbers:
    """The component of the map that covers most of each pixel of a grid of ``size``; 0 for none."""
    named, count = ndimage.label(fine, AROUND)
    at = np.nonzero(fine)
    row, column = (place * size // len(fine) for place in at)
    pixel, part = row * size + column, named[at]
    parts = np.zeros(size * size, named.dtype)
    parts[pixel] = part
    several = np.zeros(size * size, bool)
    several[pixel[parts[pixel] != part]] = True
    shared = several[pixel]
    keys, pixels = np.unique(pixel[shared] * (count + 1) + part[shared], return_counts=True)
    order = np.argsort(pixels, kind="stable")
    parts[keys[order] // (count + 1)] = keys[order] % (count + 1)
    return parts.reshape(size, size)


def _separate(
    label: Mask, share: NDArray[np.float32], contact: Mask, parts: Numbers, regions: Numbers, belongs: Numbers
) -> None:
    """Remove pixels at which vessels touch that are separate in the map. ``label`` is modified in place.

    A pixel is removed if the regions that it separates belong to one gap, and if no component of the map is split.
    """
    padded, framed = np.pad(regions, 1, constant_values=1), np.pad(label, 1)
    merged = np.arange(len(belongs))
    places = np.argwhere(contact & label & (share < FULL))
    for row, column in places[np.argsort(share[tuple(places.T)], kind="stable")]:
        around = framed[row : row + 3, column : column + 3].copy()
        around[1, 1] = False
        beside = {int(merged[padded[1 + row + down, 1 + column + right]]) for down, right in SIDES} - {0}
        count = NEIGHBOURS[(around * BITS).sum()]
        if count < 2 or len({int(belongs[region]) for region in beside}) > 1:
            continue
        label[row, column] = False
        if count > 2 or len(beside) == 1:  # two neighbours between two regions are connected elsewhere
            neighbours = np.argwhere(around) + np.array([row - 1, column - 1])
            top, left = max(row - NEAR, 0), max(column - NEAR, 0)
            near = slice(top, row + NEAR + 1), slice(left, column + NEAR + 1)
            if (count == 2 and _splits(label[near], neighbours - np.array([top, left]), parts[near])) or _splits(
                label, neighbours, parts
            ):
                label[row, column] = True
                continue
        framed[row + 1, column + 1] = False
        if beside:
            merged[np.isin(merged, list(beside))] = min(beside)
            padded[1 + row, 1 + column] = min(beside)


def _splits(label: Mask, neighbours: NDArray[np.int64], parts: Numbers) -> bool:
    """Whether removing a pixel disconnects its neighbours into pieces that share a component of the map."""
    pieces = ndimage.label(label, AROUND)[0]
    beside = set(pieces[tuple(neighbours.T)].tolist())
    if len(beside) < 2:
        return False
    held = [set(parts[pieces == piece].tolist()) for piece in beside]
    return sum(map(len, held)) > len(set().union(*held))
