"""A loaded bundle as a function: photograph in, vessels out; the same code as the bundle's ``inference.json``."""

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
    """A bundle that finds vessels in photographs.

    Args:
        bundle, checkpoint, trust: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: no such bundle, or weights that do not fit it.
    """

    def __init__(
        self, bundle: str | Path = "iternet_vessel", checkpoint: str | Path | None = None, trust: bool = False
    ) -> None:
        super().__init__(bundle, checkpoint, trust)

    def __call__(self, photograph: NDArray[np.uint8], fov: NDArray | None = None) -> NDArray[np.float32]:
        """Find the vessels of one photograph.

        Args:
            photograph: uint8 ``(3, H, W)``, RGB, of any size.
            fov: field of view, as :func:`retina_monai.synthesis.arrays.as_mask` takes it; ``None``: it is computed.

        Returns:
            Probabilities, float32 ``(H, W)`` in [0, 1]; 0 outside of the field of view. Vessel is from 0.5 on.

        Raises:
            RetinaError: arrays of other shapes or types; a photograph that is black; a field of view that is empty,
                inverted, or leaves out most of what the photograph shows.
        """
        image = as_numbers(photograph, "photograph")
        if image.dtype != np.uint8 or image.ndim != 3 or len(image) != 3:
            raise RetinaError(f"photograph is {image.dtype} {image.shape}: give uint8 (3, H, W), RGB")
        inside = compute_fov(image) if fov is None else as_mask(fov, "fov")
        if inside.shape[1:] != image.shape[1:]:
            raise RetinaError(f"fov is {inside.shape[1:]} and photograph {image.shape[1:]}: give arrays of one size")
        check_masks({}, {} if fov is None else {"fov": "fov"}, inside, image)
        fitted, box = fit_photograph(image, inside, self.size)
        return to_own_size(self.run(fitted), box, image.shape[1:])[0] * inside[0]
