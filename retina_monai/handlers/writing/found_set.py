"""Write masks segmented by networks as a data set for training generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.handlers.writing.sample_set import SYNTHETIC, SampleSet
from retina_monai.kinds import KINDS
from retina_monai.transforms.own_size import to_own_size

__all__ = ["FoundSet"]

THRESHOLD = 0.5


class FoundSet(SampleSet):
    """A :class:`SampleSet` of photographs with segmented masks, probabilities and fields of view.

    All pictures have the photograph's original size. Patient, data set, laterality, grade and split are those of the
    photograph. Masks are marked as segmented by a network rather than drawn by an observer: in the file (PNG text
    ``DerivedBy``), the manifest and the datalist (``vessel_by``). Synthetic photographs stay marked as synthetic.

    Args:
        output_dir: output folder.
        settings: settings that the samples depend on; ``bundle`` and ``weights`` identify the segmentation network.
        network_output: output of the segmentation network, as for :class:`SampleSet`.

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    keys: ClassVar[Sequence[str]] = (*SampleSet.keys, SYNTHETIC)

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any], network_output: NetworkOutput) -> None:
        super().__init__(output_dir, settings, network_output)
        kinds = network_output.kinds
        structures = " and ".join(KINDS[kind].many for kind in kinds)
        folders = " and ".join(f"{KINDS[kind].folders[0]}/" for kind in kinds)
        self.about = {"name": f"{structures} found", **{f"{kind}_by": self.found_by for kind in kinds}}
        self.facts = (
            f"Photographs with the {structures} that a network found in them. The photographs are those that were "
            "given, with the names of their files and patients: this set is as confidential as they are.",
            f"Labels: {folders} holds the pixels whose probability (probabilities/) is at least one half. No observer "
            "drew them.",
        )

    def finish(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        photograph, fov = (np.asarray(sample[key]).astype(np.uint8) for key in ("photograph", "fov"))
        box = np.asarray(sample["box"])
        found = {
            kind: to_own_size(np.asarray(probability), box, photograph.shape[1:]) * fov
            for kind, probability in sample["probabilities"].items()
        }
        masks = {kind: probability >= THRESHOLD for kind, probability in found.items()}
        return {**sample, "image": photograph, "fov": fov, "probabilities": found, **masks}
