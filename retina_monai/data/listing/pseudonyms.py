"""Who is in a data set, without names: keys by which an owner of the data recognises a patient, and nobody else.

Published sets keep their names, which everybody can look up; so do phantoms, which are nobody. A patient of any other
set is known by a key that is derived from the contents of the picture files and not from any name: the files are the
salt, and they stay with their owner. Whoever has them computes the same key, wherever they lie and whatever the folder
is called; whoever lacks them cannot guess it.
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
"""Key of an item: keys of files that it was derived from."""


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
    """A key for each of vessel map and photograph, in this order, derived from the contents of the files.

    An item whose pictures were derived from others (vessels that were found, say) has the keys of these too.
    """
    own = [file_digest(Path(item[key]))[:LENGTH] for key in FILES if key in item]
    return (*own, *item.get(IDENTITY, ()))


def pseudonymised(items: Sequence[Item], keep_names: bool = False) -> list[Item]:
    """Items without names of patients and eyes that nobody has published; published ones stay as they are.

    So do vessel maps alone whose files say that they are synthetic.

    An eye becomes ``eye_KEY``, with a number behind it where two have equal files; a patient ``patient_KEY``, by the
    first of the keys of its eyes; ``source``, the name of the file, goes with the eye. Nothing else of an item changes.

    Args:
        items: of a datalist, each with a vessel map or a photograph unless it is published.
        keep_names: change nothing.
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
    """What the pseudonyms of a set stand for, for whoever has the eyes.

    Args:
        items: the eyes.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = items

    @cached_property
    def _known(self) -> dict[str, Item]:
        own = (item for item in self.items if not _is_public(str(item["patient"])))
        return {key: item for item in own for key in eye_keys(item)}

    def patient(self, name: str) -> str:
        """The patient of a pseudonym; any other name as it is."""
        return self._look_up(name, "patient")

    def eye(self, name: str) -> str:
        """The eye of a pseudonym; any other name as it is."""
        return self._look_up(name, "name")

    def _look_up(self, name: str, key: str) -> str:
        match = PSEUDONYM.fullmatch(name)
        return str(self._known[match[1]][key]) if match and match[1] in self._known else name


def _is_drawn(item: Item) -> bool:
    return "dataset" not in item and is_synthetic({"image": item["vessel"]})


def _is_public(patient: str) -> bool:
    return is_published(patient) or PSEUDONYM.fullmatch(patient) is not None
