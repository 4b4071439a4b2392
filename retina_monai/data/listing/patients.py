"""Derive patient and laterality of photographs without a table, from DICOM attributes or from file names.

Identifying data never leaves the file: patient identifiers are hashed.
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
"""Names of left and right in lower case, including oculus sinister and dexter, left and right eye."""

LETTER = r"[^\W\d_]"
SIDE = re.compile(
    rf"left|right|(?<!{LETTER})(?:os|od|le|re|lt|rt|l|r)(?!{LETTER})|(?-i:(?<=[a-z])(?:OS|OD|L|R))(?!{LETTER})", re.I
)
"""A name of a side: abbreviations between non-letters or in capitals after a small letter; full words anywhere."""

LONE = re.compile(rf"(?<!{LETTER}){LETTER}(?!{LETTER})|(?<=[a-z])[A-Z](?!{LETTER})")
"""A single letter that may number photographs: a, b, c."""

SIDES = ("ImageLaterality", "Laterality")
NOBODY = re.compile(r"|anon.*|de-?ident.*|unknown|removed|none|n/?a|0+|x+", re.I)
"""Placeholders for the patient in anonymised files."""


def identify(images: Mapping[str, Path], names: bool = True) -> dict[str, dict[str, str]]:
    """Derive patient and laterality of photographs, and log the result.

    DICOM files give the patient (PatientID) and the eye (ImageLaterality, Laterality). Names that differ only in left
    and right (``10_left`` and ``10_right``, ``12OD`` and ``12OS``) belong to one patient.

    Args:
        images: photographs by name.
        names: whether to use names.

    Returns:
        For each key of ``images``, a dictionary of ``patient`` and ``laterality`` ('L' or 'R') as far as known.
    """
    stored = {key: _stored(path) for key, path in images.items() if is_dicom(path)}
    owned = [found["patient"] for found in stored.values() if "patient" in found]
    if names and owned:
        text = "%d DICOM photographs are of %d patients, by their PatientID; a csv takes precedence"
        logger.warning(text, len(owned), len(set(owned)))
    pairs = sides_of_names([key for key in images if "patient" not in stored.get(key, {})]) if names else {}
    if pairs:
        text = "%d photographs are of %d patients, as names differ only in left and right (%s); a csv takes precedence"
        logger.warning(text, len(pairs), len({found["patient"] for found in pairs.values()}), join_first([*pairs], 4))
    return {key: pairs.get(key, {}) | stored.get(key, {}) for key in images}


def pseudonym(patient: str) -> str:
    """A pseudonym of a patient identifier: the first 16 hexadecimal digits of its SHA-256."""
    return sha256(patient.encode()).hexdigest()[:16]


def sides_of_names(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Patient and laterality of names that differ from another name only in left and right.

    The letters l and r do not denote sides where letters number the photographs (a, b, ..., l, ..., r).

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
        varying = [place for place, column in enumerate(zip(*sides.values(), strict=True)) if len(set(column)) == 2]
        named = {name: {sides[name][place] for place in varying} for name in group}
        numbered = any(
            letters.get(_without(name, [words[name][place]]).casefold(), set()) - {"l", "r"}
            for name in group
            for place in varying
        )
        if varying and not numbered and all(len(side) == 1 for side in named.values()):
            rest = _tidy(_without(group[0], [words[group[0]][place] for place in varying]))
            patient = rest if rest and rest not in names else group[0]
            found |= {name: {"patient": patient, "laterality": side} for name in group for side in named[name]}
    return found


def _without(name: str, words: Sequence[re.Match[str]]) -> str:
    """Replace matched words in a name by a marker."""
    for word in reversed(words):
        name = f"{name[: word.start()]}\0{name[word.end() :]}"
    return name


def _tidy(text: str) -> str:
    """Remove the markers and the separators beside them."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", re.sub(r"([\W_]?)[\W_]*\0[\W_]*", r"\1", text))


def _stored(path: Path) -> dict[str, str]:
    """Patient and laterality from a DICOM file. Unreadable files are reported when their image is read."""
    try:
        found = read_attributes(path, "PatientID", *SIDES)
    except Exception:  # pydicom raises various exceptions
        return {}
    patient = found["PatientID"]
    side = next((found[key].upper() for key in SIDES if found[key].upper() in ("L", "R")), "")
    known = {"patient": "" if NOBODY.fullmatch(patient) else pseudonym(patient), "laterality": side}
    return {key: value for key, value in known.items() if value}
