"""Streams of features: statistics and samples that do not depend on the batches, merging, the extractor's door."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from retina_monai.metrics import features as module
from retina_monai.metrics.features import FeatureReservoir, FeatureStatistics, check_pair, extract_features

ROWS = np.random.default_rng(0).normal(100, 3, (60, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
CHUNKS = [[60], [1] * 60, [7, 1, 32, 20], [59, 1]]


def batches(sizes: list[int]) -> list[np.ndarray]:
    return np.split(ROWS, np.cumsum(sizes)[:-1])


def seeded(*seed: int, capacity: int) -> FeatureReservoir:
    return FeatureReservoir(np.random.default_rng(seed), capacity)


@pytest.mark.parametrize("sizes", CHUNKS)
def test_statistics_of_a_stream_are_those_of_the_whole(sizes: list[int]) -> None:
    statistics = FeatureStatistics()
    for batch in batches(sizes):
        statistics.update(batch)
    assert statistics.count == 60
    np.testing.assert_allclose(statistics.mean, ROWS.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(ROWS, rowvar=False), rtol=1e-10)


@pytest.mark.parametrize("sizes", CHUNKS)
def test_statistics_merge(sizes: list[int]) -> None:
    total = FeatureStatistics()
    for batch in batches(sizes):
        total.merge(FeatureStatistics(batch))
    total.merge(FeatureStatistics())
    assert total.count == 60
    np.testing.assert_allclose(total.mean, ROWS.mean(0), rtol=1e-12)
    np.testing.assert_allclose(total.covariance, np.cov(ROWS, rowvar=False), rtol=1e-10)


def test_a_merged_part_is_not_changed() -> None:
    part, total = FeatureStatistics(ROWS[:10]), FeatureStatistics()
    total.merge(part)
    total.update(ROWS[10:])
    np.testing.assert_array_equal(part.mean, ROWS[:10].mean(0))
    np.testing.assert_allclose(part.covariance, np.cov(ROWS[:10], rowvar=False), rtol=1e-12)


def test_a_large_mean_does_not_drown_the_covariance() -> None:
    small = np.random.default_rng(0).normal(size=(500, 2))
    statistics = FeatureStatistics()
    for batch in np.split(small.astype(np.float64) + 1e7, 50):
        statistics.update(batch)
    np.testing.assert_allclose(statistics.covariance, np.cov(small, rowvar=False), atol=1e-6)


@pytest.mark.parametrize("sizes", CHUNKS)
def test_the_sample_does_not_depend_on_the_batches(sizes: list[int]) -> None:
    reservoir = seeded(3, capacity=20)
    for batch in batches(sizes):
        reservoir.update(batch)
    whole = seeded(3, capacity=20)
    whole.update(ROWS)
    assert reservoir.count == 60 and reservoir.features.shape == (20, 5)
    np.testing.assert_array_equal(reservoir.features, whole.features)
    other = seeded(4, capacity=20)
    other.update(ROWS)
    assert not np.array_equal(other.features, whole.features)


def test_all_is_kept_in_order_while_there_is_room() -> None:
    first, second = seeded(0, capacity=60), seeded(1, capacity=60)
    first.update(ROWS[:25])
    second.update(ROWS[25:])
    first.merge(second)
    np.testing.assert_array_equal(first.features, ROWS)
    assert first.features.dtype == ROWS.dtype


def test_memory_is_bounded() -> None:
    reservoir, statistics = seeded(0, capacity=8), FeatureStatistics()
    for batch in [ROWS] * 50:
        reservoir.update(batch)
        statistics.update(batch)
    assert reservoir.count == statistics.count == 3000
    assert len(reservoir._kept) == 8
    assert all(row.base is None for _, _, row in reservoir._kept)  # a view would keep its batch alive
    assert statistics.mean.shape == (5,) and statistics._scatter.shape == (5, 5)


def mean_colour(images: torch.Tensor) -> torch.Tensor:
    return images.mean((2, 3))


IMAGES = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))


def test_features_leave_torch_as_plain_numbers() -> None:
    weight = torch.ones(3, requires_grad=True)
    values = extract_features(lambda images: (images * weight[:, None, None]).mean((2, 3)), MetaTensor(IMAGES))
    assert type(values) is np.ndarray and values.dtype == np.float32
    np.testing.assert_allclose(values, IMAGES.mean((2, 3)).numpy(), rtol=1e-6)
    half = extract_features(lambda images: mean_colour(images).bfloat16(), IMAGES)
    np.testing.assert_array_equal(half, IMAGES.mean((2, 3)).bfloat16().float().numpy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: extract_features(mean_colour, IMAGES[0]), r"images must be \(B, 3, H, W\), got \(3, 4, 4\)"),
        (lambda: extract_features(mean_colour, IMAGES[:, :1]), r"got \(2, 1, 4, 4\)"),
        (lambda: extract_features(lambda images: images, IMAGES), r"must return \(B, D\) with B = 2"),
        (lambda: extract_features(lambda images: mean_colour(images)[:1], IMAGES), r"got \(1, 3\)"),
        (lambda: extract_features(mean_colour, IMAGES * math.nan), "extractor's features must be finite"),
        (lambda: check_pair(ROWS, ROWS[:, :4]), "real features have 5 dimensions and generated ones 4"),
        (lambda: check_pair(ROWS[0], ROWS), r"real features must be \(N, D\)"),
        (lambda: check_pair(ROWS, ROWS[:0]), r"generated features must be \(N, D\).*got \(0, 5\)"),
        (lambda: check_pair(ROWS, ROWS * np.inf), "generated features must be finite"),
        (lambda: FeatureStatistics([[1.0, 2.0]]).covariance, "at least two images, got 1"),
        (lambda: FeatureStatistics(ROWS).update(ROWS[:, :2]), "must have 5 dimensions as before, got 2"),
        (lambda: FeatureStatistics(ROWS).merge(FeatureStatistics(ROWS[:, :2])), "must have 5 dimensions"),
        (lambda: FeatureStatistics(ROWS * math.nan), "must be finite"),
        (lambda: seeded(0, capacity=0), "capacity must be at least 1"),
        (lambda: seeded(0, capacity=2).features, "has seen no image"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_streams_that_cannot_join_are_refused() -> None:
    first, second = seeded(0, capacity=2), seeded(1, capacity=2)
    first.update(ROWS)
    second.update(ROWS)
    with pytest.raises(ValueError, match="not a sample of 2 of 60"):
        first.merge(second)
    with pytest.raises(ValueError, match="must have 5 dimensions"):
        first.update(ROWS[:, :2])


def test_the_examples_run() -> None:
    assert doctest.testmod(module).failed == 0
