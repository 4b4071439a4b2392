"""Generation with loaded bundles."""

from retina_monai.synthesis.photographs import PhotographGenerator, generate, load

__all__ = ["PhotographGenerator", "generate", "load"]
