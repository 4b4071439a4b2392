"""Write the vessel maps that were found in photographs as a data set that trains what draws photographs around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.pseudonyms import IDENTITY
from retina_monai.handlers.writing.sample_set import SampleSet
from retina_monai.transforms.own_size import to_own_size

__all__ = ["VesselSet"]

THRESHOLD = 0.5


class VesselSet(SampleSet):
    """Write photograph, vessel map, probabilities and field of view of each, as :class:`SampleSet` says.

    All are of the photograph's own size. Patient, data set, laterality and split are those of the photograph. A vessel
    map that was found is not one that somebody drew: its file (PNG text ``DerivedBy``) says so, and its line of the
    manifest and of the datalist (``vessel_by``). A photograph that is synthetic stays marked so.

    Args:
        output_dir: where to write.
        settings: what the samples depend on; ``bundle`` and ``weights`` name who found the vessels.

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    keys: ClassVar[Sequence[str]] = (*SampleSet.keys, "grade", "vessel_by", "synthetic", IDENTITY)

    facts: ClassVar[Sequence[str]] = (
        "Photographs with the vessel maps that a network found in them. The photographs are those that were given, "
        "with the names of their files and patients: this set is as confidential as they are.",
        "Labels: vessels/ holds the pixels whose probability (probabilities/) is at least one half. No observer drew "
        "them.",
    )

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any]) -> None:
        self.found_by = f"{settings['bundle']} {str(settings['weights'])[:12]}"
        super().__init__(output_dir, settings, {"name": "vessels found", "vessel_by": self.found_by})

    def write_sample(self, item: Mapping[str, Any], pred: Tensor) -> dict[str, Any]:
        photograph, fov = (np.asarray(item[key]).astype(np.uint8) for key in ("photograph", "fov"))
        probability = to_own_size(torch.as_tensor(pred).cpu().numpy(), np.asarray(item["box"]), photograph.shape[1:])
        probability *= fov
        shades = np.rint(probability * 255).astype(np.uint8)
        found = {"DerivedBy": f"{self.found_by}, not drawn by an observer"}
        name, synthetic = str(item["name"]), bool(item["synthetic"])
        paths = self.write_pictures(name, {"image": photograph, "fov": fov}, synthetic)
        paths |= self.write_pictures(name, {"vessel": probability >= THRESHOLD}, synthetic, found)
        probabilities = f"probabilities/{name}.png"
        write_png(self.output_dir / probabilities, shades, synthetic, found)
        told = {key: item[key] for key in ("patient", "dataset", "laterality", "split") if item.get(key)}
        grade = {"grade": int(item["grade"])} if int(item.get("grade", -1)) >= 0 else {}
        source = {"source": Path(str(item["source"])).name, "index": int(item["index"])}
        mark = {"synthetic": True} if synthetic else {}
        identity = {IDENTITY: str(item[IDENTITY]).split()} if item.get(IDENTITY) else {}
        return {
            "name": name,
            **paths,
            "probability": probabilities,
            **told,
            **grade,
            **source,
            "vessel_by": self.found_by,
            **mark,
            **identity,
        }
