"""Metrics of generated images: pure functions on tensors, and a class that attaches them to an engine."""

from retina_monai.metrics.image_quality import ImageQuality, mse, psnr, ssim
from retina_monai.metrics.spectrum import frequencies, radial_power_spectrum, spectrum_ratio

__all__ = ["ImageQuality", "frequencies", "mse", "psnr", "radial_power_spectrum", "spectrum_ratio", "ssim"]
