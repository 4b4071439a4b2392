"""Vessel segmentation of arrays with a bundle, by the same code as its ``inference.json``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.sets.photographs import fit_photograph
from retina_monai.errors import RetinaError
from retina_monai.synthesis.arrays import as_mask, as_numbers
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms.field_of_view import compute_fov
from retina_monai.transforms.own_size import to_own_size

__all__ = ["VesselSegmenter"]


class VesselSegmenter(LoadedBundle):
    """A bundle that segments the vessels of photographs.

    Args:
        bundle, checkpoint, trust: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: as :class:`LoadedBundle`.
    """

    def __init__(
        self, bundle: str | Path = "iternet_vessel", checkpoint: str | Path | None = None, trust: bool = False
    ) -> None:
        super().__init__(bundle, checkpoint, trust)

    def __call__(self, photograph: NDArray[np.uint8], fov: NDArray | None = None) -> NDArray[np.float32]:
        """Segment the vessels of one photograph.

        Args:
            photograph: uint8 ``(3, H, W)``, RGB, of any size.
            fov: field of view in the form accepted by :func:`retina_monai.synthesis.arrays.as_mask`; ``None`` computes
                it from the photograph.

        Returns:
            Vessel probabilities, float32 ``(H, W)`` in [0, 1]; 0 outside the field of view. Threshold at 0.5.

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
        fitted, box = fit_photograph(image, inside, self.size)
        return to_own_size(self.run(fitted), box, image.shape[1:])[0] * inside[0]
