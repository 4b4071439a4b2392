"""What to measure on a synthetic set, and tables and plots from it."""

from retina_monai.evaluation.photographs import PhotographReport

__all__ = ["PhotographReport"]
