"""Check pictures given as arrays by the same rules as pictures read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.files.masks import refuse_values, to_mask
from retina_monai.errors import RetinaError
from retina_monai.kinds import MASKS
from retina_monai.transforms.field_of_view import compute_fov

__all__ = ["as_mask", "as_numbers", "photograph_and_fov", "vessels_and_masks"]


def as_numbers(value: Any, name: str) -> NDArray:
    """Convert an array, a tensor or a Pillow picture to an array of finite numbers.

    Args:
        value: the user's input.
        name: name of the argument, for error messages.

    Raises:
        RetinaError: ``value`` is a path, is not numeric, is empty, or has values that are negative, NaN, infinite or
            beyond 16 bits.
    """
    if isinstance(value, str | Path):
        raise RetinaError(
            f"{name} must be an array, got the path {value}: give numpy.asarray(PIL.Image.open({str(value)!r}))"
        )
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not array.size:
        raise RetinaError(f"{name} must be a non-empty numeric array, got {array.dtype} of shape {array.shape}")
    refuse_values(array, name)
    return array


def as_mask(value: Any, name: str) -> NDArray[np.uint8]:
    """Convert an array to a mask as read from a file, but reject fractions between 0 and 1.

    Args:
        value: ``(H, W)``, ``(1, H, W)`` or ``(H, W, 1)``: Boolean, {0, 1}, or in [0, 255] with foreground at 128 or
            above.
        name: name of the argument, a key of :data:`retina_monai.kinds.MASKS`.

    Returns:
        Mask ``(1, H, W)`` in {0, 1}.

    Raises:
        RetinaError: as :func:`as_numbers` and :func:`retina_monai.data.files.masks.to_mask`; another shape; fractions.
    """
    array = as_numbers(value, name)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise RetinaError(
            f"{name} has shape {np.shape(value)}: give the {MASKS[name].name} as (H, W) or (1, H, W), not a photograph"
        )
    if array.max() <= 1 and not np.isin(array, (0, 1)).all():
        raise RetinaError(f"{name} holds values between 0 and 1: give a mask, such as {name} >= 0.5")
    return to_mask(array, name, name)


def vessels_and_masks(
    vessel: Any, fov: Any = None, **others: Any
) -> tuple[dict[str, NDArray[np.uint8]], NDArray[np.uint8] | None]:
    """Check a vessel map, its field of view and other masks of the same eye.

    Args:
        vessel: vessel map in the form accepted by :func:`as_mask`.
        fov: field of view in the same form, if any.
        others: masks by kind in the same form; ``None`` for those that are not given.

    Returns:
        The given masks ``(1, H, W)`` in {0, 1} by kind, including ``vessel``, and the field of view.

    Raises:
        RetinaError: as :func:`as_mask` and :func:`retina_monai.data.files.mask_checks.check_masks`, or the arrays
            differ in size.
    """
    others = {"fov": fov, **others}
    masks = {"vessel": as_mask(vessel, "vessel")}
    masks |= {kind: as_mask(array, kind) for kind, array in others.items() if array is not None}
    shape = masks["vessel"].shape[1:]
    if other := [kind for kind, mask in masks.items() if mask.shape[1:] != shape]:
        raise RetinaError(
            f"{other[0]} is {masks[other[0]].shape[1:]} and vessel is {shape}: give arrays of the same size"
        )
    names, inside = {kind: kind for kind in masks}, masks.pop("fov", None)
    check_masks(masks, names, inside)
    return masks, inside


def photograph_and_fov(photograph: Any, fov: Any = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Check a photograph and its field of view.

    Args:
        photograph: uint8 ``(3, H, W)``, RGB.
        fov: field of view in the form accepted by :func:`as_mask`; ``None`` computes it from the photograph.

    Returns:
        The photograph, and the field of view ``(1, H, W)`` in {0, 1}.

    Raises:
        RetinaError: an array has another shape or type; the photograph is black; or the field of view is empty,
            inverted or excludes most of the photograph.
    """
    image = as_numbers(photograph, "photograph")
    if image.dtype != np.uint8 or image.ndim != 3 or len(image) != 3:
        raise RetinaError(f"photograph must be uint8 (3, H, W), RGB, got {image.dtype} {image.shape}")
    inside = compute_fov(image) if fov is None else as_mask(fov, "fov")
    if inside.shape[1:] != image.shape[1:]:
        raise RetinaError(
            f"fov is {inside.shape[1:]} and photograph is {image.shape[1:]}: give arrays of the same size"
        )
    check_masks({}, {} if fov is None else {"fov": "fov"}, inside, image)
    return image, inside
