"""Generate samples with bundles and with chains of bundles."""

from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.synthesis.chains import Chain, PhotographGenerator
from retina_monai.synthesis.disc_segmentation import Disc, DiscFinder, DiscSegmenter, MapDiscSegmenter
from retina_monai.synthesis.jobs import synthesize
from retina_monai.synthesis.loading import load, load_chain
from retina_monai.synthesis.missing_discs import find_missing_discs
from retina_monai.synthesis.photograph_stream import generate
from retina_monai.synthesis.segmentation import VesselSegmenter
from retina_monai.synthesis.stages import Outpainter, VesselColorer

__all__ = [
    "Chain",
    "Disc",
    "DiscFinder",
    "DiscSegmenter",
    "LoadedBundle",
    "MapDiscSegmenter",
    "Outpainter",
    "PhotographGenerator",
    "VesselColorer",
    "VesselSegmenter",
    "find_missing_discs",
    "generate",
    "load",
    "load_chain",
    "synthesize",
]
