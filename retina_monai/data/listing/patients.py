"""Whose eye a photograph shows, and which, where no table says so: by DICOM's attributes, or by names that have sides.

What identifies a person never leaves the file: a patient's number in a hospital becomes a hash.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from retina_monai.data.files.medical_files import is_dicom, read_attributes
from retina_monai.errors import join_first

__all__ = ["LATERALITIES", "identify", "pseudonym", "sides_of_names"]

logger = logging.getLogger("retina_monai")

LATERALITIES = {
    **dict.fromkeys(("l", "left", "os", "le", "lt"), "L"),
    **dict.fromkeys(("r", "right", "od", "re", "rt"), "R"),
}
"""The words for left and right, in lower case: also oculus sinister and dexter, left and right eye."""

LETTER = r"[^\W\d_]"
SIDE = re.compile(
    rf"left|right|(?<!{LETTER})(?:os|od|le|re|lt|rt|l|r)(?!{LETTER})|(?-i:(?<=[a-z])(?:OS|OD|L|R))(?!{LETTER})", re.I
)
"""A word for a side: between what is no letter, or in capitals after a small letter; the long ones anywhere."""

LONE = re.compile(rf"(?<!{LETTER}){LETTER}(?!{LETTER})|(?<=[a-z])[A-Z](?!{LETTER})")
"""A letter that may number photographs: a, b, c."""

SIDES = ("ImageLaterality", "Laterality")
NOBODY = re.compile(r"|anon.*|de-?ident.*|unknown|removed|none|n/?a|0+|x+", re.I)
"""What stands for a patient where files were made anonymous."""


def identify(images: Mapping[str, Path], names: bool = True) -> dict[str, dict[str, str]]:
    """What is known of photographs that stand in no table; what was found is logged.

    DICOM files say whose they are (PatientID) and which eye (ImageLaterality, Laterality). Names that differ in left
    and right alone (``10_left`` and ``10_right``, ``12OD`` and ``12OS``) are of one person.

    Args:
        images: photographs by name.
        names: whether names count.

    Returns:
        By the keys of ``images``: ``patient`` and ``laterality`` ('L' or 'R'), those that are known.
    """
    stored = {key: _stored(path) for key, path in images.items() if is_dicom(path)}
    owned = [found["patient"] for found in stored.values() if "patient" in found]
    if names and owned:
        text = "%d DICOM photographs are of %d patients, by their PatientID; a csv can say more"
        logger.warning(text, len(owned), len(set(owned)))
    pairs = sides_of_names([key for key in images if "patient" not in stored.get(key, {})]) if names else {}
    if pairs:
        text = "%d photographs are of %d patients, as names differ in left and right alone (%s); a csv can say more"
        logger.warning(text, len(pairs), len({found["patient"] for found in pairs.values()}), join_first([*pairs], 4))
    return {key: pairs.get(key, {}) | stored.get(key, {}) for key in images}


def pseudonym(patient: str) -> str:
    """A name that stands for a patient's number and is the same wherever that stands."""
    return sha256(patient.encode()).hexdigest()[:16]


def sides_of_names(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Patient and laterality of the names that have a partner from which they differ in left and right alone.

    A letter of several that number photographs (a, b, ..., l, ..., r) is no side.

    Example:
        >>> sides_of_names(["10_left", "10_right", "13_left"])
        {'10_left': {'patient': '10', 'laterality': 'L'}, '10_right': {'patient': '10', 'laterality': 'R'}}
    """
    letters: dict[str, set[str]] = {}
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(SIDE.sub("\0", name).casefold(), []).append(name)
        for match in LONE.finditer(name):
            letters.setdefault(_without(name, [match]).casefold(), set()).add(match[0].casefold())
    found: dict[str, dict[str, str]] = {}
    for group in groups.values():
        words = {name: list(SIDE.finditer(name)) for name in group}
        sides = {name: [LATERALITIES[word[0].lower()] for word in words[name]] for name in group}
        telling = [place for place, column in enumerate(zip(*sides.values(), strict=True)) if len(set(column)) == 2]
        said = {name: {sides[name][place] for place in telling} for name in group}
        numbered = any(
            letters.get(_without(name, [words[name][place]]).casefold(), set()) - {"l", "r"}
            for name in group
            for place in telling
        )
        if telling and not numbered and all(len(side) == 1 for side in said.values()):
            rest = _tidy(_without(group[0], [words[group[0]][place] for place in telling]))
            patient = rest if rest and rest not in names else group[0]
            found |= {name: {"patient": patient, "laterality": side} for name in group for side in said[name]}
    return found


def _without(name: str, words: Sequence[re.Match[str]]) -> str:
    """A name with a mark in the place of words."""
    for word in reversed(words):
        name = f"{name[: word.start()]}\0{name[word.end() :]}"
    return name


def _tidy(text: str) -> str:
    """Without the marks, and without the separators that are left beside them."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", re.sub(r"([\W_]?)[\W_]*\0[\W_]*", r"\1", text))


def _stored(path: Path) -> dict[str, str]:
    """What a DICOM file says; nothing, if it cannot be read: that is said where its picture is read."""
    try:
        found = read_attributes(path, "PatientID", *SIDES)
    except Exception:  # pydicom raises all sorts
        return {}
    patient = found["PatientID"]
    side = next((found[key].upper() for key in SIDES if found[key].upper() in ("L", "R")), "")
    known = {"patient": "" if NOBODY.fullmatch(patient) else pseudonym(patient), "laterality": side}
    return {key: value for key, value in known.items() if value}
