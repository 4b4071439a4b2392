"""Training objectives, one file per paper, for the trainers of :mod:`retina_monai.engines`."""

from retina_monai.objectives.deep_supervision import DeepSupervision
from retina_monai.objectives.encoder_losses import EncoderTasks
from retina_monai.objectives.lama import Lama
from retina_monai.objectives.pix2pix import Pix2Pix
from retina_monai.objectives.step import Batch, Losses, Objective, Step
from retina_monai.objectives.weighted_error import WeightedError

__all__ = [
    "Batch",
    "DeepSupervision",
    "EncoderTasks",
    "Lama",
    "Losses",
    "Objective",
    "Pix2Pix",
    "Step",
    "WeightedError",
]
