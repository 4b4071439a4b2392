"""Vascular biomarkers: what a clinician measures on a vessel map, as pure functions on binary masks.

They compare sets of vessel maps, synthetic with real or one camera with another. All but the fractal dimension are
measured along the centre line, the skeleton of Zhang and Suen (CACM 1984), cleared of the spurs that a rough outline
leaves. Lengths are shares of the field of view's diameter, so that maps of several sizes compare; vessels thinner than
a pixel are lost all the same, and sets are best compared at one size.

A mask is (H, W) of {0, 1} or of booleans; what lies outside of the field of view is left out.

PVBM (Fhima et al., "PVBM: a Python vasculature biomarker toolbox based on retinal blood vessel segmentation", ECCV 2022
workshops, https://arxiv.org/abs/2208.00392) measures much the same and is not used here. Its package requires
torchvision, OpenCV, ONNX Runtime and two downloaders of weights; its lengths are numbers of pixels that suit
photographs of 1,500 (a segment counts from 50 on), it wants the disc's place, counts each of the pixels in which a
junction ends up (26 for a tree of 7) and measures arcs in steps between pixels (1.07 for straight vessels). The tests
hold the biomarkers against it all the same, where it is installed without its dependencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance

from retina_monai.metrics.centre_line import NEIGHBOURS, RING, Floats, Mask, centre_line, find_junctions, find_segments

__all__ = [
    "Biomarkers",
    "RegionBiomarkers",
    "biomarker_values",
    "branching_points",
    "calibres",
    "convergence",
    "fractal_dimension",
    "kolmogorov_smirnov",
    "measure_biomarkers",
    "measure_region",
    "region_contrast",
    "tortuosity",
    "vessel_density",
    "wasserstein",
]

Points = NDArray[np.int64]

BOXES = (2, 4, 8, 16, 32, 64)  # sides in pixels of the boxes that are counted
SMOOTHING = 1 / 200  # diameters of the field of view; width of the Gaussian that evens steps between pixels out
LONG = 1 / 20  # diameters of the field of view that a segment must span for its tortuosity to count
MERGED = 1 / 100  # diameters of the field of view within which two junctions of the skeleton are one branching point

QUANTILES = 32  # of a map's calibres that enter the comparison of two sets


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
    line, width = centre_line(mask)
    return Biomarkers(
        vessel_density=vessel_density(vessel, fov),
        calibres=width[line] / diameter,
        fractal_dimension=fractal_dimension(vessel, fov),
        tortuosity=_tortuosity(line, diameter),
        branching_points=_branching_points(line, diameter),
    )


def biomarker_values(measured: Biomarkers) -> dict[str, Floats]:
    """What of one vessel map enters the comparison of two sets: each map weighs the same, whatever its size.

    Returns:
        Name of the biomarker -> (K,): 32 quantiles of the calibres, NaN where there is no vessel; of others the value.

    Example:
        >>> values = biomarker_values(Biomarkers(0.1, np.linspace(0, 1, 100), 1.5, 1.1, 7))
        >>> values["branching_points"], values["calibres"][[0, 31]]
        (array([7.]), array([0.015625, 0.984375]))
    """
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    widths = measured.calibres
    quantiles = np.quantile(widths, levels) if len(widths) else np.full(QUANTILES, np.nan)
    values = {**vars(measured), "calibres": quantiles}
    return {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in values.items()}


def vessel_density(vessel: ArrayLike, fov: ArrayLike) -> float:
    """Share of the field of view that vessels cover, in [0, 1]."""
    mask, _ = _checked(vessel, fov)
    return float(mask.sum() / np.count_nonzero(fov))


def calibres(vessel: ArrayLike, fov: ArrayLike) -> Floats:
    """(N,) width at each pixel of the centre line: twice its distance to the vessel's edge, in diameters of the fov."""
    mask, diameter = _checked(vessel, fov)
    line, width = centre_line(mask)
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
    return _tortuosity(centre_line(mask)[0], diameter)


def branching_points(vessel: ArrayLike, fov: ArrayLike) -> int:
    """Number of junctions of the centre lines; those within 1/100 of the field of view's diameter are one.

    Where an artery crosses a vein is a junction too: a vessel map does not tell them apart.
    """
    mask, diameter = _checked(vessel, fov)
    return _branching_points(centre_line(mask)[0], diameter)


@dataclass(frozen=True)
class RegionBiomarkers:
    """What was measured on the mask of one region of an eye: its disc, or an atrophy.

    Attributes:
        area: share of the field of view.
        offset: from the middle of the field of view to that of the region, in its diameters.
        aspect: shorter over longer axis of the ellipse of the same second moments, in (0, 1]: 1 for a circle.
    """

    area: float
    offset: float
    aspect: float


def measure_region(mask: ArrayLike, fov: ArrayLike) -> RegionBiomarkers:
    """Size, place and form of a region; all NaN but the area where the mask is empty.

    Args:
        mask: (H, W) of {0, 1}.
        fov: field of view, (H, W) of {0, 1}.

    Raises:
        ValueError: as :func:`measure_biomarkers`.

    Example:
        >>> disc = np.zeros((100, 100))
        >>> disc[40:60, 70:90] = 1
        >>> measure_region(disc, np.ones((100, 100)))
        RegionBiomarkers(area=0.04, offset=0.3, aspect=1.0)
    """
    region, diameter = _checked(mask, fov)
    if not region.any():
        return RegionBiomarkers(0.0, float("nan"), float("nan"))
    at = np.argwhere(region)
    middle = np.mean(_box(fov), axis=1) - 0.5
    spread = np.cov(at.T, bias=True) + np.eye(2) / 12  # a pixel is a square, not a point
    shorter, longer = np.sqrt(np.linalg.eigvalsh(np.atleast_2d(spread)))
    return RegionBiomarkers(
        area=float(region.sum() / np.count_nonzero(fov)),
        offset=float(np.linalg.norm(at.mean(axis=0) - middle) / diameter),
        aspect=round(float(shorter / longer), 9),
    )


def region_contrast(image: ArrayLike, mask: ArrayLike, fov: ArrayLike) -> float:
    """How much brighter a region is than the ring around it, in standard deviations of the field of view's grey.

    Args:
        image: (3, H, W), in any unit.
        mask: (H, W) of {0, 1}.
        fov: field of view, (H, W) of {0, 1}.

    Returns:
        The difference; NaN where the region, its ring or the contrast of the field of view is nothing.

    Raises:
        ValueError: as :func:`measure_biomarkers`; an image of another size.
    """
    region, _ = _checked(mask, fov)
    grey = np.asarray(image, np.float64).mean(axis=0)
    if grey.shape != region.shape:
        raise ValueError(f"image must be (3, H, W) of the mask's size {region.shape}, not {np.shape(image)}")
    ring, spread = _ring(region, fov), grey[np.asarray(fov, bool)].std()
    if not (region.any() and ring.any() and spread):
        return float("nan")
    return float((grey[region].mean() - grey[ring].mean()) / spread)


def convergence(vessel: ArrayLike, disc: ArrayLike, fov: ArrayLike) -> float:
    """Density of the vessels in the ring around the disc over that in the field of view: where they meet, above 1.

    Args:
        vessel, disc: (H, W) of {0, 1}.
        fov: field of view, (H, W) of {0, 1}.

    Returns:
        The ratio; NaN where there is no vessel, no disc or no ring around it.

    Raises:
        ValueError: as :func:`measure_biomarkers`.
    """
    mask, _ = _checked(vessel, fov)
    ring = _ring(_checked(disc, fov)[0], fov)
    if not (mask.any() and ring.any()):
        return float("nan")
    return float(mask[ring].mean() / mask[np.asarray(fov, bool)].mean())


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples of one biomarker, in its unit; NaN of either are left out.

    Args:
        first: (N,) values.
        second: (M,) values.

    Returns:
        The distance; NaN where a sample is empty.
    """
    samples = _defined(first, second)
    return float(wasserstein_distance(*samples)) if all(map(len, samples)) else float("nan")


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> float:
    """Kolmogorov-Smirnov distance of two samples: the largest gap between their distribution functions, in [0, 1].

    Args, and what is left out, as :func:`wasserstein`. It grows as samples shrink: compare those of equal size.

    Example:
        >>> kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6])
        0.5
    """
    samples = _defined(first, second)
    if not all(map(len, samples)):
        return float("nan")
    everywhere = np.concatenate(samples)
    below = [np.searchsorted(np.sort(sample), everywhere, side="right") / len(sample) for sample in samples]
    return float(np.abs(below[0] - below[1]).max())


def _defined(*samples: ArrayLike) -> list[Floats]:
    arrays = (np.asarray(sample, np.float64).ravel() for sample in samples)
    return [array[~np.isnan(array)] for array in arrays]


def _ring(region: Mask, fov: ArrayLike) -> Mask:
    """What lies in the field of view around a region, as far from it as its radius, were it a circle."""
    if not region.any():
        return region
    distance = ndimage.distance_transform_edt(~region)
    return (distance > 0) & (distance <= np.sqrt(region.sum() / np.pi)) & np.asarray(fov, bool)


def _box(fov: ArrayLike) -> list[tuple[int, int]]:
    """Where the rows and the columns of the field of view begin and end, half-open."""
    return [(side.start, side.stop) for side in ndimage.find_objects(np.asarray(fov, bool).astype(np.uint8))[0]]


def _checked(vessel: ArrayLike, fov: ArrayLike) -> tuple[Mask, float]:
    """The vessels inside of the field of view, and its diameter: its longer side, since cameras cut it off."""
    mask, inside = np.asarray(vessel).astype(bool), np.asarray(fov).astype(bool)
    if mask.ndim != 2 or mask.shape != inside.shape:
        raise ValueError(f"vessel and fov are (H, W) of one shape, not {mask.shape} and {inside.shape}")
    if not inside.any():
        raise ValueError("fov has no pixel: give the mask of the field of view")
    return mask & inside, float(max(end - start for start, end in _box(inside)))


def _boxes(mask: Mask, side: int) -> int:
    """How many boxes of a grid from the upper left corner a vessel touches."""
    rows, columns = (np.arange(0, length, side) for length in mask.shape)
    return int(np.count_nonzero(np.add.reduceat(np.add.reduceat(mask, rows, 0, np.int64), columns, 1)))


def _branching_points(line: Mask, diameter: float) -> int:
    junctions = find_junctions(line)
    if not junctions.any():
        return 0
    return int(ndimage.label(ndimage.distance_transform_edt(~junctions) <= MERGED * diameter / 2, NEIGHBOURS)[1])


def _tortuosity(line: Mask, diameter: float) -> float:
    labels, _ = find_segments(line)
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
