"""Privacy measures against scikit-learn and scipy, hand-made cases, and a known rate of false positives."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from retina_monai.metrics import privacy
from retina_monai.metrics.privacy import (
    authenticity,
    clopper_pearson,
    copy_threshold,
    infer_membership,
    nearest_distances,
)


def normal(count: int, seed: int, dimension: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension))


def test_the_examples_of_the_docstrings_run() -> None:
    failed, tried = doctest.testmod(privacy)
    assert not failed and tried


def test_nearest_distances_equal_those_of_scikit_learn() -> None:
    queries, reference = normal(600, 0), normal(40, 1)
    distances, places = nearest_distances(queries, reference)
    expected, neighbours = NearestNeighbors(n_neighbors=1).fit(reference).kneighbors(queries)
    np.testing.assert_allclose(distances, expected[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(places, neighbours[:, 0])


def test_pairs_of_one_patient_do_not_count() -> None:
    fellows = np.array([[0.0], [0.1], [5.0]])
    distances, places = nearest_distances(fellows, fellows, "aab", "aab")
    np.testing.assert_allclose(distances, [5.0, 4.9, 4.9])
    assert places.tolist() == [2, 2, 1]
    assert np.isinf(nearest_distances(fellows[:1], fellows[:2], "a", "aa")[0]).all()
    with pytest.raises(ValueError, match="one entry for each of 3 queries and 3 references"):
        nearest_distances(fellows, fellows, "aab", None)


def test_authenticity_is_what_its_definition_says() -> None:
    training, generated = normal(30, 2), normal(50, 3)
    model = NearestNeighbors().fit(training)
    distance, nearest = (column[:, 0] for column in model.kneighbors(generated, 1))
    apart = model.kneighbors(training, 2)[0][:, 1]
    assert authenticity(training, generated) == np.mean(apart[nearest] < distance)


def test_copies_are_not_authentic_and_far_images_are() -> None:
    training = normal(30, 4)
    assert authenticity(training, training) == 0
    assert authenticity(training, training + 1e-3) == 0
    assert authenticity(training, normal(20, 5) + 100) == 1
    with pytest.raises(ValueError, match="at least 2 training images"):
        authenticity(training[:1], training)


def test_authenticity_with_patients_looks_past_the_fellow_eye() -> None:
    training, generated = [[0.0], [0.1], [4.0]], [[-1.0]]
    assert authenticity(training, generated) == 1
    assert authenticity(training, generated, "aab") == 0


def test_the_membership_auc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    near, far = rng.integers(0, 9, 20), rng.integers(2, 12, 15)
    found = infer_membership(near, far, list(range(20)), list(range(20, 35)), seed=0)
    expected = roc_auc_score([1] * 20 + [0] * 15, -np.concatenate([near, far]))
    assert found.auc == pytest.approx(expected)
    assert found.low < found.auc < found.high
    assert found == infer_membership(near, far, list(range(20)), list(range(20, 35)), seed=0)


def test_membership_of_hand_made_distances() -> None:
    copied = infer_membership([0.0, 0.0, 0.0], [1.0, 2.0], "abc", "de", seed=0)
    assert (copied.auc, copied.low, copied.high) == (1, 1, 1)
    alike = infer_membership([1.0, 1.0], [1.0, 1.0], "ab", "cd", seed=0)
    assert (alike.auc, alike.low, alike.high) == (0.5, 0.5, 0.5)


def test_patients_of_both_sides_are_left_out_and_two_eyes_are_one_patient() -> None:
    found = infer_membership([0.0, 0.0, 9.0], [1.0, 2.0, 0.0], "aax", "bcx", seed=0)
    assert (found.auc, found.members, found.others) == (1, 1, 2)
    with pytest.raises(ValueError, match="patients of the training and others"):
        infer_membership([0.0], [1.0], "a", "a", seed=0)


def test_the_bootstrap_draws_patients_and_not_eyes() -> None:
    rng = np.random.default_rng(7)
    near, far = rng.normal(0, 1, 15), rng.normal(0.5, 1, 15)
    members, others = list(range(15)), list(range(15, 30))
    once = infer_membership(near, far, members, others, seed=0)
    often = infer_membership(np.tile(near, 8), np.tile(far, 8), members * 8, others * 8, seed=0)
    assert often.high - often.low == pytest.approx(once.high - once.low, abs=1e-9)


def test_unseen_patients_exceed_the_threshold_at_the_rate() -> None:
    rng = np.random.default_rng(8)
    thresholds = [copy_threshold(np.tanh(rng.normal(0.2, 0.05, 39)), list(range(39))) for _ in range(2000)]
    rates = [stats.norm.sf(np.arctanh(threshold.value), 0.2, 0.05) for threshold in thresholds]
    assert np.mean(rates) == pytest.approx(2 / 40, abs=0.003)  # 38th of 39: two of forty lie above
    inside = [threshold.low <= rate <= threshold.high for threshold, rate in zip(thresholds, rates, strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_few_patients_give_a_threshold_that_still_holds_the_rate() -> None:
    rng = np.random.default_rng(9)
    values = [copy_threshold(np.tanh(rng.normal(0.2, 0.05, 6)), list(range(6))).value for _ in range(2000)]
    rate = np.mean(stats.norm.sf(np.arctanh(values), 0.2, 0.05))
    assert 0.02 < rate <= 0.055


def test_of_a_patient_the_highest_score_counts() -> None:
    scores = [0.1, 0.3, 0.2, 0.4]
    assert copy_threshold(scores, "aabc", rate=0.4) == copy_threshold([0.3, 0.2, 0.4], "abc", rate=0.4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1, 0.2, 0.3], "abc", 1.0), r"rate must be in \(0, 1\)"),
        (([0.1, 0.2], "ab"), "at least 3 patients, got 2"),
        (([0.1, 0.2, 1.5], "abc"), "correlations, one for each of 3 eyes"),
        (([0.1, 0.2, float("nan")], "abc"), "finite"),
    ],
)
def test_a_threshold_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        copy_threshold(*arguments)


@pytest.mark.parametrize(("hits", "count"), [(0, 20), (1, 20), (19, 20), (20, 20), (88, 88)])
def test_clopper_pearson_is_that_of_scipy(hits: int, count: int) -> None:
    expected = stats.binomtest(hits, count).proportion_ci(0.95, "exact")
    assert clopper_pearson(hits, count) == pytest.approx((expected.low, expected.high))


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 of 0"):
        clopper_pearson(0, 0)
