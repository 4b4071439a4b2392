"""Eyes of the real set on which the generator of a synthetic set was trained, as recorded by its weights.

``settings.json`` of a set contains the ``training`` record of its weights
(``retina_monai.data.listing.weights_origin``). Patients are matched with this record, since the splits of the real set
do not show on what these weights were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retina_monai.data.listing.layout import Item
from retina_monai.data.listing.pseudonyms import patient_keys
from retina_monai.errors import counted

__all__ = ["TrainedOn", "read_trained_on"]

UNKNOWN = "it is not known on what the generator was trained"


@dataclass(frozen=True)
class TrainedOn:
    """Training patients of the weights within a real set.

    Attributes:
        training: for each eye, whether its patient is a training patient of the weights. If this is unknown, whether
            it is in the training split.
        reason: reason why the set cannot be judged against these eyes; empty if it can.
    """

    training: Sequence[bool]
    reason: str


def read_trained_on(settings: Mapping[str, Any], items: Sequence[Item]) -> TrainedOn:
    """Match the patients of the real set with the training patients of the weights.

    Args:
        settings: settings of the synthetic set, with ``training``: one record, or for a chain one per bundle name.
        items: items of the real set, with ``split``.
    """
    records = _records(settings.get("training"))
    by_split = [item["split"] == "training" for item in items]
    tested = counted(len({item["patient"] for item in items if item["split"] == "training"}), "patient")
    if not records or not all(record.get("complete", True) for record in records):
        return TrainedOn(by_split, f"{UNKNOWN}, so the training split of the real set was tested ({tested})")
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
            f"the weights were trained on {names}, and the real set has only {counted(len(patients), 'patient')} of "
            "these. Give all of them with --real_dir to find copies of the others"
        )
    else:
        reason = f"the weights were trained on {names}, of which the real set has no patient: add it to --real_dir"
    return TrainedOn([item["patient"] in patients for item in items], reason)


def _records(training: Any) -> list[Mapping[str, Any]]:
    """The training records; empty if one of a chain is missing."""
    if not isinstance(training, Mapping):
        return []
    parts = [training] if "patients" in training else list(training.values())
    return parts if all(isinstance(part, Mapping) and "patients" in part for part in parts) else []
