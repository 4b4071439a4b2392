"""Which of the eight ways to lay a vessel map on its photograph fits: vessels are darker than what is beside them.

A transposed array, an affine that was dropped or an EXIF turn that only the photograph has taken leave a map of the
right size in the wrong place. Nothing but the two pictures themselves reveals it.
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
"""What to do with a map, in the order of :func:`vessel_fit`."""

GRID = 128  # pixels a side, at most, of the copies that are compared
BESIDE = 0.03  # share of the longer side that lies beside a vessel
NOISE = 1.0  # grey levels


def vessel_fit(
    image: NDArray[np.uint8], vessel: NDArray[np.uint8], fov: NDArray[np.uint8] | None = None
) -> NDArray[np.float64]:
    """Correlation of a vessel map with what is darker than its surroundings, in each orientation of the map.

    Args:
        image: ``(3, H, W)`` in [0, 255]. Its green channel shows vessels best.
        vessel: ``(1, H, W)`` in {0, 1}.
        fov: ``(1, H, W)`` in {0, 1}; ``None``: it is computed.

    Returns:
        ``(8,)`` in [-1, 1], in the order of ``ORIENTATIONS``: positive where vessels are dark, negative where they are
        bright; 0 where nothing can be compared, as when a map that is not square is transposed.
    """
    step = -(-max(image.shape[1:]) // GRID)
    inside = _field(image, step) if fov is None else _reduced(fov * np.uint8(255), step)[0] >= 128
    green, share = (_reduced(channels, step)[0].astype(np.float32) for channels in (image[1:2], vessel * np.uint8(255)))
    reach = 2 * round(BESIDE * max(green.shape)) + 1
    inside = uniform_filter(inside.astype(np.float32), reach, mode="constant") > 0.999  # the rim is a line of its own
    dark, lines = -_local_contrast(green, inside, reach), share - uniform_filter(share, reach)
    turned = (way[::down, ::right] for way in (lines, lines.T) for down in (1, -1) for right in (1, -1))
    return np.array([_correlation(dark, other, inside) for other in turned])


def _reduced(channels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """``(C, H, W)`` with each ``step`` x ``step`` pixels averaged."""
    return np.stack([np.asarray(Image.fromarray(channel).reduce(step)) for channel in channels])


def _field(image: NDArray[np.uint8], step: int) -> NDArray[np.bool_]:
    small = _reduced(image, step)
    try:
        return compute_fov(small)[0] > 0
    except RetinaError:  # it is black
        return np.zeros(small.shape[1:], np.bool_)


def _local_contrast(green: Map, inside: NDArray[np.bool_], reach: int) -> Map:
    """What differs from its surroundings, on the scale of how much things differ there."""
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
