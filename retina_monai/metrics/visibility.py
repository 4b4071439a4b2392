"""Visibility of vessels and of the fovea: how dark they are relative to their surroundings in the green channel.

A generator may draw vessels so faintly, or so patchily, that a label marks what the photograph does not show. The
contrast along the centre lines reveals this. Its 10th percentile is low if parts of the vessels are invisible.

Masks are arrays (H, W) in {0, 1} or of booleans. Pixels outside the field of view are ignored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from retina_monai.metrics.centre_line import NEIGHBOURS, Floats, Mask, centre_line

__all__ = ["fovea_darkening", "vessel_contrast"]

BESIDE = 1 / 64  # diameters of the field of view: width of the Gaussian that averages the surroundings of a vessel

# Position of the fovea in disc diameters. With a disc of 1.8 mm, it is 4.76 mm from the centre of the disc at an angle
# of 7.8 degrees below the horizontal, with standard deviations of 0.34 mm and 3.6 degrees (Jonas et al., "Optic
# disc-fovea distance and its correlation with the ocular biometry", 2015; "Optic disc-fovea angle", 2015).
TEMPORAL, BELOW = 2.6, 0.35
WINDOW = 0.9  # radius in disc diameters in which the fovea is searched
SMOOTH = 0.15  # width of the Gaussian over which its brightness is averaged
RING = (0.8, 1.3)  # radii of the ring to which it is compared
NASAL = 0.04  # distance of the disc from the middle in widths of the field of view that determines the laterality


def vessel_contrast(image: ArrayLike, vessel: ArrayLike, fov: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Contrast and calibre of the vessels at the pixels of their centre lines.

    The contrast is the green level beside the vessel minus that on the centre line, divided by the former: 0 for an
    invisible vessel, negative for one that is brighter than its surroundings. The level beside it is averaged over
    pixels that neither belong to nor touch a vessel, with a Gaussian of 1/64 of the field of view's diameter.

    Args:
        image: (3, H, W), RGB, not negative.
        vessel: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.

    Returns:
        Contrasts (N,); calibres in diameters of the field of view (N,); and rows and columns of the pixels (N, 2).

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> vessel = np.zeros((128, 128), bool)
        >>> vessel[60:64] = True
        >>> image = np.tile(np.where(vessel, 60, 80), (3, 1, 1))
        >>> contrast, calibre, _ = vessel_contrast(image, vessel, np.ones((128, 128)))
        >>> contrast.mean().round(6), 128 * np.median(calibre)
        (0.25, 4.0)
    """
    green, mask, inside = _checked(image, vessel, fov)
    diameter = _diameter(inside)
    line, width = centre_line(mask)
    ground = inside & ~ndimage.binary_dilation(mask, NEIGHBOURS)
    beside = _averaged(green, ground, BESIDE * diameter)[line]
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = (beside - green[line]) / beside
    known = np.isfinite(contrast)
    return contrast[known], width[line][known] / diameter, np.argwhere(line)[known]


def fovea_darkening(
    image: ArrayLike, disc: ArrayLike, fov: ArrayLike, vessel: ArrayLike | None = None, laterality: str = ""
) -> float:
    """How much darker the macula is than its surroundings, where the position of the disc lets one expect the fovea.

    The fovea is expected 2.6 disc diameters temporal to the centre of the disc and 0.35 below it. The darkest place
    within 0.9 diameters of this position is compared with a ring around it. An even slope of brightness cancels.

    Args:
        image: (3, H, W), RGB, not negative.
        disc: (H, W) in {0, 1}.
        fov: field of view, (H, W) in {0, 1}.
        vessel: vessels, which are left out of all means, (H, W) in {0, 1}; ``None`` if they are unknown.
        laterality: ``L`` or ``R``. If empty, the eye is a right one if the disc is on the right.

    Returns:
        The relative difference in the green channel: 0 for an even background, larger for a darker macula. NaN if the
        disc is empty or on the vertical midline, or if the expected position is outside the field of view.

    Raises:
        ValueError: the shapes differ.
    """
    green, region, inside = _checked(image, disc, fov)
    if not region.any():
        return float("nan")
    width = 2 * float(np.sqrt(region.sum() / np.pi))
    centre = np.array(ndimage.center_of_mass(region))
    columns = np.flatnonzero(inside.any(axis=0))
    aside = (centre[1] - (columns[0] + columns[-1]) / 2) / (columns[-1] - columns[0] + 1)
    side = {"R": -1.0, "L": 1.0}.get(laterality, 0.0 if abs(aside) < NASAL else -float(np.sign(aside)))
    expected = centre + width * np.array([BELOW, side * TEMPORAL])
    rows_columns = np.indices(green.shape)
    window = np.hypot(*(rows_columns - expected[:, None, None])) <= WINDOW * width
    if not side or (window & inside).sum() < 0.8 * np.pi * (WINDOW * width) ** 2:
        return float("nan")
    ground = inside & ~region
    if vessel is not None:
        ground &= ~ndimage.binary_dilation(np.asarray(vessel, bool), NEIGHBOURS)
    smooth = _averaged(green, ground, SMOOTH * width)
    candidates = np.where(window & inside & np.isfinite(smooth), smooth, np.inf)
    darkest = np.array(np.unravel_index(np.argmin(candidates), green.shape))
    distance = np.hypot(*(rows_columns - darkest[:, None, None])) / width
    around = smooth[(distance >= RING[0]) & (distance <= RING[1]) & ground]
    around = around[np.isfinite(around)]
    level = float(around.mean()) if len(around) else 0.0
    return (level - float(candidates[tuple(darkest)])) / level if level > 0 else float("nan")


def _checked(image: ArrayLike, mask: ArrayLike, fov: ArrayLike) -> tuple[Floats, Mask, Mask]:
    """Green channel, mask and field of view."""
    picture, region, inside = np.asarray(image), np.asarray(mask).astype(bool), np.asarray(fov).astype(bool)
    if picture.ndim != 3 or len(picture) != 3 or not picture.shape[1:] == region.shape == inside.shape:
        shapes = f"{picture.shape}, {region.shape} and {inside.shape}"
        raise ValueError(f"image, mask and fov must be (3, H, W), (H, W) and (H, W), got {shapes}")
    return picture[1].astype(np.float64), region & inside, inside


def _diameter(fov: Mask) -> float:
    """The longer side of the field of view, since cameras crop it."""
    return float(max(side.stop - side.start for side in ndimage.find_objects(fov.astype(np.uint8))[0]))


def _averaged(values: Floats, where: Mask, width: float) -> NDArray[np.float64]:
    """Average ``values`` over the mask ``where`` with Gaussian weights. Pixels far from the mask are NaN."""
    weights = ndimage.gaussian_filter(where.astype(np.float64), width)
    total = ndimage.gaussian_filter(np.where(where, values, 0.0), width)
    return np.divide(total, weights, out=np.full_like(total, np.nan), where=weights > 1e-3)
