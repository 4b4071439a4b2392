"""Metrics of images and vessel maps: pure functions, and a class that attaches those of images to an engine."""

from retina_monai.metrics.biomarkers import Biomarkers, measure_biomarkers, wasserstein
from retina_monai.metrics.image_quality import ImageQuality, mse, psnr, ssim
from retina_monai.metrics.spectrum import frequencies, radial_power_spectrum, spectrum_ratio

__all__ = [
    "Biomarkers",
    "ImageQuality",
    "frequencies",
    "measure_biomarkers",
    "mse",
    "psnr",
    "radial_power_spectrum",
    "spectrum_ratio",
    "ssim",
    "wasserstein",
]
