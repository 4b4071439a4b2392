"""Generation with loaded bundles, and with chains of them."""

from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.synthesis.chains import Chain, PhotographGenerator, TwoStage
from retina_monai.synthesis.loading import load, load_chain
from retina_monai.synthesis.photographs import generate
from retina_monai.synthesis.sets import synthesize
from retina_monai.synthesis.stages import Outpainter, VesselColorer
from retina_monai.synthesis.vessels import VesselSegmenter

__all__ = [
    "Chain",
    "LoadedBundle",
    "Outpainter",
    "PhotographGenerator",
    "TwoStage",
    "VesselColorer",
    "VesselSegmenter",
    "generate",
    "load",
    "load_chain",
    "synthesize",
]
