"""Who is tested for privacy: patients whom the weights were trained on, whatever the splits of the real set say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from retina_monai.data.listing.pseudonyms import patient_keys
from retina_monai.evaluation.families.privacy.trained_on import read_trained_on

ITEMS = [
    {"patient": f"HRF/0{number}", "dataset": "HRF", "split": split, "image": f"{number}.png"}
    for number, split in enumerate(("training", "training", "validation", "test"))
]


def record(items: Sequence[Mapping[str, Any]], **values: Any) -> dict[str, Any]:
    patients = sorted({key for item in items for key in patient_keys(item)})
    return {"datasets": ["HRF"], "patients": patients, "complete": True, **values}


@pytest.mark.parametrize(
    ("training", "flags", "reason"),
    [
        (record(ITEMS[:2]), [1, 1, 0, 0], ""),
        (record([ITEMS[1], ITEMS[3]]), [0, 1, 0, 1], ""),
        ({"one": record(ITEMS[:1]), "two": record(ITEMS[2:3])}, [1, 0, 1, 0], ""),
        (record([*ITEMS[:1], {"patient": "FIVES/7"}]), [1, 0, 0, 0], "has only 1 patient of these"),
        (record([{"patient": "FIVES/7"}]), [0, 0, 0, 0], "of which the real set has no patient"),
        (record([]), [1, 1, 0, 0], "trained on no patient"),
        (None, [1, 1, 0, 0], "not known on what the generator was trained, so the training split"),
        (record(ITEMS[:2], complete=False), [1, 1, 0, 0], "not known"),
        ({"one": record(ITEMS[:1]), "two": None}, [1, 1, 0, 0], "not known"),
        ("nonsense", [1, 1, 0, 0], "not known"),
    ],
)
def test_patients_are_matched(training: Any, flags: list[int], reason: str) -> None:
    found = read_trained_on({} if training is None else {"training": training}, ITEMS)
    assert [int(one) for one in found.training] == flags
    assert reason in found.reason and bool(reason) == bool(found.reason)


def test_both_eyes_of_a_patient_without_a_public_name_are_tested(tmp_path: Path) -> None:
    eyes = []
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
        eyes.append({"patient": f"clinic/{number // 2}", "image": str(tmp_path / f"{number}.png"), "split": "test"})
    found = read_trained_on({"training": record(eyes[:1])}, eyes)
    assert list(found.training) == [True, True, False, False] and not found.reason
