"""The generator of a synthetic set, as the sensitivity test of faithfulness asks for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.bundle import digest, find_bundle
from retina_monai.errors import RetinaError
from retina_monai.evaluation.eye import Eye, as_image, as_mask
from retina_monai.synthesis.photographs import PhotographGenerator
from retina_monai.transforms import measure_appearance
from retina_monai.transforms.field_of_view import resize_area

__all__ = ["Painter", "find_painter"]

logger = logging.getLogger("retina_monai")


class Painter:
    """Paint a photograph around a vessel map, with the colours of another; without texture, which is not the network's.

    Args:
        bundle: name of the bundle, or its path.
        weights: SHA-256 of the weights.

    Raises:
        RetinaError: the bundle cannot be loaded.
    """

    def __init__(self, bundle: str, weights: str) -> None:
        self.name = f"{Path(bundle).name} {weights[:12]}"
        self.generator = PhotographGenerator(bundle)

    def __call__(self, vessel: NDArray[np.float32], fov: NDArray[np.bool_], like: Eye) -> NDArray[np.uint8]:
        """From the share of each pixel that vessels cover, (S, S), and the field of view to (3, S, S)."""
        appearance = measure_appearance(as_image(like)[0], as_mask(like.fov)[0])
        size = self.generator.size
        share = resize_area(np.asarray(vessel, np.float32)[None] * 255, size)[0]
        inside = (resize_area(fov[None].astype(np.float32), size) >= 0.5).astype(np.uint8)
        painted = self.generator.paint(share, inside, appearance)
        return np.rint(resize_area(painted, len(vessel))).astype(np.uint8)

    def __str__(self) -> str:
        return self.name


def find_painter(settings: Mapping[str, Any]) -> Painter | None:
    """The generator that wrote these settings, if its bundle is there and holds the very weights.

    Args:
        settings: of ``settings.json`` in a synthetic set.
    """
    bundle, weights = str(settings.get("bundle", "")), str(settings.get("weights", ""))
    try:
        if not bundle or digest(find_bundle(bundle) / "models" / "model.pt") != weights:
            return None
        return Painter(bundle, weights)
    except RetinaError as error:
        logger.warning("the generator of the synthetic set is not at hand: %s", error)
        return None
