"""What to measure on a synthetic set, and tables and plots from it."""

from retina_monai.evaluation.color_vessels import ColorVesselReport
from retina_monai.evaluation.extractors import load_extractors
from retina_monai.evaluation.judge import load_judge
from retina_monai.evaluation.photographs import PhotographReport
from retina_monai.evaluation.sensitivity import FEWEST, SensitivityReport
from retina_monai.evaluation.vessels import VesselReport

__all__ = [
    "FEWEST",
    "ColorVesselReport",
    "PhotographReport",
    "SensitivityReport",
    "VesselReport",
    "load_extractors",
    "load_judge",
]
