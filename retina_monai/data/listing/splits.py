"""Splits by patient, the same on every machine: who validates, and how several sets are trained on together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from retina_monai.data.listing.layout import SPLITS, Datalist, Item

__all__ = ["last_tenth", "merge"]

logger = logging.getLogger("retina_monai")


def last_tenth(patients: Iterable[str]) -> set[str]:
    """The patients that validate: the last tenth, sorted as text; at least one, but nobody of a single one.

    Example:
        >>> last_tenth(["HRF/01_g", "HRF/01_dr"])
        {'HRF/01_g'}
    """
    order = sorted(set(patients))
    return set(order[-max(1, round(len(order) / 10)) :]) if len(order) > 1 else set()


def merge(datalists: Sequence[Datalist]) -> Datalist:
    """One datalist of several, in which each patient stands in one split.

    Who tests in one set, tests: what other sets have of that patient for training or validation (photographs generated
    from its vessel map, say) is left out. Else the first set that has a patient decides, and a set that names nobody
    for validation gives a tenth of the patients that it is the first to have, of those with a vessel map if there are
    any.

    Args:
        datalists: of each set: ``training`` and ``test``, and ``validation`` if it says who validates.

    Returns:
        ``training``, ``validation`` and ``test``.
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
            logger.warning("left out %d eyes: their patients validate or test in another set or split", left_out)
    return merged


def _patients(items: Sequence[Item]) -> set[str]:
    return {item["patient"] for item in items}
