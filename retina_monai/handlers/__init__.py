"""Small Ignite handlers, each of which attaches to an engine and does one thing."""

from retina_monai.handlers.appearance_table import AppearanceTable
from retina_monai.handlers.checkpoints import Checkpoints, load_file, newest_checkpoint
from retina_monai.handlers.epochs import LinearDecay, SeededEpochs
from retina_monai.handlers.grid import image_grid
from retina_monai.handlers.losses import EpochLine, EpochLosses, StopOnNaN
from retina_monai.handlers.pictures import PictureGrid, to_uint8
from retina_monai.handlers.synthetic_set import SyntheticSet, finished_samples
from retina_monai.handlers.tracking import Tracker, sqlite_uri

__all__ = [
    "AppearanceTable",
    "Checkpoints",
    "EpochLine",
    "EpochLosses",
    "LinearDecay",
    "PictureGrid",
    "SeededEpochs",
    "StopOnNaN",
    "SyntheticSet",
    "Tracker",
    "finished_samples",
    "image_grid",
    "load_file",
    "newest_checkpoint",
    "sqlite_uri",
    "to_uint8",
]
