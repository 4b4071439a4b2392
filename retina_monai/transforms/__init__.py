"""Fundus-specific MONAI transforms."""

from retina_monai.transforms.aperture import RandApertured, RandMonochromed
from retina_monai.transforms.appearance import (
    CANONICAL,
    Appearance,
    AppearanceMapd,
    CanonicalAppearanced,
    LikeAppearanced,
    MatchAppearance,
    appearance_map,
    apply_appearance,
    measure_appearance,
    render_appearance,
)
from retina_monai.transforms.color_vessel import ColorVesseld, color_vessel, vessel_weight
from retina_monai.transforms.degradation import DEGRADATIONS, degrade
from retina_monai.transforms.disc import FindDiscd, disc_in_photograph, find_disc
from retina_monai.transforms.encoder_tasks import (
    STRUCTURES,
    TRAITS,
    DetectedStructuresd,
    EncoderTargetsd,
    RandDegradedEyed,
    RandViewd,
)
from retina_monai.transforms.geometry import random_geometry
from retina_monai.transforms.judged import Judged, judge_photographs
from retina_monai.transforms.outpainting import (
    OutpaintingConditiond,
    RandStrokeConditiond,
    draw_strokes,
    outpainting_condition,
)
from retina_monai.transforms.own_size import ToOwnSized, to_own_size
from retina_monai.transforms.patches import PhotographRanged, RandCamerad, RandPatchd
from retina_monai.transforms.scale import ReduceEyed
from retina_monai.transforms.texture import Texture, add_texture, measure_texture

__all__ = [
    "CANONICAL",
    "DEGRADATIONS",
    "STRUCTURES",
    "TRAITS",
    "Appearance",
    "AppearanceMapd",
    "CanonicalAppearanced",
    "ColorVesseld",
    "DetectedStructuresd",
    "EncoderTargetsd",
    "FindDiscd",
    "Judged",
    "LikeAppearanced",
    "MatchAppearance",
    "OutpaintingConditiond",
    "PhotographRanged",
    "RandApertured",
    "RandCamerad",
    "RandDegradedEyed",
    "RandMonochromed",
    "RandPatchd",
    "RandStrokeConditiond",
    "RandViewd",
    "ReduceEyed",
    "Texture",
    "ToOwnSized",
    "add_texture",
    "appearance_map",
    "apply_appearance",
    "color_vessel",
    "degrade",
    "disc_in_photograph",
    "draw_strokes",
    "find_disc",
    "judge_photographs",
    "measure_appearance",
    "measure_texture",
    "outpainting_condition",
    "random_geometry",
    "render_appearance",
    "to_own_size",
    "vessel_weight",
]

# Former names, which configs of copied bundles may still use.
RandSpoiltd = RandDegradedEyed
ToldStructuresd = DetectedStructuresd
EncoderAnswersd = EncoderTargetsd
