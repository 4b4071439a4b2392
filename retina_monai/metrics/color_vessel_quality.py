"""Metrics of generated colour vessel masks, for the evaluators of bundles."""

from __future__ import annotations

from ignite.metrics import Metric

from retina_monai.metrics.image_quality import ImageQuality

__all__ = ["color_vessel_quality", "color_vessel_selection"]

NAMES = {"mae": "l1", "psnr": "psnr", "ssim": "ssim"}


def color_vessel_quality() -> dict[str, Metric]:
    """Metrics of generated colour vessel masks, other than the key metric.

    Returns:
        ``l1``, ``psnr`` and ``ssim`` of ``pred`` against ``color_vessel``, on the vessels (``..._vessel``, where
        ``vessel_map`` is 1) and inside the field of view (``..._fov``, where ``fov`` is 1).
    """
    everything = {
        f"{name}_{where}": _quality(metric, key)
        for where, key in (("vessel", "vessel_map"), ("fov", "fov"))
        for metric, name in NAMES.items()
    }
    return {name: metric for name, metric in everything.items() if name not in color_vessel_selection()}


def color_vessel_selection() -> dict[str, Metric]:
    """The key metric of generated colour vessel masks.

    Returns:
        ``psnr_vessel``: PSNR of ``pred`` against ``color_vessel`` where ``vessel_map`` is 1.
    """
    return {"psnr_vessel": _quality("psnr", "vessel_map")}


def _quality(metric: str, key: str) -> ImageQuality:
    return ImageQuality(metric, target_key="color_vessel", inside_fov=True, fov_key=key)
