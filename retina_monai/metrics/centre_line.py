"""Centre lines of a vessel map: its skeleton (Zhang and Suen, CACM 1984) without spurs, with junctions and segments.

A mask is a boolean array (H, W). A line is a mask of one pixel width with 8-connectivity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

__all__ = [
    "NEIGHBOURS",
    "RING",
    "Floats",
    "Labels",
    "Mask",
    "centre_line",
    "count_ways",
    "find_junctions",
    "find_segments",
]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

NEIGHBOURS = np.ones((3, 3), bool)
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # neighbours of a pixel in cyclic order


def centre_line(mask: Mask) -> tuple[Mask, Floats]:
    """The skeleton without spurs, and the width of the vessel at each pixel, in pixels."""
    width = _widths(mask)
    line = skeletonize(mask)
    for _ in range(2):
        line = skeletonize(_without_spurs(line, width))
    return line, width


def count_ways(line: Mask) -> Labels:
    """Number of branches that leave each pixel of a line, 0 elsewhere: the crossing number of Rutovitz (1966)."""
    rows, columns = line.shape
    around = np.pad(line, 1)
    ring = [around[1 + row : 1 + row + rows, 1 + column : 1 + column + columns] for row, column in RING]
    begins = [~here & there for here, there in zip(ring, ring[1:] + ring[:1], strict=True)]
    return line * np.sum(begins, axis=0, dtype=np.int32)


def find_junctions(line: Mask) -> Mask:
    """Pixels where three or more branches meet, or four at a block of four pixels, which thinning preserves."""
    return (count_ways(line) >= 3) | ndimage.binary_opening(line, np.ones((2, 2), bool))


def find_segments(line: Mask) -> tuple[Labels, Mask]:
    """Segments numbered from 1, and the neighbourhoods of junctions that separate them."""
    cut = ndimage.binary_dilation(find_junctions(line), NEIGHBOURS)
    return ndimage.label(line & ~cut, NEIGHBOURS)[0], cut


def _widths(mask: Mask) -> Floats:
    """Twice the distance to the edge, at double resolution, since the centre of an even width is between two pixels."""
    halves = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge").repeat(2, 0).repeat(2, 1))
    rows, columns = mask.shape
    return halves.reshape(rows + 2, 2, columns + 2, 2).max((1, 3))[1:-1, 1:-1]


def _without_spurs(line: Mask, width: Floats) -> Mask:
    """A line without dead ends that are no longer than the width of the vessel from which they stick out."""
    labels, cut = find_segments(line)
    numbers = np.arange(1, labels.max() + 1)
    junction = ndimage.label(cut, NEIGHBOURS)[0]
    at = labels > 0 if labels.any() else np.ones_like(line)  # for speed: sorting all pixels by label is slow
    own = labels[at]
    last = ndimage.maximum(ndimage.grey_dilation(junction, (3, 3))[at], own, numbers)
    first = ndimage.minimum(_lowest(junction)[at], own, numbers)
    short = np.bincount(own)[1:] <= ndimage.maximum(width[at], own, numbers)
    spur = np.concatenate([[False], (last > 0) & (first == last) & short])[labels]
    return line & ~spur & ~(cut & (count_ways(line) == 1))


def _lowest(labels: Labels) -> Labels:
    """The lowest label next to each pixel, or a number above all labels if there is none."""
    return ndimage.grey_erosion(np.where(labels > 0, labels, labels.max() + 1), (3, 3))
