"""Any bundle as a function, by what it is for, and any chain by its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retina_monai.bundle import find_bundle
from retina_monai.errors import RetinaError
from retina_monai.synthesis.chains import CHAINS, Chain, PhotographGenerator
from retina_monai.synthesis.stages import Outpainter, VesselColorer
from retina_monai.synthesis.vessels import VesselSegmenter

__all__ = ["load", "load_chain"]

TASKS: dict[str, Callable[[str, Any], Any]] = {
    "Synthesis": PhotographGenerator,
    "Segmentation": VesselSegmenter,
    "Colouring": VesselColorer,
    "Outpainting": Outpainter,
}
"""By the first word of ``task`` in the bundle's metadata."""


def load(bundle: str = "pix2pix_vessel", checkpoint: str | Path | Mapping[str, str | Path] | None = None) -> Any:
    """Load a bundle, or a chain of several, as a function.

    Args:
        bundle: name of a bundle, or the path of one, or the name of a chain (``two_stage``).
        checkpoint: other weights than the released ones; of a chain a dictionary, by the names of its bundles.

    Returns:
        Of a bundle for synthesis, and of a chain, vessel map -> photograph (:class:`Chain`); of one for segmentation,
        photograph -> probabilities of vessels (:class:`VesselSegmenter`); of one for colouring, vessel map -> colour
        vessel mask (:class:`VesselColorer`); of one for outpainting, colour vessel mask, vessel map and
        field of view -> photograph in the canonical appearance (:class:`Outpainter`).

    Raises:
        RetinaError: no such bundle, one for another task, or weights that do not fit it.
    """
    if bundle in CHAINS:
        return CHAINS[bundle](checkpoint)
    metadata = json.loads((find_bundle(bundle) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    task = str(metadata.get("task", ""))
    if task.partition(" ")[0] not in TASKS:
        raise RetinaError(f"bundle {bundle} is for {task or 'no task'}: load takes bundles for {', '.join(TASKS)}")
    return TASKS[task.partition(" ")[0]](bundle, checkpoint)


def load_chain(
    bundle: str = "pix2pix_vessel", checkpoint: str | Path | Mapping[str, str | Path] | None = None
) -> Chain:
    """As :func:`load`, of what paints photographs around vessel maps.

    Raises:
        RetinaError: the bundle does something else; or as :func:`load`.
    """
    loaded = load(bundle, checkpoint)
    if isinstance(loaded, Chain):
        return loaded
    raise RetinaError(
        f"bundle {bundle} alone makes no photograph of a vessel map: give {', '.join(CHAINS)}, or one that does"
    )
