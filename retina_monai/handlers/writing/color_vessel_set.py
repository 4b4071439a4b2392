"""Write colour vessel masks as a set that ``lama_fundus`` paints around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from retina_monai.handlers.pictures import to_uint8
from retina_monai.handlers.writing.sample_set import SampleSet
from retina_monai.handlers.writing.synthetic_set import NAMES, told_condition
from retina_monai.transforms.vessel_label import HALF

__all__ = ["ColorVesselSet"]


class ColorVesselSet(SampleSet):
    """Write colour vessel mask, vessel map and field of view of each sample, as :class:`SampleSet` says.

    The vessel map twice: as the label (``vessels``), and as the share of each pixel that vessels cover
    (``vessel_shares``), from half of which on a pixel has a colour.

    Args:
        output_dir: where to write.
        settings: what the samples depend on; kept in ``settings.json``.

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    keys: ClassVar[Sequence[str]] = (*SampleSet.keys, "condition")
    facts: ClassVar[Sequence[str]] = (
        "Vessels of the retina in colour, drawn by a network, for lama_fundus to paint around. They show nobody's eye. "
        "For research only.",
        "color_vessels/ holds the colours, vessel_shares/ the share of each pixel that vessels cover, vessels/ the "
        "vessel map as a label, fovs/ the field of view. Nobody drew them on a photograph.",
        NAMES,
    )

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any]) -> None:
        super().__init__(output_dir, settings, {"name": "synthetic colour vessel masks", "synthetic": True})

    def write_sample(self, item: Mapping[str, Any], pred: Tensor) -> dict[str, Any]:
        name, fov = str(item["name"]), _plain(item["fov"]).cpu() > 0
        share = _plain(item["vessel_share"]).cpu().numpy()
        color = to_uint8(_plain(pred).cpu().float() / 127.5 - 1) * ((share >= HALF) & fov.numpy())
        pictures = {
            "color_vessel": color,
            "vessel_share": share,
            "vessel": _plain(item["label"]).cpu(),
            "fov": fov,
        }
        return {
            "name": name,
            **self.write_pictures(name, pictures),
            "patient": str(item["patient"]),
            "dataset": "synthetic",
            "source": Path(str(item["source"])).name,
            "index": int(item["index"]),
            "seed": self.settings.get("seed"),
            **told_condition(item),
            "synthetic": True,
        }


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
