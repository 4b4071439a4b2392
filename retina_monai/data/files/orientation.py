"""Find the orientation in which a vessel map fits its photograph, where vessels are darker than their surroundings.

A transposed array, a dropped affine or an EXIF rotation of the photograph alone misaligns a map without changing its
size. Only a comparison of the two images reveals this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from retina_monai.errors import RetinaError
from retina_monai.transforms.field_of_view import compute_fov

__all__ = ["ORIENTATIONS", "vessel_fit"]

Map = NDArray[np.float32]

ORIENTATIONS = (
    "as it is",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180 degrees",
    "transposed, rows for columns",
    "turned by 90 degrees clockwise",
    "turned by 90 degrees anticlockwise",
    "transposed along the other diagonal",
)
"""Transforms of a map, in the order of :func:`vessel_fit`."""

GRID = 128  # maximum side in pixels of the downsampled images that are compared
BESIDE = 0.03  # radius of a vessel's surroundings, as a fraction of the longer side
NOISE = 1.0  # grey levels


def vessel_fit(
    image: NDArray[np.uint8], vessel: NDArray[np.uint8], fov: NDArray[np.uint8] | None = None
) -> NDArray[np.float64]:
    """Correlation of a vessel map with local darkness in the photograph, for each orientation of the map.

    Args:
        image: photograph ``(3, H, W)`` in [0, 255]. The green channel is used because its vessel contrast is highest.
        vessel: vessel map ``(1, H, W)`` in {0, 1}.
        fov: field of view ``(1, H, W)`` in {0, 1}, or ``None`` to compute it.

    Returns:
        Correlations ``(8,)`` in [-1, 1], in the order of ``ORIENTATIONS``: positive for dark vessels, negative for
        bright ones, and 0 where no comparison is possible, such as for a transposed map that is not square.
    """
    step = -(-max(image.shape[1:]) // GRID)
    inside = _field(image, step) if fov is None else _reduced(fov * np.uint8(255), step)[0] >= 128
    green, share = (_reduced(channels, step)[0].astype(np.float32) for channels in (image[1:2], vessel * np.uint8(255)))
    reach = 2 * round(BESIDE * max(green.shape)) + 1
    inside = uniform_filter(inside.astype(np.float32), reach, mode="constant") > 0.999  # the rim looks like a vessel
    dark, lines = -_local_contrast(green, inside, reach), share - uniform_filter(share, reach)
    turned = (way[::down, ::right] for way in (lines, lines.T) for down in (1, -1) for right in (1, -1))
    return np.array([_correlation(dark, other, inside) for other in turned])


def _reduced(channels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Downsample ``(C, H, W)`` by averaging blocks of ``step`` x ``step`` pixels."""
    return np.stack([np.asarray(Image.fromarray(channel).reduce(step)) for channel in channels])


def _field(image: NDArray[np.uint8], step: int) -> NDArray[np.bool_]:
    small = _reduced(image, step)
    try:
        return compute_fov(small)[0] > 0
    except RetinaError:  # the image is black
        return np.zeros(small.shape[1:], np.bool_)


def _local_contrast(green: Map, inside: NDArray[np.bool_], reach: int) -> Map:
    """Difference from the local mean, divided by the local standard deviation."""
    share = inside.astype(np.float32)
    near, around = (np.maximum(uniform_filter(share, size), 1e-3) for size in (reach, 2 * reach + 1))
    difference = (green - uniform_filter(green * share, reach) / near) * share
    variance = np.maximum(uniform_filter(difference**2, 2 * reach + 1), 0) / around
    contrast: Map = difference / (np.sqrt(variance) + np.float32(NOISE))
    return contrast


def _correlation(first: Map, second: Map, inside: NDArray[np.bool_]) -> float:
    if first.shape != second.shape or not inside.any():
        return 0.0
    a, b = (array[inside] - array[inside].mean() for array in (first, second))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0
