"""Who is in a data set, without names: keys by which an owner of the data recognises a patient, and nobody else.

Published sets keep their names, which everybody can look up; so do phantoms, which are nobody. A patient of any other
set is known by a key that is derived from the contents of the picture files and not from any name. Whoever has the
files computes the same key, wherever they lie and whatever the folder is called; whoever lacks them cannot guess it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from retina_monai.data.layouts import LAYOUTS, file_digest
from retina_monai.data.own_layout import OWN_LAYOUT

__all__ = ["eye_keys", "is_published", "patient_keys"]

LENGTH = 16
PHANTOM = "phantom"
PUBLISHED = (*(layout.name for layout in LAYOUTS if layout is not OWN_LAYOUT), PHANTOM)
PSEUDONYM = re.compile(rf"(?:patient|eye)_([0-9a-f]{{{LENGTH}}})")
FILES = ("vessel", "image")


def is_published(patient: str) -> bool:
    """Whether a patient's identifier comes from a published data set, or from a phantom.

    Example:
        >>> is_published("HRF/01_dr"), is_published("clinic/Jane Doe")
        (True, False)
    """
    return patient.partition("/")[0] in PUBLISHED


def patient_keys(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys, 16 hexadecimal digits each, under which the patient of an eye may be recorded.

    Of a published patient the SHA-256 of the identifier; of any other the keys of the eye's files (:func:`eye_keys`).

    Args:
        item: of a datalist.
    """
    patient = str(item["patient"])
    if known := PSEUDONYM.fullmatch(patient):
        return (known[1],)
    if is_published(patient):
        return (sha256(patient.encode()).hexdigest()[:LENGTH],)
    return eye_keys(item)


def eye_keys(item: Mapping[str, Any]) -> tuple[str, ...]:
    """A key for each of vessel map and photograph, in this order, derived from the contents of the files."""
    return tuple(file_digest(Path(item[key]))[:LENGTH] for key in FILES if key in item)
