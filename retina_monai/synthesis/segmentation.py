"""Vessel segmentation of arrays with a bundle, by the same code as its ``inference.json``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.sets.photographs import fit_photograph
from retina_monai.synthesis.arrays import photograph_and_fov
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms.own_size import to_own_size

__all__ = ["VesselSegmenter"]


class VesselSegmenter(LoadedBundle):
    """A bundle that segments the vessels of photographs.

    Args:
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: as :class:`LoadedBundle`.
    """

    def __call__(self, photograph: NDArray[np.uint8], fov: NDArray | None = None) -> NDArray[np.float32]:
        """Segment the vessels of one photograph.

        Args:
            photograph: uint8 ``(3, H, W)``, RGB, of any size.
            fov: field of view in the form accepted by :func:`retina_monai.synthesis.arrays.as_mask`; ``None`` computes
                it from the photograph.

        Returns:
            Vessel probabilities, float32 ``(H, W)`` in [0, 1]; 0 outside the field of view. Threshold at 0.5.

        Raises:
            RetinaError: as :func:`retina_monai.synthesis.arrays.photograph_and_fov`.
        """
        image, inside = photograph_and_fov(photograph, fov)
        fitted, box = fit_photograph(image, inside, self.size)
        return to_own_size(self.run(fitted), box, image.shape[1:])[0] * inside[0]
