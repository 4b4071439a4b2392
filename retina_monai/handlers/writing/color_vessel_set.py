"""Write colour vessel masks as input of ``lama_fundus``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retina_monai.handlers.writing.sample_set import SampleSet
from retina_monai.handlers.writing.synthetic_set import NAMES
from retina_monai.transforms.vessel_label import HALF, rounded_share

__all__ = ["ColorVesselSet"]


class ColorVesselSet(SampleSet):
    """A :class:`SampleSet` of colour vessel masks, vessel maps and fields of view.

    The vessel map is written as a label (``vessels``) and as the share of each pixel covered by vessels
    (``vessel_shares``). A pixel is coloured if at least half of it is vessel.
    """

    facts: Sequence[str] = (
        "Vessels of the retina in colour, drawn by a network, for lama_fundus to paint around. They show nobody's eye. "
        "For research only.",
        "color_vessels/ holds the colours, vessel_shares/ the share of each pixel that vessels cover, vessels/ the "
        "vessel map as a label, fovs/ the field of view. Nobody drew them on a photograph.",
        NAMES,
    )
    about: Mapping[str, Any] = {"name": "synthetic colour vessel masks", "synthetic": True}

    def finish(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        colored = (rounded_share(np.asarray(sample["vessel_share"])) >= HALF) & (np.asarray(sample["fov"]) > 0)
        return {**sample, "color_vessel": np.asarray(sample["color_vessel"]) * colored}
