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

__all__ = ["as_mask", "as_numbers", "photograph_and_fov"]


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
