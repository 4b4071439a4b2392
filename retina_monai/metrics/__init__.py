"""Metrics of images, sets of images and vessel maps: pure functions, and classes that attach to an engine."""

from retina_monai.metrics.biomarkers import Biomarkers, measure_biomarkers, wasserstein
from retina_monai.metrics.distribution import (
    FID,
    KID,
    FrechetDistance,
    KernelDistance,
    RealFloor,
    fid,
    frechet_distance,
    halve,
    kid,
    polynomial_mmd,
    real_floor,
)
from retina_monai.metrics.features import FeatureReservoir, FeatureStatistics, extract_features
from retina_monai.metrics.image_quality import ImageQuality, mse, psnr, ssim
from retina_monai.metrics.manifold import Manifold, ManifoldQuality, compare_manifolds
from retina_monai.metrics.segmentation import SegmentationQuality, accuracy, dice, roc_auc, sensitivity, specificity
from retina_monai.metrics.spectrum import frequencies, radial_power_spectrum, spectrum_ratio
from retina_monai.metrics.topology import TopologyQuality, betti_0, betti_0_error, betti_1, betti_1_error, cldice

__all__ = [
    "FID",
    "KID",
    "Biomarkers",
    "FeatureReservoir",
    "FeatureStatistics",
    "FrechetDistance",
    "ImageQuality",
    "KernelDistance",
    "Manifold",
    "ManifoldQuality",
    "RealFloor",
    "SegmentationQuality",
    "TopologyQuality",
    "accuracy",
    "betti_0",
    "betti_0_error",
    "betti_1",
    "betti_1_error",
    "cldice",
    "compare_manifolds",
    "dice",
    "extract_features",
    "fid",
    "frechet_distance",
    "frequencies",
    "halve",
    "kid",
    "measure_biomarkers",
    "mse",
    "polynomial_mmd",
    "psnr",
    "radial_power_spectrum",
    "real_floor",
    "roc_auc",
    "sensitivity",
    "specificity",
    "spectrum_ratio",
    "ssim",
    "wasserstein",
]
