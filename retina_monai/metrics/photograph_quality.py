"""The validation metrics of every generator of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.metrics import Metric

from retina_monai.metrics.distribution import KernelDistance
from retina_monai.metrics.image_quality import ImageQuality
from retina_monai.metrics.segmentation_quality import SegmentationQuality
from retina_monai.metrics.selection import Selection
from retina_monai.metrics.topology import TopologyQuality

__all__ = ["photograph_quality", "photograph_selection"]

FOUND: dict[str, Any] = {"pred_key": "judged", "target_key": "vessel_map", "inside_fov": True}


def photograph_quality() -> dict[str, Metric]:
    """Metrics of generated photographs.

    Returns:
        ``cldice`` and ``dice`` of the judge's vessels (``judged`` against ``vessel_map``); ``ssim``, ``psnr`` and
        ``mse`` of ``pred`` against ``photograph``, over the whole image and inside the field of view (``..._fov``).
    """
    paired = {
        f"{metric}{where}": ImageQuality(metric, target_key="photograph", inside_fov=bool(where))
        for where in ("_fov", "")
        for metric in ("ssim", "psnr", "mse")
    }
    return {"cldice": TopologyQuality("cldice", **FOUND), "dice": SegmentationQuality("dice", **FOUND), **paired}


def photograph_selection(extractors: Mapping[str, Any], kid_weight: float = 1.0) -> dict[str, Metric]:
    """The key metric of generated photographs, :class:`Selection`: the judge's clDice minus KID.

    Args:
        extractors: feature extractors by name; the first is used.
        kid_weight: as for :class:`Selection`.

    Returns:
        ``selection``.
    """
    name, extractor = next(iter(extractors.items()))
    kid = KernelDistance(extractor=extractor, extractor_name=name, target_key="photograph")
    return {"selection": Selection(TopologyQuality("cldice", **FOUND), kid, kid_weight)}
