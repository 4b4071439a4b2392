"""The kinds of images in a sample.

A sample is a dictionary of images by kind and of metadata (``name``, ``patient``, ``dataset``, ``laterality``,
``grade``). Readers, writers, adapters, manifests, loaders and reports take folders, channels and types from
:data:`KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "LESIONS", "MASKS", "PICTURES", "Kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of image.

    Attributes:
        folders: folder names in this library's layout. The first is used for writing.
        type: ``photograph`` (colours or grey levels), ``mask`` (0 and 1), or ``share`` (covered share of each pixel, in
            [0, 255]).
        name: name of such an image in messages.
        channels: number of channels of the array ``(C, H, W)``.
        one, many: singular and plural of the structure that a mask marks, for messages.
        most: maximum share of the eye that a mask marks.
        empty: whether a mask may be empty.
        form: shape of the structure: ``tree`` (thin lines), ``disc`` (a compact area), or empty (any).
    """

    folders: tuple[str, ...]
    type: Literal["photograph", "mask", "share"]
    name: str
    channels: int = 1
    one: str = ""
    many: str = ""
    most: float = 0.5
    empty: bool = True
    form: str = ""


def _mask(
    name: str,
    *folders: str,
    one: str,
    many: str = "",
    most: float = 0.5,
    empty: bool = True,
    form: str = "",
) -> Kind:
    return Kind(folders, "mask", name, one=one, many=many or f"{one}s", most=most, empty=empty, form=form)


KINDS: dict[str, Kind] = {
    "image": Kind(("images",), "photograph", "photograph", channels=3),
    "vessel": _mask("vessel map", "vessels", one="vessel", empty=False, form="tree"),
    "vessel_2nd": _mask("vessel map", "vessels_2nd", one="vessel", empty=False, form="tree"),
    "fov": _mask("field of view", "fovs", "fov", one="eye", many="the eye", most=1, empty=False),
    "disc": _mask("disc mask", "discs", one="optic disc", many="optic disc", empty=False, form="disc"),
    "cup": _mask("cup mask", "cups", one="optic cup", many="optic cup", form="disc"),
    "artery": _mask("artery map", "arteries", one="artery", many="arteries", empty=False, form="tree"),
    "vein": _mask("vein map", "veins", one="vein", empty=False, form="tree"),
    "atrophy": _mask("atrophy mask", "atrophy", one="atrophy", many="atrophy", most=0.8),
    "lesion": _mask("lesion mask", "lesions", one="lesion"),
    "color_vessel": Kind(("color_vessels",), "photograph", "colour vessel mask", channels=3),
    "appearance_map": Kind(("appearance_maps",), "photograph", "map of the mean colour", channels=3),
    "vessel_share": Kind(("vessel_shares",), "share", "map of vessel shares"),
    "microaneurysms": _mask("mask of microaneurysms", "microaneurysms", one="microaneurysm"),
    "haemorrhages": _mask("mask of haemorrhages", "haemorrhages", one="haemorrhage"),
    "hard_exudates": _mask("mask of hard exudates", "hard_exudates", one="hard exudate"),
    "soft_exudates": _mask("mask of soft exudates", "soft_exudates", one="soft exudate"),
    "neovascularisation": _mask(
        "mask of neovascularisation", "neovascularisation", one="new vessel", many="neovascularisation"
    ),
}
"""Kinds by their key in a sample and in a datalist.

In real masks, vessels cover at most 0.17 of the eye (0.48 with the capillaries of OCTA), a disc 0.03 and lesions 0.1.
Atrophy can cover more than half. An item of a datalist may also have ``annotated``, the kinds of mask that were
annotated. A mask of such a kind without a file is empty.
"""

PICTURES = tuple(KINDS)
"""All kinds."""

MASKS = {key: kind for key, kind in KINDS.items() if kind.type == "mask"}
"""Kinds of mask."""

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates", "neovascularisation")
"""Lesions of diabetic retinopathy, with one mask per type."""
