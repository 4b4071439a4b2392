"""Deterministic splits by patient: choose validation patients and merge several data sets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from retina_monai.data.listing.layout import SPLITS, Datalist, Item

__all__ = ["last_tenth", "merge"]

logger = logging.getLogger("retina_monai")


def last_tenth(patients: Iterable[str]) -> set[str]:
    """Choose the validation patients: the last tenth in text order, at least one, but none if there is only one.

    Example:
        >>> last_tenth(["HRF/01_g", "HRF/01_dr"])
        {'HRF/01_g'}
    """
    order = sorted(set(patients))
    return set(order[-max(1, round(len(order) / 10)) :]) if len(order) > 1 else set()


def merge(datalists: Sequence[Datalist]) -> Datalist:
    """Merge datalists so that each patient is in one split.

    A patient in the test split of any set is a test patient. Training or validation items of that patient in other
    sets, such as photographs generated from its vessel map, are left out. For any other patient, the first set that
    has it decides. A set without a validation split contributes a tenth of the patients that are not in an earlier set,
    chosen from those with a vessel map if there are any.

    Args:
        datalists: for each set, the items of ``training``, ``test`` and optionally ``validation``.

    Returns:
        Items of ``training``, ``validation`` and ``test``.
    """
    merged: Datalist = {split: [] for split in SPLITS}
    roles = {item["patient"]: "test" for datalist in datalists for item in datalist.get("test", [])}
    for datalist in datalists:
        merged["test"] += datalist.get("test", [])
        items = datalist.get("training", []) + datalist.get("validation", [])
        labelled = _patients([item for item in items if "vessel" in item]) or _patients(items)
        validating = _patients(datalist.get("validation", [])) or last_tenth(labelled - roles.keys())
        left_out = 0
        for item in items:
            role = "validation" if item["patient"] in validating else "training"
            fits = roles.setdefault(item["patient"], role) == role
            merged[role] += [item] if fits else []
            left_out += not fits
        if left_out:
            logger.warning("left out %d eyes: their patients are in another split already", left_out)
    return merged


def _patients(items: Sequence[Item]) -> set[str]:
    return {item["patient"] for item in items}
