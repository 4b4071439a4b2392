"""Any bundle as a function, by what it is for."""

from __future__ import annotations

import json
from pathlib import Path

from retina_monai.bundle import find_bundle
from retina_monai.errors import RetinaError
from retina_monai.synthesis.photographs import PhotographGenerator
from retina_monai.synthesis.vessels import VesselSegmenter

__all__ = ["load"]

TASKS: dict[str, type[PhotographGenerator] | type[VesselSegmenter]] = {
    "Synthesis": PhotographGenerator,
    "Segmentation": VesselSegmenter,
}
"""By the first word of ``task`` in the bundle's metadata."""


def load(bundle: str = "pix2pix_vessel", checkpoint: str | Path | None = None) -> PhotographGenerator | VesselSegmenter:
    """Load a bundle as a function.

    Args:
        bundle: name of a bundle, or the path of one.
        checkpoint: other weights than the released ones.

    Returns:
        Of a bundle for synthesis, vessel map -> photograph (:class:`PhotographGenerator`); of one for segmentation,
        photograph -> probabilities of vessels (:class:`VesselSegmenter`).

    Raises:
        RetinaError: no such bundle, one for another task, or weights that do not fit it.
    """
    metadata = json.loads((find_bundle(bundle) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    task = str(metadata.get("task", ""))
    if task.partition(" ")[0] not in TASKS:
        raise RetinaError(f"bundle {bundle} is for {task or 'no task'}: load takes bundles for {' or '.join(TASKS)}")
    return TASKS[task.partition(" ")[0]](bundle, checkpoint)
