"""Postprocessing of optic disc segmentation: one disc with its outline, confidence and side.

A disc is one convex area. Among the areas in which the probability is at least half of its maximum, the one with the
largest sum of probabilities is kept. Vessels that leave it are cut off. Its outline is the convex hull of the contour
at half of the maximum, with subpixel precision.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask
from skimage.measure import find_contours, label

from retina_monai.settings import SHARE, Rule

__all__ = ["DiscFound", "FindDiscd", "disc_in_photograph", "draw_outline", "find_disc", "which_eye"]

SETTINGS: dict[str, Rule] = {"least_confidence": SHARE}

LEVEL = 0.5  # threshold, relative to the maximum probability
JUST_BELOW = 0.98  # level of the outline, relative to the threshold, so that it encloses every pixel of the area
LEAST = 0.003  # minimum share of the field of view that a disc covers; 0.01 to 0.06 in real eyes
CORNERS = np.ones((3, 3), bool)
SPURS = 0.6  # radius of the opening that cuts off vessels, relative to that of a circle of the same area
ASIDE = 0.12  # minimum distance of a disc from the vertical midline for a side, relative to the field of view


@dataclass(frozen=True)
class DiscFound:
    """An optic disc in a square picture.

    Attributes:
        outline: corners of a convex polygon, ``(N, 2)``, rows and columns in pixels of the square. (0, 0) is the centre
            of the first pixel. Empty if all probabilities are 0.
        confidence: confidence in [0, 1]. It is the mean probability inside the outline, multiplied by the area's share
            of the probability of all areas above the threshold, and by the size of the area relative to the smallest
            plausible disc if it is smaller than that.
    """

    outline: NDArray[np.float64]
    confidence: float


def find_disc(probability: NDArray) -> DiscFound:
    """Find the optic disc in a probability map.

    Args:
        probability: ``(S, S)`` in [0, 1]. The field of view spans the square.

    Raises:
        ValueError: if the shape or the range differs.

    Example:
        >>> probability = np.zeros((64, 64))
        >>> probability[20:30, 40:50] = 0.9
        >>> found = find_disc(probability)
        >>> found.outline.mean(axis=0).round(3), round(found.confidence, 3)
        (array([24.5, 44.5]), 0.9)
    """
    if probability.ndim != 2 or probability.shape[0] != probability.shape[1]:
        raise ValueError(f"probability must be (S, S), got {probability.shape}")
    if not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError("probability must be in [0, 1]")
    nothing = DiscFound(np.zeros((0, 2)), 0.0)
    level = LEVEL * float(probability.max())
    if level == 0:
        return nothing
    areas = label(probability >= level, connectivity=2)
    weights = ndimage.sum_labels(probability, areas, np.arange(1, areas.max() + 1))
    largest = _without_spurs(areas == 1 + int(np.argmax(weights)))
    outline = _hull(np.where(ndimage.binary_dilation(largest, CORNERS), probability, 0.0), JUST_BELOW * level)
    inside = draw_outline(outline, probability.shape)
    size = np.count_nonzero(inside) / (LEAST * np.pi / 4 * probability.size)
    certain = float(probability[inside].mean()) if inside.any() else 0.0
    return DiscFound(outline, certain * float(weights.max() / weights.sum()) * min(1.0, size))


def draw_outline(outline: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """The pixels whose centre lies inside a polygon.

    Args:
        outline: corners ``(N, 2)``, rows and columns. They may lie outside the picture.
        shape: height and width.

    Returns:
        Boolean mask ``(H, W)``.
    """
    empty = np.zeros(tuple(int(length) for length in shape), bool)
    return empty if len(outline) < 3 else np.asarray(polygon2mask(empty.shape, outline))


def which_eye(outline: NDArray[np.float64], size: int) -> str:
    """Derive the laterality from the position of the disc, which is nasal: on the right in a right eye.

    Args:
        outline: outline from :func:`find_disc`.
        size: side length of the square in pixels.

    Returns:
        ``L`` or ``R``, or empty if there is no disc or it is near the vertical midline, as in disc-centred photographs.

    Example:
        >>> which_eye(np.array([[30.0, 50.0], [30.0, 58.0], [36.0, 54.0]]), 64)
        'R'
    """
    if not len(outline):
        return ""
    across = (outline[:, 1].min() + outline[:, 1].max()) / 2 - (size - 1) / 2
    return "" if abs(across) < ASIDE * size else "R" if across > 0 else "L"


def disc_in_photograph(
    square: NDArray, box: Sequence[int] | NDArray[np.int64], fov: NDArray[np.uint8], least_confidence: float = 0.0
) -> tuple[NDArray[np.uint8], float, str]:
    """The disc of a photograph in its original size, from the probabilities of its square crop.

    Args:
        square: probabilities ``(1, S, S)`` in [0, 1].
        box: ``(top, left, bottom, right)`` of the crop in the photograph, half-open
            (:func:`retina_monai.transforms.field_of_view.crop_square`).
        fov: field of view ``(1, H, W)`` in {0, 1}.
        least_confidence: minimum confidence of a disc.

    Returns:
        Mask ``(1, H, W)`` in {0, 1}, empty if no disc was found; confidence; laterality as from :func:`which_eye`.
    """
    found, size = find_disc(np.clip(square[0], 0, 1)), square.shape[-1]
    if found.confidence < least_confidence:
        return np.zeros_like(fov), found.confidence, ""
    top, left, bottom, right = (int(side) for side in box)
    side = max(bottom - top, right - left)
    corner = np.array([top - (side - (bottom - top)) // 2, left - (side - (right - left)) // 2])
    outline = corner + (found.outline + 0.5) * side / size - 0.5
    mask = draw_outline(outline, fov.shape[1:])[None].astype(np.uint8) * (fov > 0)
    return mask.astype(np.uint8), found.confidence, which_eye(found.outline, size)


class FindDiscd(MapTransform):
    """Convert the probabilities of a network to the disc in the photograph's original size.

    The transform adds ``confidence`` and ``side``, as returned by :func:`disc_in_photograph`.

    Args:
        keys: keys of the probabilities ``(1, S, S)``, which become masks ``(1, H, W)`` in {0, 1}.
        fov_key: key of the field of view ``(1, H, W)`` in {0, 1}, in original size.
        box_key: key of the crop's box in the photograph, or ``None`` if probabilities and field of view have the same
            size.
        least_confidence: minimum confidence of a disc.
    """

    def __init__(
        self, keys: KeysCollection, fov_key: str = "fov", box_key: str | None = "box", least_confidence: float = 0.0
    ) -> None:
        super().__init__(keys)
        self.fov_key, self.box_key, self.least_confidence = fov_key, box_key, least_confidence

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        fov = _array(result[self.fov_key])
        box = (0, 0, *fov.shape[1:]) if self.box_key is None else _array(result[self.box_key])
        for key in self.key_iterator(result):
            mask, confidence, side = disc_in_photograph(_array(result[key]), box, fov, self.least_confidence)
            result |= {key: torch.from_numpy(mask), "confidence": confidence, "side": side}
        return result


def _without_spurs(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Open an area ``(S, S)`` by a circle in proportion to its size, unless nothing would remain."""
    radius = SPURS * float(np.sqrt(np.count_nonzero(area) / np.pi))
    frame = np.pad(area, 1, mode="edge")
    core = ndimage.distance_transform_edt(frame) > radius
    opened = (ndimage.distance_transform_edt(~core) <= radius)[1:-1, 1:-1] & area
    parts = label(opened, connectivity=2)
    return np.asarray(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])) if core.any() else area


def _hull(probability: NDArray, level: float) -> NDArray[np.float64]:
    """Convex hull of the longest contour of ``(S, S)`` at a level."""
    contours = find_contours(np.pad(probability, 1), level)
    points = max(contours, key=len)[:-1] - 1
    return np.asarray(points[ConvexHull(points).vertices])


def _array(value: Any) -> NDArray:
    return torch.as_tensor(value).as_subclass(torch.Tensor).cpu().numpy()
