"""Precision, recall, density and coverage against a naive implementation, a known expectation and hand-made sets."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from retina_monai.metrics import manifold
from retina_monai.metrics.manifold import Manifold, compare_manifolds


def normal(count: int, dimension: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimension))


def figures(result: Manifold) -> tuple[float, float, float, float]:
    return result.precision, result.recall, result.density, result.coverage


def naive(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def radius(rows: np.ndarray, index: int) -> float:
        return sorted(math.dist(rows[index], row) for other, row in enumerate(rows) if other != index)[k - 1]

    def within(centres: np.ndarray, points: np.ndarray) -> list[list[bool]]:
        radii = [radius(centres, index) for index in range(len(centres))]
        return [[math.dist(c, p) <= r for c, r in zip(centres, radii, strict=True)] for p in points]

    in_real, in_generated = within(real, generated), within(generated, real)
    precision = sum(any(row) for row in in_real) / len(generated)
    recall = sum(any(row) for row in in_generated) / len(real)
    density = sum(sum(row) for row in in_real) / (k * len(generated))
    coverage = sum(any(row[i] for row in in_real) for i in range(len(real))) / len(real)
    return precision, recall, density, coverage


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_it_equals_a_naive_implementation(neighbours: int, shift: float) -> None:
    real, generated = normal(31, 3, 0), normal(18, 3, 1, shift)
    result = compare_manifolds(real, generated, extractor="unit", resolution=4, neighbours=neighbours)
    assert figures(result) == pytest.approx(naive(real, generated, neighbours), rel=1e-12)
    assert (result.real_count, result.generated_count, result.dimension) == (31, 18, 3)
    assert (result.extractor, result.resolution, result.neighbours) == ("unit", 4, neighbours)


def balls(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """As Naeem et al.'s code reads, its distances and radii from scikit-learn; balls closed, as Kynkaanniemi's are."""
    real_radii, generated_radii = (
        NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()[0][:, -1] for rows in (real, generated)
    )
    distances = pairwise_distances(real, generated)
    within_real = distances <= real_radii[:, None]
    precision = within_real.any(0).mean()
    recall = (distances <= generated_radii[None]).any(1).mean()
    return precision, recall, within_real.sum(0).mean() / k, (distances.min(1) <= real_radii).mean()


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_it_equals_scikit_learns_neighbours(shift: float) -> None:
    real, generated = normal(300, 16, 0), normal(200, 16, 1, shift)
    result = compare_manifolds(real, generated, extractor="x", resolution=4)
    assert figures(result) == pytest.approx(balls(real, generated, 5), rel=1e-12)
    assert len(set(figures(result))) == 4


def test_precision_and_recall_equal_torch_fidelity(fidelity: Callable[[str], ModuleType]) -> None:
    real, generated = normal(90, 16, 0), normal(70, 16, 1, 0.5)
    how = {"prc_neighborhood": 3, "prc_batch_size": 50, "save_cpu_ram": False, "verbose": False}
    expected = fidelity("metric_prc").prc_features_to_metric(*map(torch.from_numpy, (generated, real)), **how)
    result = compare_manifolds(real, generated, extractor="x", resolution=4, neighbours=3)
    assert result.precision == pytest.approx(expected["precision"])
    assert result.recall == pytest.approx(expected["recall"])


@pytest.mark.parametrize("rows", [1, 5, 18, 31, 1000])
def test_it_does_not_depend_on_the_rows_in_memory(rows: int) -> None:
    real, generated = normal(31, 3, 0), normal(18, 3, 1, 0.5)
    assert compare_manifolds(real, generated, extractor="x", resolution=4, rows=rows) == compare_manifolds(
        real, generated, extractor="x", resolution=4
    )


def test_a_set_and_itself() -> None:
    rows = normal(40, 4, 0)
    for k in (1, 4):
        result = compare_manifolds(rows, rows[::-1], extractor="x", resolution=4, neighbours=k, rows=7)
        assert figures(result) == pytest.approx((1, 1, (k + 1) / k, 1))


def test_sets_far_apart_share_nothing() -> None:
    assert figures(compare_manifolds(normal(20, 3, 0), normal(20, 3, 1, 50), extractor="x", resolution=4)) == (
        0,
        0,
        0,
        0,
    )


def test_copies_of_a_few_real_images_are_precise_and_cover_little() -> None:
    real = normal(50, 3, 0)
    result = compare_manifolds(real, np.repeat(real[:2], 25, axis=0), extractor="x", resolution=4)
    assert result.precision == 1
    assert result.recall == 2 / 50
    assert result.coverage < 0.5


def test_an_outlier_inflates_precision_and_not_density() -> None:
    """The case of Naeem et al., figure 2: one real outlier's ball takes in generated images that nothing is near."""
    real = np.concatenate([0.1 * normal(50, 2, 0), [[10.0, 10.0]]])
    result = compare_manifolds(real, 0.1 * normal(50, 2, 1) + 5, extractor="x", resolution=4)
    assert result.precision == 1
    assert result.density == pytest.approx(1 / 5)
    assert result.coverage == pytest.approx(1 / 51)


def test_equal_distributions_cover_what_theory_says() -> None:
    """Naeem et al., lemma 2: whatever the distribution, ``1 - prod_i (N - i) / (M + N - i)`` for i = 1 .. k."""
    real, generated, k = 30, 20, 2
    results = [
        compare_manifolds(
            normal(real, 3, 2 * i), normal(generated, 3, 2 * i + 1), extractor="x", resolution=4, neighbours=k
        )
        for i in range(300)
    ]
    expected = 1 - math.prod((real - i) / (generated + real - i) for i in range(1, k + 1))
    values = np.array([result.coverage for result in results])
    assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(300)
    density = np.array([result.density for result in results])
    assert abs(density.mean() - 1) < 4 * density.std() / math.sqrt(300)


ROWS = normal(12, 3, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: compare_manifolds(ROWS, ROWS[:, :2], extractor="x", resolution=4),
            "3 dimensions and generated ones 2",
        ),
        (lambda: compare_manifolds(ROWS * np.nan, ROWS, extractor="x", resolution=4), "real features must be finite"),
        (
            lambda: compare_manifolds(ROWS, ROWS[:5], extractor="x", resolution=4),
            "neighbours must be from 1 to 4.*got 5",
        ),
        (
            lambda: compare_manifolds(ROWS, ROWS, extractor="x", resolution=4, neighbours=0),
            "neighbours must be from 1 to 11.*got 0",
        ),
        (lambda: compare_manifolds(ROWS, ROWS, extractor="x", resolution=4, rows=0), "rows must be at least 1"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_examples_run() -> None:
    assert doctest.testmod(manifold).failed == 0
