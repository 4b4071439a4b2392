"""What to measure on a synthetic set, and tables and plots from it."""

from retina_monai.evaluation.cards.color_vessel_report import ColorVesselReport
from retina_monai.evaluation.cards.disc_report import DiscReport
from retina_monai.evaluation.cards.photograph_report import PhotographReport
from retina_monai.evaluation.cards.vessel_report import VesselReport
from retina_monai.evaluation.measuring.extractors import load_extractors
from retina_monai.evaluation.measuring.judge import load_judge
from retina_monai.evaluation.measuring.sensitivity import FEWEST, SensitivityReport

__all__ = [
    "FEWEST",
    "ColorVesselReport",
    "DiscReport",
    "PhotographReport",
    "SensitivityReport",
    "VesselReport",
    "load_extractors",
    "load_judge",
]
