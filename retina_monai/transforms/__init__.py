"""Fundus-specific MONAI transforms."""

from retina_monai.transforms.appearance import (
    CANONICAL,
    Appearance,
    CanonicalAppearanced,
    LikeAppearanced,
    MatchAppearance,
    apply_appearance,
    measure_appearance,
)
from retina_monai.transforms.scale import ReduceEyed

__all__ = [
    "CANONICAL",
    "Appearance",
    "CanonicalAppearanced",
    "LikeAppearanced",
    "MatchAppearance",
    "ReduceEyed",
    "apply_appearance",
    "measure_appearance",
]
