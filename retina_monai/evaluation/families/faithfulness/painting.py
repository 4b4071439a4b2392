"""The generator of a synthetic set, for the sensitivity test of faithfulness."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring.eye import Eye, as_image, as_mask
from retina_monai.synthesis import Chain, PhotographGenerator, load_chain
from retina_monai.transforms import measure_appearance
from retina_monai.transforms.field_of_view import resize_area

__all__ = ["Painter", "find_painter"]

logger = logging.getLogger("retina_monai")


class Painter:
    """Generate a photograph from a vessel map, with the disc, the colours and the noise of another eye.

    Texture is left out, since it is not made by the network.
    Args:
        chain: the generator.
    """

    def __init__(self, chain: PhotographGenerator) -> None:
        weights = [chain.weights] if isinstance(chain.weights, str) else chain.weights.values()
        self.name = " ".join([chain.name, *(digest[:12] for digest in weights)])
        self.chain = chain

    def __call__(self, vessel: NDArray[np.float32], fov: NDArray[np.bool_], like: Eye) -> NDArray[np.uint8]:
        """Covered share of each pixel, (S, S), and field of view, (S, S) -> photograph, (3, S, S)."""
        appearance = measure_appearance(as_image(like)[0], as_mask(like.fov)[0])
        size = self.chain.size
        share = resize_area(np.asarray(vessel, np.float32)[None] * 255, size)
        inside = (resize_area(fov[None].astype(np.float32), size) >= 0.5).astype(np.uint8)
        latent = like.condition.latent if like.condition else 0
        sample = {"vessel_share": share, "fov": inside}
        if "disc" in like.masks:
            sample["disc"] = (resize_area(like.masks["disc"][None], size) >= 0.5).astype(np.uint8)
        painted = self.chain.paint(sample, appearance, latent=latent)
        return np.rint(resize_area(painted, len(vessel))).astype(np.uint8)

    def __str__(self) -> str:
        return self.name


def find_painter(
    settings: Mapping[str, Any], generator: str | Path | Chain | None = None, trust: bool = False
) -> Painter | None:
    """The generator that made a synthetic set, with its sampling settings; ``None`` if it is not available.

    Args:
        settings: content of ``settings.json`` of the synthetic set.
        generator: the bundle or chain, or its path; ``None`` for the bundle of this library that ``settings`` names.
        trust: as for :func:`retina_monai.load`, for ``generator``.

    Raises:
        RetinaError: ``generator`` cannot be loaded or has other weights.
    """
    named = str(settings.get("bundle", ""))
    try:
        given = generator if generator is not None else named
        chain = given if isinstance(given, Chain) else load_chain(given, trust=trust) if given else None
        if chain is not None and not isinstance(chain, PhotographGenerator):
            raise RetinaError(f"{chain.name} does not generate photographs from vessel maps")
    except RetinaError as error:
        if generator is not None:
            raise
        logger.warning("the generator of the synthetic set is not available: %s", error)
        return None
    if chain is None or chain.weights != settings.get("weights"):
        if generator is not None:
            raise RetinaError(f"generator {generator} has other weights than the one that made the synthetic set")
        return None
    chain.bundles[-1].draw_as(settings)
    return Painter(chain)
