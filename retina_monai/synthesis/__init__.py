"""Generation with loaded bundles."""

from retina_monai.synthesis.loading import load
from retina_monai.synthesis.photographs import PhotographGenerator, generate
from retina_monai.synthesis.sets import synthesize
from retina_monai.synthesis.vessels import VesselSegmenter

__all__ = ["PhotographGenerator", "VesselSegmenter", "generate", "load", "synthesize"]
