"""Vascular biomarkers, the clinical measurements of a vessel map, as pure functions of binary masks.

They serve to compare sets of vessel maps, such as synthetic and real ones or those of two cameras. All except the
fractal dimension are measured along the centre line, the skeleton of Zhang and Suen (CACM 1984) without the spurs of a
rough outline. Lengths are relative to the diameter of the field of view, so that maps of different sizes are
comparable. Vessels thinner than a pixel are lost, so it is best to compare sets at one size.

A mask is an array (H, W) in {0, 1} or of booleans. Pixels outside the field of view are ignored.

PVBM (Fhima et al., "PVBM: a Python vasculature biomarker toolbox based on retinal blood vessel segmentation", ECCV 2022
workshops, https://arxiv.org/abs/2208.00392) has similar measures but is not used here. Its package requires
torchvision, OpenCV, ONNX Runtime and two downloaders of weights. Its lengths are numbers of pixels for photographs of
1,500 pixels (a segment counts from 50), and it needs the position of the disc. It counts every pixel of a junction (26
for a tree with 7) and measures arcs in steps between pixels (1.07 for straight vessels). The tests compare the
biomarkers with PVBM if it is installed without its dependencies.
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

BOXES = (2, 4, 8, 16, 32, 64)  # sides of the counted boxes in pixels
SMOOTHING = 1 / 200  # diameters of the field of view: width of the Gaussian that smooths steps between pixels
LONG = 1 / 20  # diameters of the field of view: smallest chord of a segment for tortuosity
MERGED = 1 / 100  # diameters of the field of view within which junctions are one branching point

QUANTILES = 32  # quantiles of a map's calibres for the comparison of sets


@dataclass(frozen=True)
class Biomarkers:
    """Biomarkers of one vessel map; see the functions of the same names.

    Attributes:
        vessel_density: share of the field of view.
        calibres: (N,) widths along the centre lines, in diameters of the field of view.
        fractal_dimension: box-counting dimension.
        tortuosity: arc over chord; NaN if no vessel is long enough.
        branching_points: number of branching points.
    """

    vessel_density: float
    calibres: Floats
    fractal_dimension: float
    tortuosity: float
    branching_points: int


def measure_biomarkers(vessel: ArrayLike, fov: ArrayLike) -> Biomarkers:
    """All biomarkers of one vessel map.

    Args:
        vessel: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.

    Raises:
        ValueError: the shapes differ or are not (H, W), or the field of view is empty.

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
    """Values of one vessel map for the comparison of sets, in which all maps have the same weight.

    Returns:
        Name of the biomarker -> (K,): 32 quantiles of the calibres, NaN without vessels; for others a single value.

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
    """(N,) widths at the pixels of the centre line, twice their distance to the edge, in diameters of the fov."""
    mask, diameter = _checked(vessel, fov)
    line, width = centre_line(mask)
    return width[line] / diameter


def fractal_dimension(vessel: ArrayLike, fov: ArrayLike, boxes: Sequence[int] = BOXES) -> float:
    """Box-counting dimension of a vessel map: 1 for a line, 2 for an area, NaN for an empty map.

    It is the least-squares slope of the logarithm of the number of boxes with vessels against that of the inverse side.
    Grids start at each of the four corners of the field of view, and counts are averaged. Source: Mainster, "The
    fractal properties of retinal vessels", Eye 1990; Liew et al., IOVS 2008 (box counting).

    Args:
        vessel: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.
        boxes: sides of the boxes in pixels, on which the dimension depends unless the set is a fractal.
    """
    mask, _ = _checked(vessel, fov)
    if not mask.any():
        return float("nan")
    mask = mask[ndimage.find_objects(np.asarray(fov, bool).astype(np.uint8))[0]]
    counts = [np.mean([_boxes(np.rot90(mask, turn), side) for turn in range(4)]) for side in boxes]
    return -float(np.polyfit(np.log(boxes), np.log(counts), 1)[0])


def tortuosity(vessel: ArrayLike, fov: ArrayLike) -> float:
    """Arc over chord of the segments between branching points, weighted by their chords; 1 if all are straight.

    The simplest measure of Hart, Goldbaum, Cote, Kube and Nelson, "Measurement and classification of retinal vascular
    tortuosity", Int J Med Inform 1999. Steps between pixels are smoothed by a Gaussian of 1/200 of the field of view's
    diameter, at least two pixels. Only segments with a chord of at least 1/20 of it count. NaN if there are none.
    """
    mask, diameter = _checked(vessel, fov)
    return _tortuosity(centre_line(mask)[0], diameter)


def branching_points(vessel: ArrayLike, fov: ArrayLike) -> int:
    """Number of junctions of the centre lines, where those within 1/100 of the field of view's diameter count as one.

    Crossings of an artery and a vein count too, since a vessel map does not distinguish them.
    """
    mask, diameter = _checked(vessel, fov)
    return _branching_points(centre_line(mask)[0], diameter)


@dataclass(frozen=True)
class RegionBiomarkers:
    """Biomarkers of the mask of one region of an eye, such as the disc or an atrophy.

    Attributes:
        area: share of the field of view.
        offset: distance of its centre from that of the field of view, in diameters of the field of view.
        aspect: minor over major axis of the ellipse with the same second moments, in (0, 1]; 1 for a circle.
    """

    area: float
    offset: float
    aspect: float


def measure_region(mask: ArrayLike, fov: ArrayLike) -> RegionBiomarkers:
    """Size, position and shape of a region; all except the area are NaN for an empty mask.

    Args:
        mask: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.

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
    """Difference of brightness between a region and the ring around it, in standard deviations of the field of view.

    Args:
        image: (3, H, W), in any unit.
        mask: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.

    Returns:
        The difference; NaN if the region or its ring is empty, or if the field of view has no contrast.

    Raises:
        ValueError: as :func:`measure_biomarkers`; the image has another size.
    """
    region, _ = _checked(mask, fov)
    grey = np.asarray(image, np.float64).mean(axis=0)
    if grey.shape != region.shape:
        raise ValueError(f"image must be (3, H, W) of the mask's size {region.shape}, got {np.shape(image)}")
    ring, spread = _ring(region, fov), grey[np.asarray(fov, bool)].std()
    if not (region.any() and ring.any() and spread):
        return float("nan")
    return float((grey[region].mean() - grey[ring].mean()) / spread)


def convergence(vessel: ArrayLike, disc: ArrayLike, fov: ArrayLike) -> float:
    """Density of vessels in the ring around the disc, divided by that of the field of view; above 1 if they converge.

    Args:
        vessel, disc: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.

    Returns:
        The ratio; NaN if there is no vessel, no disc or no ring around it.

    Raises:
        ValueError: as :func:`measure_biomarkers`.
    """
    mask, _ = _checked(vessel, fov)
    ring = _ring(_checked(disc, fov)[0], fov)
    if not (mask.any() and ring.any()):
        return float("nan")
    return float(mask[ring].mean() / mask[np.asarray(fov, bool)].mean())


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples of one biomarker, in its unit. NaN values are ignored.

    Args:
        first: (N,) values.
        second: (M,) values.

    Returns:
        The distance; NaN if a sample is empty.
    """
    samples = _defined(first, second)
    return float(wasserstein_distance(*samples)) if all(map(len, samples)) else float("nan")


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> float:
    """Kolmogorov-Smirnov distance of two samples: the largest gap between their distribution functions, in [0, 1].

    Arguments as for :func:`wasserstein`. The distance grows for smaller samples: compare those of equal size.

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
    """The ring of the field of view around a region, as wide as the radius of a circle of the region's area."""
    if not region.any():
        return region
    distance = ndimage.distance_transform_edt(~region)
    return (distance > 0) & (distance <= np.sqrt(region.sum() / np.pi)) & np.asarray(fov, bool)


def _box(fov: ArrayLike) -> list[tuple[int, int]]:
    """Half-open ranges of the rows and columns of the field of view."""
    return [(side.start, side.stop) for side in ndimage.find_objects(np.asarray(fov, bool).astype(np.uint8))[0]]


def _checked(vessel: ArrayLike, fov: ArrayLike) -> tuple[Mask, float]:
    """Vessels inside the field of view, and its diameter: the longer side, since cameras crop it."""
    mask, inside = np.asarray(vessel).astype(bool), np.asarray(fov).astype(bool)
    if mask.ndim != 2 or mask.shape != inside.shape:
        raise ValueError(f"vessel and fov must be (H, W) of one shape, got {mask.shape} and {inside.shape}")
    if not inside.any():
        raise ValueError("fov is empty: give the mask of the field of view")
    return mask & inside, float(max(end - start for start, end in _box(inside)))


def _boxes(mask: Mask, side: int) -> int:
    """Number of boxes with vessels in a grid from the upper left corner."""
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
    """The pixels of a path from one end to the other, or of a ring from any pixel."""
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
