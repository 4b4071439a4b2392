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
from retina_monai.transforms.degradation import DEGRADATIONS, degrade
from retina_monai.transforms.encoder_tasks import (
    STRUCTURES,
    TRAITS,
    EncoderAnswersd,
    RandSpoiltd,
    RandViewd,
    ToldStructuresd,
)
from retina_monai.transforms.judged import Judged
from retina_monai.transforms.own_size import ToOwnSized, to_own_size
from retina_monai.transforms.patches import PhotographRanged, RandCamerad, RandPatchd
from retina_monai.transforms.scale import ReduceEyed

__all__ = [
    "CANONICAL",
    "DEGRADATIONS",
    "STRUCTURES",
    "TRAITS",
    "Appearance",
    "CanonicalAppearanced",
    "EncoderAnswersd",
    "Judged",
    "LikeAppearanced",
    "MatchAppearance",
    "PhotographRanged",
    "RandCamerad",
    "RandPatchd",
    "RandSpoiltd",
    "RandViewd",
    "ReduceEyed",
    "ToOwnSized",
    "ToldStructuresd",
    "apply_appearance",
    "degrade",
    "measure_appearance",
    "to_own_size",
]
