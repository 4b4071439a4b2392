"""The two stages of ``two_stage`` on arrays: colour the vessels, and paint the photograph around them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.files.mask_checks import check_masks
from retina_monai.errors import RetinaError
from retina_monai.synthesis.arrays import as_numbers
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.synthesis.chains import completed
from retina_monai.transforms.vessel_label import HALF, rounded_share

__all__ = ["Outpainter", "VesselColorer"]


class VesselColorer(LoadedBundle):
    """A bundle that colours the vessels of a vessel map.

    Args:
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.
    """

    def __call__(self, share: NDArray[np.float32], disc: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Colour one map.

        Args:
            share: ``(size, size)`` in [0, 255], the share of each pixel covered by vessels.
            disc: optic disc ``(1, size, size)`` in {0, 1}, for a network that takes one; by default the disc is found
                from the vessel map.

        Returns:
            Colour vessel mask ``(3, size, size)``, RGB: canonical colours on vessels, black elsewhere.

        Raises:
            RetinaError: the map or the disc has another size, or the map is scaled to [0, 1].
        """
        return _drawn(self, "color_vessel", share, disc=disc)


class Outpainter(LoadedBundle):
    """A bundle that paints the photograph around a colour vessel mask without changing the vessels.

    Args:
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.
    """

    def __call__(
        self,
        color_vessel: NDArray[np.uint8],
        share: NDArray[np.float32],
        fov: NDArray[np.uint8],
        disc: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Paint one photograph.

        Args:
            color_vessel: colour vessel mask ``(3, size, size)``, RGB.
            share: ``(size, size)`` in [0, 255], the share of each pixel covered by vessels; vessel from one half up.
            fov: ``(1, size, size)`` in {0, 1}.
            disc: as for :meth:`VesselColorer.__call__`.

        Returns:
            ``(3, size, size)``, RGB, in the canonical appearance.

        Raises:
            RetinaError: as :meth:`VesselColorer.__call__`, or ``color_vessel`` or ``fov`` has another size.
        """
        return _drawn(self, "image", share, color_vessel=color_vessel, fov=fov, disc=disc)


def _drawn(bundle: LoadedBundle, kind: str, share: NDArray[np.float32], **given: Any) -> NDArray[np.uint8]:
    """Run a bundle on a map that it would not draw in black, and on pictures of the map's size."""
    as_numbers(share, "share")
    side = bundle.size
    if np.shape(share) != (side, side):
        raise RetinaError(
            f"share must have shape {(side, side)} for {bundle.name}, got {np.shape(share)}: resize the vessel map "
            "with retina_monai.data.fit_vessel_map"
        )
    if 0 < np.max(share) <= 1:
        raise RetinaError(f"share must be in [0, 255], got a maximum of {np.max(share):g}: multiply it by 255")
    pictures = {name: picture for name, picture in given.items() if picture is not None}
    for name, picture in pictures.items():
        shape = (3 if name == "color_vessel" else 1, side, side)
        if np.shape(picture) != shape:
            raise RetinaError(f"{name} must have shape {shape}, got {np.shape(picture)}")
    if (marked := rounded_share(share)[None] >= HALF).any():  # thin vessels alone may never reach one half
        check_masks({"vessel": marked.astype(np.uint8)}, {"vessel": "share"})
    made = bundle.draw(completed({"vessel_share": share[None], **pictures}, bundle))
    return np.rint(made[kind]).astype(np.uint8)
