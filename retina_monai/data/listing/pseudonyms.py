"""Pseudonyms by which only the owner of a data set recognises its patients.

Published data sets keep their public names, and phantoms keep theirs. Any other patient is identified by a key derived
from the content of the image files, not from any name. The files act as the salt and stay with their owner. Anyone with
the files computes the same key, independent of their location. Anyone without them cannot guess it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from retina_monai.data.adapters.own_layout import OWN_LAYOUT
from retina_monai.data.files.writing import is_synthetic
from retina_monai.data.listing.layout import Item
from retina_monai.data.listing.layouts import LAYOUTS, file_digest

__all__ = ["Aliases", "eye_keys", "is_published", "patient_keys", "pseudonymised"]

LENGTH = 16
PHANTOM = "phantom"
PUBLISHED = (*(layout.name for layout in LAYOUTS if layout.name != OWN_LAYOUT.name), PHANTOM)
PSEUDONYM = re.compile(rf"(?:patient|eye)_([0-9a-f]{{{LENGTH}}})(?:_\d+)?")
FILES = ("vessel", "image")
IDENTITY = "identity"
"""Item key that holds the keys of the files from which the item was derived."""


def is_published(patient: str) -> bool:
    """Whether a patient identifier belongs to a published data set or a phantom.

    Example:
        >>> is_published("HRF/01_dr"), is_published("clinic/Jane Doe")
        (True, False)
    """
    return patient.partition("/")[0] in PUBLISHED


def patient_keys(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of 16 hexadecimal digits under which the patient of an eye may be recorded.

    For a published patient, this is the SHA-256 of the identifier. For any other patient, these are the keys of the
    eye's files (:func:`eye_keys`).

    Args:
        item: item of a datalist.
    """
    patient = str(item["patient"])
    if known := PSEUDONYM.fullmatch(patient):
        return (known[1],)
    if is_published(patient):
        return (sha256(patient.encode()).hexdigest()[:LENGTH],)
    return eye_keys(item)


def eye_keys(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of vessel map and photograph, in this order, derived from the content of the files.

    If an item's images were derived from others, such as predicted vessels, their keys are included.
    """
    own = [file_digest(Path(item[key]))[:LENGTH] for key in FILES if key in item]
    return (*own, *item.get(IDENTITY, ()))


def pseudonymised(items: Sequence[Item], keep_names: bool = False) -> list[Item]:
    """Replace the names of patients and eyes that are not published by pseudonyms.

    Published eyes stay unchanged, and so do bare vessel maps whose files are marked as synthetic. Any other eye is
    named ``eye_KEY``, with a number appended if two eyes have equal files. Its patient is named ``patient_KEY``, where
    the key is the smallest of the keys of the patient's eyes. ``source``, the file name, is replaced by the name of the
    eye with the file's suffix. All other values of an item are kept.

    Args:
        items: items of a datalist. Items that are not published require a vessel map or a photograph.
        keep_names: whether to return the items unchanged.
    """
    own = [] if keep_names else [item for item in items if not _is_public(str(item["patient"])) and not _is_drawn(item)]
    keys = {id(item): eye_keys(item)[0] for item in own}
    patients: dict[str, str] = {}
    for item in own:
        patient = str(item["patient"])
        patients[patient] = min(keys[id(item)], patients.get(patient, keys[id(item)]))
    used: Counter[str] = Counter()
    changed = []
    for item in items:
        if id(item) in keys:
            name = f"eye_{keys[id(item)]}"
            used[name] += 1
            name += f"_{used[name]}" * (used[name] > 1)
            path = Path(item["vessel" if "vessel" in item else "image"])
            texts = {"name": name, "patient": f"patient_{patients[str(item['patient'])]}"}
            item = {**item, **texts, "source": name + path.suffix.lower()}
        changed.append(item)
    return changed


class Aliases:
    """Resolve the pseudonyms of a set, given its eyes.

    Args:
        items: items of the eyes.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = items

    @cached_property
    def _known(self) -> dict[str, Item]:
        own = (item for item in self.items if not _is_public(str(item["patient"])))
        return {key: item for item in own for key in eye_keys(item)}

    def patient(self, name: str) -> str:
        """The patient of a pseudonym. Any other name is returned unchanged."""
        return self._look_up(name, "patient")

    def eye(self, name: str) -> str:
        """The eye of a pseudonym. Any other name is returned unchanged."""
        return self._look_up(name, "name")

    def _look_up(self, name: str, key: str) -> str:
        match = PSEUDONYM.fullmatch(name)
        return str(self._known[match[1]][key]) if match and match[1] in self._known else name


def _is_drawn(item: Item) -> bool:
    return "dataset" not in item and is_synthetic({"image": item["vessel"]})


def _is_public(patient: str) -> bool:
    return is_published(patient) or PSEUDONYM.fullmatch(patient) is not None
