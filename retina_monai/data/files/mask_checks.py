"""What the masks of an eye show: whether each is of what it is said to be, and not inverted."""

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
LEAST = 0.25  # share of what a photograph shows that a field of view marks at least
DIM = 0.1  # of the brightness of the brightest tenth: what is darker is not shown
FRAME = 0.02  # share of the frame outside of the eye from which what is marked there counts
LARGE = 0.1  # share of the frame from which vessels' bounding box is taken for the eye
SMALLEST = 64  # pixels a side from which masks have a form
GRID = 256  # points a side on which forms are looked at
SOLID, THICK = 0.25, 0.03  # the largest circle in a vessel map has less of what is marked, or of the eye's diameter
LINES = 0.1  # and in a disc more
LARGER = 1.1  # than a disc is no cup


def check_masks(
    masks: Mapping[str, NDArray[np.uint8]],
    item: Mapping[Any, Any],
    fov: NDArray[np.uint8] | None = None,
    image: NDArray[np.uint8] | None = None,
) -> None:
    """Check that masks look like what they are masks of: neither black, nor inverted, nor another kind of mask.

    Args:
        masks: ``(1, H, W)`` of {0, 1}, by their keys in :data:`retina_monai.kinds.MASKS`.
        item: line of the datalist, whose paths the error names.
        fov: ``(1, H, W)`` of {0, 1}; ``None``: the frame counts, of vessels their bounding box if it is as large as an
            eye. It is checked if ``item`` has it.
        image: ``(3, H, W)``, with which ``fov`` is compared.

    Raises:
        RetinaError: a field of view is empty, or inverted, or leaves out most of what the photograph shows; a mask
            marks more of the eye than its kind can (half; of atrophy 0.8), or most of what surrounds the eye; one of
            vessels, arteries, veins or disc marks nothing inside the field of view (those of cup, atrophy and lesions
            may); a vessel map has one solid area, or a disc none; the cup is larger than the disc.
    """
    if fov is not None and "fov" in item:
        _check_fov(masks, item, fov, image)
    for key, mask in masks.items():
        _check_mask(mask, item[key], MASKS[key], fov)
    if "cup" in masks and "disc" in masks and masks["cup"].sum() > LARGER * masks["disc"].sum():
        raise RetinaError(
            f"{item['cup']} marks more than {item['disc']}: disc and cup have changed places, so swap them"
        )


def _check_fov(
    masks: Mapping[str, NDArray[np.uint8]],
    item: Mapping[Any, Any],
    fov: NDArray[np.uint8],
    image: NDArray[np.uint8] | None,
) -> None:
    path = item["fov"]
    if not fov.any():
        raise RetinaError(f"{path} is an empty field of view: mark the eye, or give none to have it computed")
    step = -(-max(fov.shape[1:]) // GRID)
    small = fov[0, ::step, ::step] > 0
    middle, edge = _middle_share(small), _edge_share(small)
    seen = np.ones_like(small) if image is None else _lit(image[:, ::step, ::step])
    covered = float(small[seen].mean()) if seen.any() else 0.0
    if middle >= MOST and (image is None or covered >= LEAST):
        return
    if edge > middle:
        raise RetinaError(
            f"{path} is an inverted field of view, empty inside and full outside: invert it, or give none to have it "
            "computed"
        )
    for key, mask in masks.items():
        other = mask[0, ::step, ::step] > 0
        if np.count_nonzero(other & seen) > MOST * np.count_nonzero(seen) and _middle_share(other) >= MOST:
            raise RetinaError(
                f"{path} marks {covered:.0%} of the eye and {item[key]} more than half: field of view and "
                f"{MASKS[key].name} have changed places, so swap them"
            )
    raise RetinaError(
        f"{path} marks {covered:.0%} of what the photograph shows: it is not a field of view, so mark the eye, or give "
        "none to have it computed"
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
    """By the largest circle inside a mask: much of a disc, little of vessels."""
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
    """Pixels that are taken for the eye where its field of view is not known."""
    if kind.form == "tree" and mask.any() and max(mask.shape[1:]) >= SMALLEST:
        top, left, bottom, right = fov_box(mask)
        if (bottom - top) * (right - left) > LARGE * mask.size:
            return (bottom - top) * (right - left)
    return mask.size


def _middle_share(mask: NDArray[np.bool_]) -> float:
    """How much of the middle of its bounding box a mask ``(H, W)`` marks."""
    if not mask.any():
        return 0.0
    top, left, bottom, right = fov_box(mask[None])
    rows, columns = (bottom - top) // 4, (right - left) // 4
    return float(mask[top + rows : bottom - rows, left + columns : right - columns].mean())


def _edge_share(mask: NDArray[np.bool_]) -> float:
    """How much of the edge of the frame a mask ``(H, W)`` marks."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())


def _lit(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a photograph ``(3, H, W)`` is not dark."""
    brightness = image.max(axis=0)
    return np.asarray(brightness > DIM * np.percentile(brightness, 90))
