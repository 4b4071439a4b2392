"""Write colour vessel masks as a set that ``lama_fundus`` paints around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from retina_monai.data.color_vessels import FOLDER, HALF, SHARES, rounded_share
from retina_monai.data.writing import write_png
from retina_monai.handlers.pictures import to_uint8
from retina_monai.handlers.sample_set import SampleSet
from retina_monai.handlers.synthetic_set import told_condition

__all__ = ["ColorVesselSet"]


class ColorVesselSet(SampleSet):
    """Write colour vessel mask, vessel map and field of view of each sample, as :class:`SampleSet` says.

    The vessel map twice: as a label of vessel or none, and as the share of each pixel that vessels cover.

    Args:
        output_dir: where to write.
        settings: what the samples depend on; kept in ``settings.json``.
        condition_key: entry of the evaluator's batch: vessel map ``(1, H, W)`` in [-1, 1].

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    keys: ClassVar[Sequence[str]] = (
        "color_vessel",
        "vessel_share",
        *(key for key in SampleSet.keys if key != "image"),
        "condition",
    )

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any], condition_key: str = "image") -> None:
        super().__init__(output_dir, settings, {"name": "synthetic colour vessel masks", "synthetic": True})
        self.condition_key = condition_key

    def write_sample(self, item: Mapping[str, Any], pred: Tensor) -> dict[str, Any]:
        name, fov = str(item["name"]), _plain(item["fov"]).cpu() > 0
        share = rounded_share((_plain(item[self.condition_key]).cpu().float().numpy() + 1) * 127.5)
        vessel = share >= HALF
        color = to_uint8(_plain(pred).cpu().float() / 127.5 - 1) * (vessel & fov.numpy())
        pictures = {
            "color_vessel": (FOLDER, color),
            "vessel_share": (SHARES, share),
            "vessel": ("vessels", vessel * np.uint8(255)),
            "fov": ("fovs", fov.numpy() * np.uint8(255)),
        }
        paths = {key: f"{folder}/{name}.png" for key, (folder, _) in pictures.items()}
        for key, (_, picture) in pictures.items():
            write_png(self.output_dir / paths[key], picture)
        return {
            "name": name,
            "image": paths["color_vessel"],
            **paths,
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
