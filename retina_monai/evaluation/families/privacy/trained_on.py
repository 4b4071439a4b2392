"""Which eyes of the real set the generator of a synthetic set was trained on, as its weights record it.

``settings.json`` of a set holds the ``training`` of its weights (``retina_monai.data.listing.weights_origin``). The
splits of the real set say what one may train on, not what these weights were trained on: patients are matched instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retina_monai.data.listing.layout import Item
from retina_monai.data.listing.pseudonyms import patient_keys
from retina_monai.errors import counted

__all__ = ["TrainedOn", "read_trained_on"]

UNKNOWN = "it is not known what the generator was trained on"


@dataclass(frozen=True)
class TrainedOn:
    """What weights were trained on, as far as it concerns a real set.

    Attributes:
        training: whether each of its eyes is of a patient that the weights were trained on. Where that is not known,
            its training split.
        reason: why the set cannot be judged against these eyes; empty where it can.
    """

    training: Sequence[bool]
    reason: str


def read_trained_on(settings: Mapping[str, Any], items: Sequence[Item]) -> TrainedOn:
    """Match the patients of the real set with those that the weights were trained on.

    Args:
        settings: of the synthetic set, with ``training``: a record, or for a chain of bundles one for each by its name.
        items: of the real set, with ``split``.
    """
    records = _records(settings.get("training"))
    by_split = [item["split"] == "training" for item in items]
    tested = counted(len({item["patient"] for item in items if item["split"] == "training"}), "patient")
    if not records or not all(record.get("complete", True) for record in records):
        return TrainedOn(by_split, f"{UNKNOWN}: tested is the training split of the real set, {tested}")
    trained = {str(key) for record in records for key in record["patients"]}
    if not trained:
        return TrainedOn(by_split, "the weights were trained on no patient")
    keys = [set(patient_keys(item)) for item in items]
    patients = {item["patient"] for item, own in zip(items, keys, strict=True) if own & trained}
    names = ", ".join(sorted({str(name) for record in records for name in record.get("datasets", ())}))
    if trained <= set().union(*keys):
        reason = ""
    elif patients:
        reason = (
            f"the weights were trained on {names}, and the real set has {counted(len(patients), 'patient')} of these: "
            "copies of others are not found; give all of them with --real_dir"
        )
    else:
        reason = f"the weights were trained on {names}, of which the real set has no patient: add it to --real_dir"
    return TrainedOn([item["patient"] in patients for item in items], reason)


def _records(training: Any) -> list[Mapping[str, Any]]:
    """Those that there are; none where one of a chain is missing."""
    if not isinstance(training, Mapping):
        return []
    parts = [training] if "patients" in training else list(training.values())
    return parts if all(isinstance(part, Mapping) and "patients" in part for part in parts) else []
