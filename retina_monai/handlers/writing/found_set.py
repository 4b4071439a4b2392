"""Write masks segmented by networks as a data set for training other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.handlers.writing.sample_set import SYNTHETIC, SampleSet
from retina_monai.kinds import KINDS
from retina_monai.settings import SHARE, Rule
from retina_monai.transforms.disc import disc_in_photograph
from retina_monai.transforms.own_size import to_own_size

__all__ = ["FoundSet"]

THRESHOLD = 0.5
SETTINGS: dict[str, Rule] = {"least_confidence": SHARE}


class FoundSet(SampleSet):
    """A :class:`SampleSet` of photographs or vessel maps with segmented masks, probabilities and fields of view.

    All pictures have the photograph's original size, or that of the network if its input is a vessel map. Patient, data
    set, laterality, grade and split are those of the photograph. Masks are marked as segmented by a network rather than
    drawn by an observer: in the file (PNG text ``DerivedBy``), the manifest and the datalist (``vessel_by``,
    ``disc_by``). Synthetic photographs stay marked as synthetic.

    A kind whose ``form`` is ``disc`` has one area per eye, or no file if none was found
    (:func:`retina_monai.transforms.disc.disc_in_photograph`). The manifest then contains the ``confidence``, and the
    ``laterality`` that the disc implies if the photograph has none. Masks of other kinds are probabilities thresholded
    at 0.5.

    Masks of other kinds that a sample already has are written unchanged, so that one set can hold the results of
    several networks.

    Args:
        output_dir: output folder.
        settings: settings that the samples depend on; ``bundle`` and ``weights`` identify the segmentation network.
        network_output: output of the segmentation network, as for :class:`SampleSet`.
        least_confidence: minimum confidence of a disc.
        inputs: what the masks were segmented in, for ``README.txt``.

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    keys: ClassVar[Sequence[str]] = (*SampleSet.keys, SYNTHETIC)

    def __init__(
        self,
        output_dir: str | Path,
        settings: Mapping[str, Any],
        network_output: NetworkOutput,
        least_confidence: float = 0.0,
        inputs: str = "photographs",
    ) -> None:
        super().__init__(output_dir, settings, network_output)
        self.least_confidence = least_confidence
        kinds = {kind: KINDS[kind] for kind in network_output.kinds}
        structures = " and ".join(kind.many for kind in kinds.values())
        self.about = {"name": f"{structures} found", **{f"{kind}_by": self.found_by for kind in kinds}}
        labels = []
        for kind in kinds.values():
            marked = "the pixels whose probability (probabilities/) is at least one half"
            if kind.form == "disc":
                marked = (
                    f"one {kind.one} for each eye in which one was found with a confidence of at least "
                    f"{least_confidence:g}, and no file for the others"
                )
            labels.append(f"{kind.folders[0]}/ holds {marked}")
        self.facts = (
            f"{inputs.capitalize()} with the {structures} that a network found in them. The {inputs} are those that "
            "were given, with the names of their files and patients: this set is as confidential as they are.",
            f"Labels: {'; '.join(labels)}. No observer drew them.",
        )

    def finish(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        fov = np.asarray(sample["fov"]).astype(np.uint8)
        box = np.asarray(sample.get("box", (0, 0, *fov.shape[1:])))
        finished = {SYNTHETIC: 0, **sample, "fov": fov, "probabilities": {}}
        if "photograph" in sample:
            finished["image"] = np.asarray(sample["photograph"]).astype(np.uint8)
        for kind, square in sample["probabilities"].items():
            probability = to_own_size(np.asarray(square), box, fov.shape[1:]) * fov
            finished["probabilities"][kind] = probability
            finished[kind] = probability >= THRESHOLD
            if KINDS[kind].form == "disc":
                finished[kind], confidence, side = disc_in_photograph(square, box, fov, self.least_confidence)
                finished |= {"confidence": round(confidence, 3), "laterality": sample.get("laterality") or side}
        return finished
