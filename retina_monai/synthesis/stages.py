"""The two stages as functions: vessels in colour, and the photograph around them."""

from __future__ import annotations

from pathlib import Path

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
    """A bundle that gives the vessels of a map their colours.

    Args:
        bundle, checkpoint, trust: as for :class:`LoadedBundle`.
    """

    def __init__(
        self, bundle: str | Path = "pix2pix_color_vessel", checkpoint: str | Path | None = None, trust: bool = False
    ) -> None:
        super().__init__(bundle, checkpoint, trust)

    def __call__(self, share: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Colour one map.

        Args:
            share: ``(size, size)`` in [0, 255], what of each pixel vessels cover.

        Returns:
            Colour vessel mask ``(3, size, size)``, RGB: canonical colours on vessels, black elsewhere.

        Raises:
            RetinaError: a map of another size, or one of 0 and 1.
        """
        _check(self, share)
        return _rounded(self.run(share))


class Outpainter(LoadedBundle):
    """A bundle that paints the photograph around a colour vessel mask, whose vessels stay as they are.

    Args:
        bundle, checkpoint, trust: as for :class:`LoadedBundle`.
    """

    def __init__(
        self, bundle: str | Path = "lama_fundus", checkpoint: str | Path | None = None, trust: bool = False
    ) -> None:
        super().__init__(bundle, checkpoint, trust)

    def __call__(
        self, color: NDArray[np.uint8], share: NDArray[np.float32], fov: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Paint one photograph.

        Args:
            color: colour vessel mask ``(3, size, size)``, RGB.
            share: ``(size, size)`` in [0, 255], what of each pixel vessels cover: vessel from half of it on.
            fov: ``(1, size, size)`` in {0, 1}.

        Returns:
            ``(3, size, size)``, RGB, in the canonical appearance.

        Raises:
            RetinaError: as :meth:`VesselColorer.__call__`; colours or field of view of another size.
        """
        _check(self, share)
        for name, array, channels in (("color", color, 3), ("fov", fov, 1)):
            if np.shape(array) != (channels, self.size, self.size):
                raise RetinaError(f"{name} has shape {np.shape(array)}: give {(channels, self.size, self.size)}")
        return _rounded(self.run(outpainting_input({"color_vessel": color, "vessel_share": share[None], "fov": fov})))


def _check(bundle: LoadedBundle, share: NDArray[np.float32]) -> None:
    """Refuse a map of another size or scale, which would come out black, and what a map never shows."""
    as_numbers(share, "share")
    if np.shape(share) != (bundle.size, bundle.size):
        raise RetinaError(
            f"share has shape {np.shape(share)}, and {bundle.name} takes {(bundle.size, bundle.size)}: "
            "retina_monai.data.fit_vessel_map brings a vessel map there"
        )
    if 0 < np.max(share) <= 1:
        raise RetinaError("share is at most 1: give what of each pixel vessels cover on the scale of [0, 255]")
    if (marked := rounded_share(share)[None] >= HALF).any():  # of thin vessels alone none may reach the half
        check_masks({"vessel": marked.astype(np.uint8)}, {"vessel": "share"})


def _rounded(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(picture).astype(np.uint8)
