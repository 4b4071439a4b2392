"""Small Ignite handlers, each with one task."""

from retina_monai.handlers.appearance_table import AppearanceTable
from retina_monai.handlers.checkpoints import Checkpoints, load_file, newest_checkpoint
from retina_monai.handlers.epochs import GrowingShare, LinearDecay, SeededEpochs
from retina_monai.handlers.grid import image_grid
from retina_monai.handlers.losses import EpochLine, EpochLosses, StopOnNaN
from retina_monai.handlers.mlflow_store import sqlite_uri
from retina_monai.handlers.pictures import PictureGrid, to_uint8
from retina_monai.handlers.tracking import Tracker
from retina_monai.handlers.training import TrainingHandlers
from retina_monai.handlers.training_record import TrainingRecord
from retina_monai.handlers.validation import EpochValidation
from retina_monai.handlers.writing.color_vessel_set import ColorVesselSet
from retina_monai.handlers.writing.feature_table import FeatureTable
from retina_monai.handlers.writing.found_set import FoundSet
from retina_monai.handlers.writing.sample_set import SampleSet, finished_samples, refuse_other_set
from retina_monai.handlers.writing.synthetic_set import SyntheticSet

VesselSet = FoundSet  # name used by earlier configs

__all__ = [
    "AppearanceTable",
    "Checkpoints",
    "ColorVesselSet",
    "EpochLine",
    "EpochLosses",
    "EpochValidation",
    "FeatureTable",
    "FoundSet",
    "GrowingShare",
    "LinearDecay",
    "PictureGrid",
    "SampleSet",
    "SeededEpochs",
    "StopOnNaN",
    "SyntheticSet",
    "Tracker",
    "TrainingHandlers",
    "TrainingRecord",
    "finished_samples",
    "image_grid",
    "load_file",
    "newest_checkpoint",
    "refuse_other_set",
    "sqlite_uri",
    "to_uint8",
]
