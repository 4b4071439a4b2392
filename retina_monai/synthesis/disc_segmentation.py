"""Optic disc segmentation of arrays with a bundle, by the same code as its ``inference.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.sets.photographs import fit_photograph
from retina_monai.synthesis.arrays import photograph_and_fov
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms.disc import disc_in_photograph

__all__ = ["Disc", "DiscSegmenter"]


@dataclass(frozen=True)
class Disc:
    """The optic disc of a photograph.

    Attributes:
        mask: uint8 ``(H, W)`` in {0, 1}; empty if no disc was found.
        confidence: confidence in [0, 1].
        laterality: ``L`` or ``R``; empty if the position of the disc does not determine it.
    """

    mask: NDArray[np.uint8]
    confidence: float
    laterality: str


class DiscSegmenter(LoadedBundle):
    """A bundle that segments the optic disc of photographs.

    Args:
        bundle, checkpoint, trust: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: as :class:`LoadedBundle`.
    """

    def __init__(self, bundle: str | Path, checkpoint: str | Path | None = None, trust: bool = False) -> None:
        super().__init__(bundle, checkpoint, trust)
        self.least_confidence = float(self.part("least_confidence"))

    def __call__(self, photograph: NDArray[np.uint8], fov: NDArray | None = None) -> Disc:
        """Segment the optic disc of one photograph.

        Args:
            photograph: uint8 ``(3, H, W)``, RGB, of any size.
            fov: field of view in the form accepted by :func:`retina_monai.synthesis.arrays.as_mask`; ``None`` computes
                it from the photograph.

        Raises:
            RetinaError: as :func:`retina_monai.synthesis.arrays.photograph_and_fov`.
        """
        image, inside = photograph_and_fov(photograph, fov)
        fitted, box = fit_photograph(image, inside, self.size)
        mask, confidence, side = disc_in_photograph(self.run(fitted), box, inside, self.least_confidence)
        return Disc(mask[0], confidence, side)
