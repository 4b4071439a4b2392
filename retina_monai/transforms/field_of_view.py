"""Compute the field of view of a photograph, and crop eyes to squares.

The aperture of a fundus camera is round. The field of view is therefore a disc, often clipped by the frame, with a dark
rim where the light falls off and a notch that marks the side. A threshold finds most of it. A circle fitted to its edge
(RANSAC: Fischler and Bolles 1981, https://doi.org/10.1145/358669.358692) includes the rim and excludes the notch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from skimage.measure import CircleModel, label, ransac
from skimage.morphology import convex_hull_image

from retina_monai.errors import RetinaError

__all__ = ["black_outside", "circle", "compute_fov", "crop_square", "fov_box", "resize_area"]

Box = tuple[int, int, int, int]

GRID = 512  # maximum points per side of the grid on which the edge is detected; the circle is drawn at full size
DARK = 0.1  # maximum brightness outside, relative to the median of the image centre
FEW = 16  # minimum number of edge points for a circle
ROUND = 0.5  # minimum share of edge points within one grid point of the circle
CORNER = 1 / 32  # size of the corners, as a fraction of the side
LIGHT = 64  # minimum grey level of a page
ALIKE = 12  # maximum difference between pixels of a page, in grey levels
FLAT = 5.0  # maximum standard deviation of a page; a retina varies more
STEP = 24  # minimum difference between a page and the photograph on it, in grey levels
LEFT = 0.1  # minimum share of the frame that the photograph on a page covers


def compute_fov(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute the field of view of a photograph.

    Args:
        image: photograph ``(3, H, W)`` in [0, 255], nearly black outside the field of view, or on a uniform white or
            grey page.

    Returns:
        Field of view ``(1, H, W)`` in {0, 1}: the visible part of the aperture's disc, or the convex hull of the bright
        region if it is not round. It covers the whole frame if nothing is dark.

    Raises:
        RetinaError: if the image is black.
    """
    step = -(-max(image.shape[1:]) // GRID)
    seen = image[:, ::step, ::step]
    bright = _bright(np.where(_page(seen), 0, seen.max(axis=0)))
    edge = np.argwhere(bright & ~ndimage.binary_erosion(bright, border_value=True))
    fitted = _fit_circle(edge)
    if fitted is None:
        hull = convex_hull_image(bright).astype(np.uint8)
        return hull.repeat(step, axis=0).repeat(step, axis=1)[None, : image.shape[1], : image.shape[2]]
    row, column, radius = (step * value for value in fitted)
    top, left, bottom, right = (step * side for side in fov_box(bright[None]))
    fov = np.zeros((1, *image.shape[1:]), dtype=np.uint8)
    fov[:, top:bottom, left:right] = _disc(image.shape[1:], row, column, radius + step / 2)[:, top:bottom, left:right]
    return fov


def black_outside(image: NDArray[np.uint8], fov: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set the page around a photograph in a figure or scan to black. Other photographs are returned unchanged.

    Args:
        image: photograph ``(3, H, W)`` in [0, 255].
        fov: field of view ``(1, H, W)`` in {0, 1}.
    """
    step = -(-max(image.shape[1:]) // GRID)
    return image * fov if _page(image[:, ::step, ::step]).any() else image


def fov_box(fov: NDArray) -> Box:
    """The bounding box of a field of view.

    Args:
        fov: field of view ``(1, H, W)``, non-zero inside.

    Returns:
        Half-open box ``(top, left, bottom, right)``, for use as ``fov[:, top:bottom, left:right]``.

    Raises:
        RetinaError: if the field of view is empty.
    """
    rows, columns = (np.flatnonzero(fov[0].any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise RetinaError("a field of view is empty: mark the eye in it, or leave it out to have it computed")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def crop_square(array: NDArray, box: Box) -> NDArray:
    """Crop to a box and pad it symmetrically with zeros to a square, which preserves the aspect ratio.

    Args:
        array: array ``(C, H, W)``.
        box: half-open box ``(top, left, bottom, right)`` within the array.

    Returns:
        A new array ``(C, S, S)`` of the same data type, where ``S`` is the longer side of the box.
    """
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    side = max(height, width)
    square = np.zeros((len(array), side, side), dtype=array.dtype)
    above, before = (side - height) // 2, (side - width) // 2
    square[:, above : above + height, before : before + width] = array[:, top:bottom, left:right]
    return square


def circle(size: int) -> NDArray[np.uint8]:
    """The default field of view: the disc inscribed in a square.

    Args:
        size: side length of the square in pixels.

    Returns:
        Field of view ``(1, size, size)`` in {0, 1}.
    """
    middle = (size - 1) / 2
    return _disc((size, size), middle, middle, size / 2)


def resize_area(array: NDArray, size: int) -> NDArray[np.float32]:
    """Resize without aliasing by averaging the area of each new pixel, including partly covered pixels.

    A mask in {0, 1} becomes the share of each pixel that it covers. Sides that grow are interpolated linearly.

    Args:
        array: array ``(C, H, W)`` of any data type.
        size: new height and width.

    Returns:
        Array ``(C, size, size)`` on the scale of ``array``.
    """
    rows, columns = _weights(array.shape[1], size), _weights(array.shape[2], size)
    shrunk = (rows @ channel.astype(np.float32) for channel in array)
    return np.stack([(columns @ channel.T).T for channel in shrunk])


def _page(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Detect the uniform white or grey page around a photograph ``(3, H, W)``, which extends to the corners."""
    rows, columns = (max(2, int(CORNER * side)) for side in image.shape[1:])
    ends = [(slice(rows), slice(-rows, None)), (slice(columns), slice(-columns, None))]
    corners = np.array([np.median(image[:, top, left], axis=(1, 2)) for top in ends[0] for left in ends[1]])
    colour = np.median(corners, axis=0)
    nothing = np.zeros(image.shape[1:], np.bool_)
    alike = np.abs(corners - colour).max(axis=1) <= ALIKE
    if colour.max() < LIGHT or np.ptp(colour) > ALIKE or np.count_nonzero(alike) < 3:
        return nothing
    away = np.abs(image - colour[:, None, None].astype(np.float32)).max(axis=0)
    parts = label(away <= ALIKE, connectivity=1)
    page = np.isin(parts, np.setdiff1d(parts[[0, 0, -1, -1], [0, -1, 0, -1]], 0))
    wider = ndimage.binary_dilation(page)
    beside = ndimage.binary_dilation(wider, iterations=2) & ~wider
    if not beside.any() or 1 - page.mean() < LEFT or np.median(away[beside]) < STEP:
        return nothing
    return wider if image[:, page].std(axis=1).max() <= FLAT else nothing


def _bright(brightness: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest bright component of ``(H, W)``, with holes filled."""
    height, width = brightness.shape
    middle = np.median(brightness[height // 4 : height - height // 4, width // 4 : width - width // 4])
    parts = label(ndimage.median_filter(brightness, 3) > DARK * middle, connectivity=1)
    if not parts.any():
        raise RetinaError("a photograph is black: it shows no eye whose field of view could be found")
    return ndimage.binary_fill_holes(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))


def _fit_circle(edge: NDArray[np.int64]) -> tuple[float, float, float] | None:
    """Row, column and radius of the circle through most of the points ``(N, 2)``; ``None`` if there is none."""
    if len(edge) < FEW:
        return None
    model, inside = ransac(
        edge.astype(float), CircleModel, min_samples=3, residual_threshold=1, stop_probability=0.9999, rng=0
    )
    if inside is None or inside.mean() < ROUND:
        return None
    row, column = model.center
    return float(row), float(column), float(model.radius)


def _disc(shape: tuple[int, ...], row: float, column: float, radius: float) -> NDArray[np.uint8]:
    """Mask ``(1, H, W)`` in {0, 1} of the pixels whose centre is inside a circle."""
    reach = np.sqrt(np.maximum(radius**2 - (np.arange(shape[0]) - row) ** 2, 0)).astype(np.float32)
    distance = np.abs(np.arange(shape[1]) - column).astype(np.float32)
    return (distance[None, None, :] < reach[None, :, None]).astype(np.uint8)


@lru_cache(64)
def _weights(old: int, new: int) -> sparse.csr_array:
    """The matrix ``(new, old)`` that resizes one axis, by area averaging if it shrinks and linearly if it grows."""
    place, pixel = np.arange(new)[:, None], np.arange(old)[None]
    scale = old / new
    if scale >= 1:
        overlap = np.minimum((place + 1) * scale, pixel + 1) - np.maximum(place * scale, pixel)
        return sparse.csr_array(np.maximum(overlap / scale, 0).astype(np.float32))
    middle = np.clip((place + 0.5) * scale - 0.5, 0, old - 1)
    return sparse.csr_array(np.maximum(1 - np.abs(middle - pixel), 0).astype(np.float32))
