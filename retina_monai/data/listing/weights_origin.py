"""``training.json``: the record of the training data of weights, for reports and cards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from retina_monai.data.files.writing import software
from retina_monai.data.listing.layout import Datalist
from retina_monai.data.listing.layouts import fingerprint
from retina_monai.data.listing.pseudonyms import PHANTOM, patient_keys
from retina_monai.errors import RetinaError

__all__ = ["FILE", "read_training", "training_record"]

FILE = "training.json"
TEXTS = ("fingerprint", "date", "package", "monai", "torch")


def training_record(datalist: Datalist, seed: int, started_from: Iterable[str | Path | None] = ()) -> dict[str, Any]:
    """Record the training data of weights, without patient names and paths.

    Args:
        datalist: datalist whose ``training`` split is recorded.
        seed: seed of the training.
        started_from: weights that the training starts from or is taught by. ``None`` entries are skipped.

    Returns:
        ``datasets`` (names, sorted), ``eyes``, ``fingerprint`` (:func:`retina_monai.data.fingerprint` of the training
        split), ``patients`` (:func:`retina_monai.data.listing.pseudonyms.patient_keys`, sorted, without phantoms),
        ``seed``, ``date``, ``package``, ``monai``, ``torch``, and ``complete``: whether the data behind
        ``started_from`` is known. If it is, its ``datasets`` and ``patients`` are included.

    Raises:
        RetinaError: if a ``training.json`` beside one of ``started_from`` cannot be read.
    """
    items = datalist["training"]
    people = [item for item in items if not str(item["patient"]).startswith(f"{PHANTOM}/")]
    earlier = [read_training(path) for path in started_from if path is not None]
    records = [record for record in earlier if record is not None]
    datasets = {str(item["dataset"]) for item in items}.union(*(record["datasets"] for record in records))
    patients = {key for item in people for key in patient_keys(item)}.union(*(record["patients"] for record in records))
    return {
        "datasets": sorted(datasets),
        "eyes": len(items),
        "fingerprint": fingerprint({"training": items}),
        "patients": sorted(patients),
        "seed": seed,
        "date": date.today().isoformat(),
        "package": software(),
        "monai": version("monai"),
        "torch": version("torch"),
        "complete": len(records) == len(earlier) and all(record["complete"] for record in records),
    }


def read_training(weights: str | Path) -> dict[str, Any] | None:
    """Read the training record beside a weights file; ``None`` if there is none.

    Raises:
        RetinaError: if the record cannot be read or is invalid.
    """
    path = Path(weights).with_name(FILE)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        lists = [record["datasets"], record["patients"]]
        texts = [record[key] for key in TEXTS] + [text for texts in lists for text in texts]
        if not (all(isinstance(texts, list) for texts in lists) and all(isinstance(text, str) for text in texts)):
            raise TypeError("not text")
        return {**record, "eyes": int(record["eyes"]), "complete": bool(record["complete"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RetinaError(f"{path} is not the record of a training: remove it, or train again") from error
