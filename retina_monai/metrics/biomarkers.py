"""Vascular biomarkers: what a clinician measures on a vessel map, as pure functions on binary masks.

They compare sets of vessel maps, synthetic with real or one camera with another. All but the fractal dimension are
measured along the centre line, the skeleton of Zhang and Suen (CACM 1984), cleared of the spurs that a rough outline
leaves. Lengths are shares of the field of view's diameter, so that maps of several sizes compare; vessels thinner than
a pixel are lost all the same, and sets are best compared at one size.

A mask is (H, W) of {0, 1} or of booleans; what lies outside of the field of view is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance
from skimage.morphology import skeletonize

__all__ = [
    "Biomarkers",
    "branching_points",
    "calibres",
    "fractal_dimension",
    "measure_biomarkers",
    "tortuosity",
    "vessel_density",
    "wasserstein",
]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Labels = NDArray[np.int32]
Points = NDArray[np.int64]

BOXES = (2, 4, 8, 16, 32, 64)  # sides in pixels of the boxes that are counted
SMOOTHING = 1 / 200  # diameters of the field of view; width of the Gaussian that evens steps between pixels out
LONG = 1 / 20  # diameters of the field of view that a segment must span for its tortuosity to count
MERGED = 1 / 100  # diameters of the field of view within which two junctions of the skeleton are one branching point
NEIGHBOURS = np.ones((3, 3), bool)
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # once around a pixel


@dataclass(frozen=True)
class Biomarkers:
    """What was measured on one vessel map; see the functions of the same names.

    Attributes:
        vessel_density: share of the field of view.
        calibres: (N,) widths along the centre lines, in diameters of the field of view.
        fractal_dimension: by box counting.
        tortuosity: arc over chord; NaN where no vessel is long enough.
        branching_points: their number.
    """

    vessel_density: float
    calibres: Floats
    fractal_dimension: float
    tortuosity: float
    branching_points: int


def measure_biomarkers(vessel: ArrayLike, fov: ArrayLike) -> Biomarkers:
    """All biomarkers of one vessel map.

    Args:
        vessel: (H, W) of {0, 1}.
        fov: field of view, (H, W) of {0, 1}.

    Raises:
        ValueError: shapes that differ or are not (H, W), or a field of view of no pixel.

    Example:
        >>> vessel = np.zeros((128, 128))
        >>> vessel[62:65] = 1
        >>> measured = measure_biomarkers(vessel, np.ones((128, 128)))
        >>> measured.vessel_density, round(measured.tortuosity, 2), float(np.median(measured.calibres)) * 128
        (0.0234375, 1.0, 3.0)
    """
    mask, diameter = _checked(vessel, fov)
    line, width = _centre_line(mask)
    return Biomarkers(
        vessel_density=vessel_density(vessel, fov),
        calibres=width[line] / diameter,
        fractal_dimension=fractal_dimension(vessel, fov),
        tortuosity=_tortuosity(line, diameter),
        branching_points=_branching_points(line, diameter),
    )


def vessel_density(vessel: ArrayLike, fov: ArrayLike) -> float:
    """Share of the field of view that vessels cover, in [0, 1]."""
    mask, _ = _checked(vessel, fov)
    return float(mask.sum() / np.count_nonzero(fov))


def calibres(vessel: ArrayLike, fov: ArrayLike) -> Floats:
    """(N,) width at each pixel of the centre line: twice its distance to the vessel's edge, in diameters of the fov."""
    mask, diameter = _checked(vessel, fov)
    line, width = _centre_line(mask)
    return width[line] / diameter


def fractal_dimension(vessel: ArrayLike, fov: ArrayLike, boxes: Sequence[int] = BOXES) -> float:
    """Box-counting dimension of a vessel map: 1 for a line, 2 for an area, NaN for an empty map.

    The slope, by least squares, of the logarithm of the number of boxes that a vessel touches against that of one over
    their side. Boxes are laid from each of the four corners of the field of view in turn and counts averaged. Source:
    Mainster, "The fractal properties of retinal vessels", Eye 1990; Liew et al., IOVS 2008 (box counting).

    Args:
        vessel: (H, W) of {0, 1}.
        fov: field of view, (H, W) of {0, 1}.
        boxes: sides in pixels. The dimension of a set that is no fractal depends on them.
    """
    mask, _ = _checked(vessel, fov)
    if not mask.any():
        return float("nan")
    mask = mask[ndimage.find_objects(np.asarray(fov, bool).astype(np.uint8))[0]]
    counts = [np.mean([_boxes(np.rot90(mask, turn), side) for turn in range(4)]) for side in boxes]
    return -float(np.polyfit(np.log(boxes), np.log(counts), 1)[0])


def tortuosity(vessel: ArrayLike, fov: ArrayLike) -> float:
    """Arc over chord of the segments between branching points, weighted by their chords: 1 if all are straight.

    The simplest of the measures of Hart, Goldbaum, Cote, Kube and Nelson, "Measurement and classification of retinal
    vascular tortuosity", Int J Med Inform 1999. Steps between pixels are smoothed by a Gaussian of 1/200 of the field
    of view's diameter or two pixels, and segments count whose chord is 1/20 of it. NaN where there are none.
    """
    mask, diameter = _checked(vessel, fov)
    return _tortuosity(_centre_line(mask)[0], diameter)


def branching_points(vessel: ArrayLike, fov: ArrayLike) -> int:
    """Number of junctions of the centre lines; those within 1/100 of the field of view's diameter are one.

    Where an artery crosses a vein is a junction too: a vessel map does not tell them apart.
    """
    mask, diameter = _checked(vessel, fov)
    return _branching_points(_centre_line(mask)[0], diameter)


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples of one biomarker, in its unit; NaN of either are left out.

    Args:
        first: (N,) values.
        second: (M,) values.
    """
    samples = (np.asarray(sample, np.float64).ravel() for sample in (first, second))
    return float(wasserstein_distance(*(sample[~np.isnan(sample)] for sample in samples)))


def _checked(vessel: ArrayLike, fov: ArrayLike) -> tuple[Mask, float]:
    """The vessels inside of the field of view, and its diameter: its longer side, since cameras cut it off."""
    mask, inside = np.asarray(vessel).astype(bool), np.asarray(fov).astype(bool)
    if mask.ndim != 2 or mask.shape != inside.shape:
        raise ValueError(f"vessel and fov are (H, W) of one shape, not {mask.shape} and {inside.shape}")
    if not inside.any():
        raise ValueError("fov has no pixel: give the mask of the field of view")
    rows, columns = ndimage.find_objects(inside.astype(np.uint8))[0]
    return mask & inside, float(max(rows.stop - rows.start, columns.stop - columns.start))


def _boxes(mask: Mask, side: int) -> int:
    """How many boxes of a grid from the upper left corner a vessel touches."""
    rows, columns = (np.arange(0, length, side) for length in mask.shape)
    return int(np.count_nonzero(np.add.reduceat(np.add.reduceat(mask, rows, 0, np.int64), columns, 1)))


def _centre_line(mask: Mask) -> tuple[Mask, Floats]:
    """The skeleton without spurs, and the width in pixels of the vessel at each pixel."""
    width = _widths(mask)
    line = skeletonize(mask)
    for _ in range(2):
        line = skeletonize(_without_spurs(line, width))
    return line, width


def _widths(mask: Mask) -> Floats:
    """Twice the distance to the edge. Pixels are halved: the middle of an even width lies between two of them."""
    halves = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge").repeat(2, 0).repeat(2, 1))
    rows, columns = mask.shape
    return halves.reshape(rows + 2, 2, columns + 2, 2).max((1, 3))[1:-1, 1:-1]


def _ways(line: Mask) -> Labels:
    """How many ways leave each pixel of a line, 0 off it: how often, once around, a line begins (Rutovitz 1966)."""
    rows, columns = line.shape
    around = np.pad(line, 1)
    ring = [around[1 + row : 1 + row + rows, 1 + column : 1 + column + columns] for row, column in RING]
    begins = [~here & there for here, there in zip(ring, ring[1:] + ring[:1], strict=True)]
    return line * np.sum(begins, axis=0, dtype=np.int32)


def _junctions(line: Mask) -> Mask:
    """Where three ways or more meet, or four at a block of four pixels, which thinning leaves."""
    return (_ways(line) >= 3) | ndimage.binary_opening(line, np.ones((2, 2), bool))


def _segments(line: Mask) -> tuple[Labels, Mask]:
    """Numbers of the segments, from 1, and the surroundings of the junctions, by which they are cut."""
    cut = ndimage.binary_dilation(_junctions(line), NEIGHBOURS)
    return ndimage.label(line & ~cut, NEIGHBOURS)[0], cut


def _without_spurs(line: Mask, width: Floats) -> Mask:
    """A line without those dead ends that are no longer than the vessel, from which they stick out, is wide."""
    labels, cut = _segments(line)
    numbers = np.arange(1, labels.max() + 1)
    junction = ndimage.label(cut, NEIGHBOURS)[0]
    last = ndimage.maximum(ndimage.grey_dilation(junction, (3, 3)), labels, numbers)
    first = ndimage.minimum(_lowest(junction), labels, numbers)
    short = ndimage.sum_labels(line, labels, numbers) <= ndimage.maximum(width, labels, numbers)
    spur = np.concatenate([[False], (last > 0) & (first == last) & short])[labels]
    return line & ~spur & ~(cut & (_ways(line) == 1))


def _lowest(labels: Labels) -> Labels:
    """The lowest label beside each pixel, a number beyond all where there is none."""
    return ndimage.grey_erosion(np.where(labels > 0, labels, labels.max() + 1), (3, 3))


def _branching_points(line: Mask, diameter: float) -> int:
    junctions = _junctions(line)
    if not junctions.any():
        return 0
    return int(ndimage.label(ndimage.distance_transform_edt(~junctions) <= MERGED * diameter / 2, NEIGHBOURS)[1])


def _tortuosity(line: Mask, diameter: float) -> float:
    labels, _ = _segments(line)
    arcs, chords = [], []
    for number, window in enumerate(ndimage.find_objects(labels), 1):
        if max(side.stop - side.start for side in window) < LONG * diameter / 2:
            continue
        course = _smooth(_ordered(np.argwhere(labels[window] == number)), max(SMOOTHING * diameter, 2))
        arcs.append(float(np.linalg.norm(np.diff(course, axis=0), axis=1).sum()))
        chords.append(float(np.linalg.norm(course[-1] - course[0])))
    arc, chord = np.array(arcs), np.array(chords)
    long = chord >= LONG * diameter
    return float(arc[long].sum() / chord[long].sum()) if long.any() else float("nan")


def _smooth(course: Points, width: float) -> Floats:
    return ndimage.gaussian_filter1d(course.astype(np.float64), width, axis=0, mode="nearest")


def _ordered(pixels: Points) -> Points:
    """The pixels of a path from one end to the other; of a ring, from any of them."""
    left = {(int(row), int(column)) for row, column in pixels}
    steps = sorted(RING, key=lambda step: abs(step[0] * step[1]))  # straight before diagonal

    def beside(at: tuple[int, int]) -> list[tuple[int, int]]:
        return [place for row, column in steps if (place := (at[0] + row, at[1] + column)) in left]

    path = [min(left, key=lambda at: (len(beside(at)), at))]
    left.remove(path[0])
    while following := beside(path[-1]):
        path.append(following[0])
        left.remove(path[-1])
    return np.array(path, np.int64)
