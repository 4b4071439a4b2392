"""The classifier two-sample test: equal sets, a set with a faint pattern, and patients that are in both sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eyes import SIZE, real_set, synthetic_set

from retina_monai.evaluation.families.distribution import two_sample
from retina_monai.evaluation.families.distribution.two_sample import two_sample_test
from retina_monai.evaluation.measuring.eye import Eye

CHECKERBOARD = 8.0 * (-1.0) ** np.add.outer(np.arange(SIZE), np.arange(SIZE))


@pytest.fixture(scope="module")
def real() -> list[Eye]:
    return real_set(12)


@pytest.mark.slow
def test_a_faint_checkerboard_is_found(real: list[Eye]) -> None:
    marked = synthetic_set(real_set(12, 12), lambda image: image + CHECKERBOARD)
    result = two_sample_test(marked, real, 0, steps=60)
    assert result.auc > 0.9 and result.low > 0.75 and (result.N, result.real_N) == (12, 12)


def test_equal_photographs_are_indistinguishable_and_the_seed_repeats(real: list[Eye]) -> None:
    first, second = (two_sample_test(synthetic_set(real), real, 0, steps=5) for _ in range(2))
    assert first == second and first.auc == 0.5 and first.low == first.high == 0.5


def test_no_patient_is_trained_and_tested_on(real: list[Eye], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[set[int]] = []
    original = two_sample._train
    monkeypatch.setattr(two_sample, "_train", lambda *inputs: (trained.append(set(inputs[2])), original(*inputs))[1])
    two_sample_test(synthetic_set(real[:8]), real, 0, steps=1)
    patients = [eye.patient for eye in [*real, *real[:8]]]
    tested = [set(range(len(patients))) - places for places in trained]
    assert sorted(place for places in tested for place in places) == list(range(len(patients)))
    for inside, outside in zip(trained, tested, strict=True):
        assert {patients[place] for place in inside}.isdisjoint(patients[place] for place in outside)


def test_few_patients_have_no_interval(real: list[Eye]) -> None:
    two = [replace(eye, patient=("one", "patient3")[place % 2]) for place, eye in enumerate(synthetic_set(real[:4]))]
    result = two_sample_test(two, real, 0, steps=1)
    assert 0 <= result.auc <= 1 and np.isnan(result.low)
