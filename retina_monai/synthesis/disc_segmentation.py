"""Optic disc segmentation of photographs and vessel maps with bundles, by the same code as their ``inference.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.sets.photographs import fit_photograph
from retina_monai.data.sets.vessel_maps import fit_vessel_map
from retina_monai.synthesis.arrays import photograph_and_fov, vessels_and_masks
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms.disc import disc_in_photograph
from retina_monai.transforms.field_of_view import fov_box, resize_area

__all__ = ["Disc", "DiscFinder", "DiscSegmenter", "MapDiscSegmenter"]


@dataclass(frozen=True)
class Disc:
    """The optic disc of a photograph or vessel map.

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
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: as :class:`LoadedBundle`.
    """

    @cached_property
    def least_confidence(self) -> float:
        """Minimum confidence of a disc."""
        return float(self.part("least_confidence"))

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


class MapDiscSegmenter(DiscSegmenter):
    """A bundle that finds the optic disc in vessel maps.

    Args:
        bundle, checkpoint, trust, size: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: as :class:`LoadedBundle`.
    """

    def __call__(self, vessel: NDArray, fov: NDArray | None = None) -> Disc:
        """Find the optic disc of one vessel map.

        Args:
            vessel: vessel map in the form accepted by :func:`retina_monai.synthesis.arrays.as_mask`, of any size.
            fov: field of view in the same form. If ``None``, the map is not cropped.

        Raises:
            RetinaError: the arrays differ in size, or as :func:`retina_monai.synthesis.arrays.vessels_and_masks`.
        """
        masks, inside = vessels_and_masks(vessel, fov)
        mask = masks["vessel"]
        fitted = fit_vessel_map(mask, inside, self.size)
        box, shown = ((0, 0, *mask.shape[1:]), np.ones_like(mask)) if inside is None else (fov_box(inside), inside)
        found, confidence, side = disc_in_photograph(
            self.run(fitted["vessel_share"][0]), box, shown, self.least_confidence
        )
        return Disc(found[0], confidence, side)


class DiscFinder:
    """Find the optic disc of vessel maps, for generators that need a disc mask that was not given.

    Args:
        checkpoint: weights to use instead of the released ones of ``bundle``.
        bundle, trust: bundle from vessel map to disc mask, as for :class:`LoadedBundle`. It is loaded on first use.
    """

    def __init__(
        self, checkpoint: str | Path | None = None, bundle: str | Path = "disc_from_vessels", trust: bool = False
    ) -> None:
        self.checkpoint, self.bundle, self.trust = checkpoint, bundle, trust

    @cached_property
    def segmenter(self) -> MapDiscSegmenter:
        """The loaded bundle."""
        return MapDiscSegmenter(self.bundle, self.checkpoint, self.trust)

    @property
    def settings(self) -> dict[str, str]:
        """Settings that the discs depend on: the SHA-256 of the weights."""
        return {"disc_weights": self.segmenter.weights}

    def __call__(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        """Add ``disc`` to a sample, uint8 ``(1, S, S)`` in {0, 1}; it is empty if no disc was found in the frame.

        Args:
            sample: ``vessel_share`` ``(1, S, S)`` in [0, 255] and ``fov`` ``(1, S, S)`` in {0, 1}.

        Returns:
            The sample with ``disc`` and ``disc_by``, the bundle and the digest of its weights.
        """
        segmenter, fov = self.segmenter, np.asarray(sample["fov"]).astype(np.uint8)
        share = resize_area(np.asarray(sample["vessel_share"], np.float32), segmenter.size)
        whole = (0, 0, *fov.shape[1:])
        mask, _, _ = disc_in_photograph(segmenter.run(share[0]), whole, fov, segmenter.least_confidence)
        found_by = f"{segmenter.name} {segmenter.weights[:12]}, found from the vessel map"
        return {**sample, "disc": mask, "disc_by": found_by}
