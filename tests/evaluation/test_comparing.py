"""Differences with their intervals, and distances with their floor, on samples whose answer is known."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from retina_monai.evaluation.measuring import comparing
from retina_monai.evaluation.measuring.comparing import compare_samples, difference_interval
from retina_monai.metrics import kolmogorov_smirnov, wasserstein

RNG = np.random.default_rng(0)
PATIENTS = [f"P{number}" for number in range(40)]


def test_pairs_stay_pairs() -> None:
    second = RNG.normal(0, 5, 40)
    first = second + RNG.normal(1, 0.1, 40)
    paired = difference_interval(first, second, PATIENTS, PATIENTS)
    apart = difference_interval(first, second, PATIENTS, [f"Q{number}" for number in range(40)])
    assert paired.mean == apart.mean == pytest.approx((first - second).mean())
    assert 0.9 < paired.low < 1 < paired.high < 1.1 and paired.N == 40
    assert apart.low < -0.5 and apart.high > 2.5


def test_an_unpaired_interval_is_that_of_the_textbook() -> None:
    first, second = RNG.normal(3, 1, 400), RNG.normal(2, 2, 300)
    found = difference_interval(first, second, range(400), range(1000, 1300))
    half = 1.96 * np.sqrt(first.var() / 400 + second.var() / 300)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_eyes_of_one_patient_are_drawn_together() -> None:
    first, second = RNG.normal(0, 1, 100), RNG.normal(0, 1, 100)
    own = difference_interval(first, second, range(100), range(100, 200))
    eyes = [number // 4 for number in range(400)]
    fourfold = difference_interval(first.repeat(4), second.repeat(4), eyes, [100 + number for number in eyes])
    assert fourfold[1:3] == pytest.approx(own[1:3], abs=1e-9)  # nothing new was seen


def test_patients_of_one_side_only_are_drawn_apart_from_pairs() -> None:
    second = RNG.normal(0, 5, 40)
    first = np.append(second + 1, [1.0, 1.0])
    mixed = difference_interval(first, second, [*PATIENTS, "X", "Y"], PATIENTS)
    assert mixed.mean == pytest.approx(first.mean() - second.mean()) and mixed.high - mixed.low < 0.5


@pytest.mark.parametrize("patients", ["aaaa", "aabb", "aabc"])
def test_few_patients_have_no_interval(patients: str) -> None:
    found = difference_interval([1.0, 3.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0], patients, "abcd")
    assert found.mean == 1 and np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(("first", "groups"), [([], []), ([np.nan], ["a"]), ([1.0], ["a", "b"])])
def test_wrong_values_are_refused(first: list[float], groups: list[str]) -> None:
    with pytest.raises(ValueError, match="finite, not empty, and have one group each"):
        difference_interval(first, [1.0], groups, ["a"])


def test_a_sample_of_the_same_eyes_is_as_far_as_real_halves() -> None:
    real, made = RNG.normal(0, 1, (200, 1)), RNG.normal(0, 1, (200, 1))
    found = compare_samples(made, real, [f"S{n}" for n in range(200)], [f"R{n // 2}" for n in range(200)])
    assert found.kolmogorov_smirnov == kolmogorov_smirnov(made, real)
    assert found.wasserstein == wasserstein(made, real)
    assert 0.5 < found.ratio < 1.6 and 0.05 < found.floor_ks < 0.2
    assert (found.N, found.real_N, found.real_patients) == (200, 200, 100)


def test_a_shifted_sample_is_farther_by_its_shift() -> None:
    real = RNG.normal(0, 1, (200, 3))
    found = compare_samples(real + 2, real, PATIENTS * 5, PATIENTS * 5)
    assert found.wasserstein == pytest.approx(2) and found.ratio == pytest.approx(2 / found.floor_wasserstein, rel=0.1)


def test_a_patient_is_never_compared_with_its_own_condition() -> None:
    """Each patient has a value of its own: a set that repeats them all is as far from a half as the other half is."""
    values = np.arange(40.0)[:, None]
    found = compare_samples(values, values, PATIENTS, PATIENTS)
    assert found.wasserstein == 0 and found.ratio == pytest.approx(1)


def test_without_two_patients_there_is_no_floor() -> None:
    found = compare_samples([[1.0], [2.0]], [[2.0], [3.0]], ["a", "b"], ["c", "c"])
    assert found.wasserstein == 1 and np.isnan([found.floor_ks, found.floor_wasserstein, found.ratio]).all()
    nothing = compare_samples([[np.nan]], [[2.0], [3.0]], ["a"], ["c", "d"])
    assert np.isnan([nothing.kolmogorov_smirnov, nothing.wasserstein, nothing.ratio]).all()


def test_the_example_runs() -> None:
    assert doctest.testmod(comparing).failed == 0
