"""The two stages of ``two_stage`` on arrays: colour the vessels, and paint the photograph around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.sets.color_vessels import outpainting_input
from retina_monai.errors import RetinaError
from retina_monai.synthesis.arrays import as_numbers
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms.vessel_label import HALF, rounded_share

__all__ = ["Outpainter", "VesselColorer"]


class VesselColorer(LoadedBundle):
    """A bundle that colours the vessels of a vessel map.

    Args:
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.
    """

    def __call__(self, share: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Colour one map.

        Args:
            share: ``(size, size)`` in [0, 255], the share of each pixel covered by vessels.

        Returns:
            Colour vessel mask ``(3, size, size)``, RGB: canonical colours on vessels, black elsewhere.

        Raises:
            RetinaError: the map has another size, or is scaled to [0, 1].
        """
        _check(self, share)
        return _rounded(self.run(share))


class Outpainter(LoadedBundle):
    """A bundle that paints the photograph around a colour vessel mask without changing the vessels.

    Args:
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.
    """

    def __call__(
        self, color: NDArray[np.uint8], share: NDArray[np.float32], fov: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Paint one photograph.

        Args:
            color: colour vessel mask ``(3, size, size)``, RGB.
            share: ``(size, size)`` in [0, 255], the share of each pixel covered by vessels; vessel from one half up.
            fov: ``(1, size, size)`` in {0, 1}.

        Returns:
            ``(3, size, size)``, RGB, in the canonical appearance.

        Raises:
            RetinaError: as :meth:`VesselColorer.__call__`, or ``color`` or ``fov`` has another size.
        """
        _check(self, share)
        for name, array, channels in (("color", color, 3), ("fov", fov, 1)):
            if np.shape(array) != (channels, self.size, self.size):
                raise RetinaError(f"{name} must have shape {(channels, self.size, self.size)}, got {np.shape(array)}")
        return _rounded(self.run(outpainting_input({"color_vessel": color, "vessel_share": share[None], "fov": fov})))


def _check(bundle: LoadedBundle, share: NDArray[np.float32]) -> None:
    """Reject a map of another size or scale, whose output would be black, and implausible vessel maps."""
    as_numbers(share, "share")
    if np.shape(share) != (bundle.size, bundle.size):
        raise RetinaError(
            f"share must have shape {(bundle.size, bundle.size)} for {bundle.name}, got {np.shape(share)}: resize the "
            "vessel map with retina_monai.data.fit_vessel_map"
        )
    if 0 < np.max(share) <= 1:
        raise RetinaError(f"share must be in [0, 255], got a maximum of {np.max(share):g}: multiply it by 255")
    if (marked := rounded_share(share)[None] >= HALF).any():  # thin vessels alone may never reach one half
        check_masks({"vessel": marked.astype(np.uint8)}, {"vessel": "share"})


def _rounded(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(picture).astype(np.uint8)
