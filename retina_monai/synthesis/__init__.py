"""Generation with loaded bundles."""

from retina_monai.synthesis.photographs import PhotographGenerator, generate, load
from retina_monai.synthesis.sets import synthesize

__all__ = ["PhotographGenerator", "generate", "load", "synthesize"]
