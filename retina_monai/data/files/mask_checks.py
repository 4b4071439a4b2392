"""Check that each mask of an eye marks the structure that its key names and is not inverted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.errors import RetinaError
from retina_monai.kinds import MASKS, Kind
from retina_monai.transforms.field_of_view import fov_box

__all__ = ["check_masks"]

MOST = 0.5
LEAST = 0.25  # minimum share of the visible part of a photograph that a field of view covers
DIM = 0.1  # pixels darker than this fraction of the 90th percentile of brightness are not visible
FRAME = 0.02  # minimum share of the frame outside the eye at which pixels marked there are checked
LARGE = 0.1  # minimum share of the frame at which the bounding box of vessels stands for the eye
SMALLEST = 64  # minimum side in pixels at which shapes are checked
GRID = 256  # points per side of the grid on which shapes are checked
SOLID = 0.25  # maximum share of a vessel map's marked pixels inside its largest inscribed circle
THICK = 0.03  # maximum radius of that circle, as a fraction of the eye's diameter
LINES = 0.1  # minimum share of a disc's marked pixels inside its largest inscribed circle
LARGER = 1.1  # maximum ratio of the areas of cup and disc


def check_masks(
    masks: Mapping[str, NDArray[np.uint8]],
    item: Mapping[Any, Any],
    fov: NDArray[np.uint8] | None = None,
    image: NDArray[np.uint8] | None = None,
) -> None:
    """Check that masks are neither empty nor inverted nor masks of another structure.

    Args:
        masks: masks ``(1, H, W)`` in {0, 1} by key, see :data:`retina_monai.kinds.MASKS`.
        item: item of the datalist, whose paths appear in error messages.
        fov: field of view ``(1, H, W)`` in {0, 1}. If ``None``, the frame is used, or the bounding box of the vessels
            where it is as large as an eye. It is checked if ``item`` has the key ``fov``.
        image: photograph ``(3, H, W)`` to compare ``fov`` with.

    Raises:
        RetinaError: if the field of view is empty, inverted, or leaves out most of the visible part of the photograph;
            if a mask marks more of the eye than its structure can cover (0.5, or 0.8 for atrophy) or most of the area
            outside the eye; if a mask of vessels, arteries, veins or the disc is empty inside the field of view (masks
            of cup, atrophy and lesions may be empty); if a vessel map has one solid area or a disc mask none; or if
            the cup is larger than the disc.
    """
    if fov is not None and "fov" in item:
        _check_fov(masks, item, fov, image)
    for key, mask in masks.items():
        _check_mask(mask, item[key], MASKS[key], fov)
    if "cup" in masks and "disc" in masks and masks["cup"].sum() > LARGER * masks["disc"].sum():
        raise RetinaError(f"{item['cup']} marks more than {item['disc']}: disc and cup are swapped, so swap them back")


def _check_fov(
    masks: Mapping[str, NDArray[np.uint8]],
    item: Mapping[Any, Any],
    fov: NDArray[np.uint8],
    image: NDArray[np.uint8] | None,
) -> None:
    path = item["fov"]
    if not fov.any():
        raise RetinaError(f"{path} is an empty field of view: mark the eye, or leave it out to have it computed")
    step = -(-max(fov.shape[1:]) // GRID)
    small = fov[0, ::step, ::step] > 0
    middle, edge = _middle_share(small), _edge_share(small)
    seen = np.ones_like(small) if image is None else _lit(image[:, ::step, ::step])
    covered = float(small[seen].mean()) if seen.any() else 0.0
    if middle >= MOST and (image is None or covered >= LEAST):
        return
    if edge > middle:
        raise RetinaError(
            f"{path} is an inverted field of view, empty inside and full outside: invert it, or leave it out to have "
            "it computed"
        )
    for key, mask in masks.items():
        other = mask[0, ::step, ::step] > 0
        if np.count_nonzero(other & seen) > MOST * np.count_nonzero(seen) and _middle_share(other) >= MOST:
            raise RetinaError(
                f"{path} marks {covered:.0%} of the eye and {item[key]} marks more than half: field of view and "
                f"{MASKS[key].name} are swapped, so swap them back"
            )
    raise RetinaError(
        f"{path} marks {covered:.0%} of what the photograph shows: it is not a field of view, so mark the eye, or "
        "leave it out to have it computed"
    )


def _check_mask(mask: NDArray[np.uint8], path: Any, kind: Kind, fov: NDArray[np.uint8] | None) -> None:
    inside = mask if fov is None else mask & fov
    whole = _extent(mask, kind) if fov is None else int(np.count_nonzero(fov))
    marked = np.count_nonzero(inside)
    if not marked and not kind.empty:
        raise RetinaError(
            f"{path} has no {kind.one} in it: give the {kind.name} of the eye, or leave {_left_out(kind)} out"
        )
    surroundings = mask.size - whole
    outside = np.count_nonzero(mask) - marked
    if marked > kind.most * whole:
        raise RetinaError(
            f"{path} marks {marked / whole:.0%} of the eye as {kind.many}: it is inverted, or not a {kind.name}"
        )
    if fov is not None and surroundings > FRAME * mask.size and outside > MOST * surroundings:
        raise RetinaError(
            f"{path} marks {outside / surroundings:.0%} of what surrounds the eye as {kind.many}: it is inverted, or "
            f"not a {kind.name}"
        )
    if marked and kind.form and max(mask.shape[1:]) >= SMALLEST:
        _check_form(mask, path, kind, whole)


def _check_form(mask: NDArray[np.uint8], path: Any, kind: Kind, whole: int) -> None:
    """Check the share of the largest inscribed circle, which is large for a disc and small for vessels."""
    step = -(-max(mask.shape[1:]) // GRID)
    small = np.pad(mask[0, ::step, ::step], 1)
    if not small.any():
        return
    radius = float(ndimage.distance_transform_edt(small).max())
    share = np.pi * radius**2 / np.count_nonzero(small)
    if kind.form == "tree" and share > SOLID and radius * step > THICK * (4 * whole / np.pi) ** 0.5:
        raise RetinaError(f"{path} marks a solid area and not {kind.many}: give the {kind.name} of the eye")
    if kind.form == "disc" and share < LINES:
        raise RetinaError(f"{path} marks lines or spots and not one {kind.one}: give the {kind.name} of the eye")


def _left_out(kind: Kind) -> str:
    return "the eye" if kind is MASKS["vessel"] else "the mask"


def _extent(mask: NDArray[np.uint8], kind: Kind) -> int:
    """Area of the eye in pixels, where its field of view is unknown."""
    if kind.form == "tree" and mask.any() and max(mask.shape[1:]) >= SMALLEST:
        top, left, bottom, right = fov_box(mask)
        if (bottom - top) * (right - left) > LARGE * mask.size:
            return (bottom - top) * (right - left)
    return mask.size


def _middle_share(mask: NDArray[np.bool_]) -> float:
    """Share of marked pixels in the middle of the bounding box of a mask ``(H, W)``."""
    if not mask.any():
        return 0.0
    top, left, bottom, right = fov_box(mask[None])
    rows, columns = (bottom - top) // 4, (right - left) // 4
    return float(mask[top + rows : bottom - rows, left + columns : right - columns].mean())


def _edge_share(mask: NDArray[np.bool_]) -> float:
    """Share of marked pixels along the edge of the frame of a mask ``(H, W)``."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())


def _lit(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Visible pixels of a photograph ``(3, H, W)``."""
    brightness = image.max(axis=0)
    return np.asarray(brightness > DIM * np.percentile(brightness, 90))
