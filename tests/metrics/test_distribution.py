"""KID and FID against double loops, closed forms and scipy, the floor of real halves, and inside an engine."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.bundle import ConfigParser
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from retina_monai.metrics import distribution
from retina_monai.metrics.distribution import (
    KernelDistance,
    RealFloor,
    fid,
    floor_of_halves,
    frechet_distance,
    halve,
    halves,
    kid,
    kid_of_subsets,
    polynomial_mmd,
    sample_fid,
)
from retina_monai.metrics.features import CAPACITY, FeatureMetric, FeatureStatistics, extract_features


def normal(count: int, dimension: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimension))


def naive_mmd(real: np.ndarray, generated: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows: np.ndarray) -> float:
        return np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])

    return within(real) + within(generated) - 2 * np.mean([kernel(x, y) for x in real for y in generated])


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_mmd_equals_a_double_loop(shift: float) -> None:
    real, generated = normal(9, 4, 0), normal(13, 4, 1, shift)
    expected = naive_mmd(real, generated)
    assert polynomial_mmd(real, generated) == pytest.approx(expected, rel=1e-9)
    assert polynomial_mmd(generated, real) == pytest.approx(expected, rel=1e-9)


def test_the_mmd_does_not_depend_on_the_rows_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(9, 4, 0), normal(13, 4, 1)
    monkeypatch.setattr(distribution, "ROWS", 4)
    assert polynomial_mmd(real, generated) == pytest.approx(naive_mmd(real, generated), rel=1e-9)


def test_the_mmd_is_unbiased_over_all_halves_of_a_set() -> None:
    rows = normal(8, 3, 0)
    values = [
        polynomial_mmd(rows[list(half)], np.delete(rows, list(half), axis=0)) for half in combinations(range(8), 4)
    ]
    assert len(values) == 70
    assert np.mean(values) == pytest.approx(0, abs=1e-12)
    assert min(values) < 0 < max(values)


def test_kid_is_the_mean_over_its_subsets() -> None:
    real, generated = normal(20, 3, 0), normal(30, 3, 1, 0.5)
    result = kid(real, generated, np.random.default_rng(5), extractor="unit", resolution=8, subsets=6, subset_size=7)
    random = np.random.default_rng(5)
    of_real = [random.choice(20, 7, replace=False) for _ in range(6)]
    of_generated = [random.choice(30, 7, replace=False) for _ in range(6)]
    values = [naive_mmd(real[a], generated[b]) for a, b in zip(of_real, of_generated, strict=True)]
    assert result.value == pytest.approx(np.mean(values), rel=1e-9)
    assert result.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-9)
    assert result.values == pytest.approx(values, rel=1e-9)
    assert result.standard_error == pytest.approx(result.deviation * math.sqrt(7 / 13), rel=1e-9)
    assert (result.real_count, result.generated_count, result.dimension, result.extractor) == (20, 30, 3, "unit")
    assert (result.subsets, result.subset_size, result.real_seen, result.generated_seen) == (6, 7, 20, 30)
    assert result.resolution == 8


def test_kid_of_given_subsets() -> None:
    real, generated = normal(20, 3, 0), normal(30, 3, 1, 0.5)
    subsets = [(np.arange(i, i + 5), np.arange(2 * i, 2 * i + 5)) for i in range(4)]
    how = {"extractor": "x", "resolution": 8}
    result = kid_of_subsets(real, generated, subsets, **how)
    assert result.values == pytest.approx([naive_mmd(real[a], generated[b]) for a, b in subsets], rel=1e-9)
    assert result.subset_size == 5
    with pytest.raises(ValueError, match=r"one size, got \[4, 5\]"):
        kid_of_subsets(real, generated, [*subsets, (np.arange(4), np.arange(5))], **how)


@pytest.mark.parametrize(("count", "size"), [(9, 4), (2100, 1000)])
def test_subsets_are_half_of_the_smaller_set_up_to_1000(count: int, size: int) -> None:
    result = kid(
        normal(count, 1, 0), normal(count + 1, 1, 1), np.random.default_rng(0), extractor="x", resolution=8, subsets=2
    )
    assert result.subset_size == size


def test_the_standard_error_is_that_of_the_value() -> None:
    results = [
        kid(
            normal(60, 3, 2 * i),
            normal(60, 3, 2 * i + 1, 0.8),
            np.random.default_rng(i),
            extractor="x",
            resolution=8,
            subsets=60,
        )
        for i in range(200)
    ]
    spread = np.std([result.value for result in results])
    assert 0.85 < np.mean([result.standard_error for result in results]) / spread < 1.3


def test_kid_of_a_set_and_itself_is_below_zero() -> None:
    """An image meets itself between the sets and not within them: ``2 / N`` of what that adds to the mean kernel."""
    rows = normal(100, 4, 0)
    kernel = (rows @ rows.T / 4 + 1) ** 3
    itself = kernel.trace() / 100
    another = (kernel.sum() - kernel.trace()) / (100 * 99)
    assert polynomial_mmd(rows, rows) == pytest.approx(2 / 100 * (another - itself), rel=1e-9)
    result = kid(rows, rows, np.random.default_rng(0), extractor="x", resolution=8)
    assert result.value == pytest.approx(2 / 100 * (another - itself), abs=4 * result.deviation / 10)
    assert result.value < 0


def test_kid_repeats_with_its_generator_and_grows_with_the_shift() -> None:
    def measure(shift: float, seed: int = 0) -> float:
        return kid(
            normal(80, 4, 0), normal(80, 4, 1, shift), np.random.default_rng(seed), extractor="x", resolution=8
        ).value

    assert measure(1) == measure(1) != measure(1, seed=1)
    assert measure(0) < measure(0.5) < measure(1) < measure(2)


def spd(dimension: int, seed: int) -> np.ndarray:
    root = normal(dimension, dimension, seed)
    return root @ root.T


@pytest.mark.parametrize("dimension", [1, 2, 6, 30])
def test_the_frechet_distance_equals_scipy(dimension: int) -> None:
    one, other = spd(dimension, 0), spd(dimension, 1)
    mean, other_mean = normal(2, dimension, 2)
    expected = ((mean - other_mean) ** 2).sum() + np.trace(one + other - 2 * np.real(sqrtm(one @ other)))
    assert frechet_distance(mean, one, other_mean, other) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(other_mean, other, mean, one) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(mean, one, mean, one) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_aligned_gaussians_is_known_at_any_rank() -> None:
    """Deviations of 0 and of very different sizes, turned by one rotation: ``sum (s1 - s2)^2``."""
    rotation = ortho_group.rvs(40, random_state=0)
    one, other = np.zeros(40), np.zeros(40)
    one[:10], other[5:15] = np.logspace(-3, 1, 10), np.logspace(1, -3, 10)
    turned = [rotation @ np.diag(deviations**2) @ rotation.T for deviations in (one, other)]
    expected = ((one - other) ** 2).sum() + 40
    value = frechet_distance(np.zeros(40), turned[0], np.ones(40), turned[1])
    assert value == pytest.approx(expected, rel=1e-8)


def test_sets_of_one_repeated_image_have_only_their_means() -> None:
    one, other = FeatureStatistics(np.zeros((5, 3))), FeatureStatistics(np.full((5, 3), 2.0))
    assert fid(one, other, extractor="x", resolution=8).value == 12
    assert fid(one, FeatureStatistics(normal(50, 3, 0)), extractor="x", resolution=8).value > 1


def test_fid_of_many_samples_is_that_of_their_gaussians() -> None:
    random = np.random.default_rng(0)
    one, other = FeatureStatistics(), FeatureStatistics()
    for _ in range(20):
        one.update(random.normal(0, [1.0, 2.0, 3.0], (10_000, 3)))
        other.update(random.normal(1, [2.0, 2.0, 1.0], (10_000, 3)))
    result = fid(one, other, extractor="unit", resolution=8)
    assert result.value == pytest.approx(3 + 1 + 0 + 4, rel=0.01)
    assert (result.real_count, result.generated_count, result.dimension) == (200_000, 200_000, 3)
    assert not result.rank_deficient and result.warning == ""


@pytest.mark.parametrize(("count", "other", "flagged"), [(8, 9, True), (9, 8, True), (9, 9, False)])
def test_fid_says_when_the_images_are_too_few(count: int, other: int, flagged: bool) -> None:
    result = fid(
        FeatureStatistics(normal(count, 8, 0)), FeatureStatistics(normal(other, 8, 1)), extractor="x", resolution=8
    )
    assert result.rank_deficient is flagged
    assert bool(result.warning) is flagged
    if flagged:
        assert f"there are {count} real and {other} generated ones" in result.warning


def test_halves_part_all_images() -> None:
    first, second = halve(11, np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(11))
    assert {len(first), len(second)} == {5, 6}
    again, _ = halve(11, np.random.default_rng(0))
    np.testing.assert_array_equal(first, again)
    assert len({tuple(halve(11, np.random.default_rng(seed))[0]) for seed in range(20)}) > 10


@pytest.mark.parametrize("seed", range(20))
def test_no_patient_is_in_both_halves(seed: int) -> None:
    patients = [f"p{i}" for i in range(10) for _ in range(1 + i % 3)]
    first, second = halve(len(patients), np.random.default_rng(seed), patients)
    assert sorted([*first, *second]) == list(range(len(patients)))
    assert not {patients[i] for i in first} & {patients[i] for i in second}
    assert abs(len(first) - len(second)) <= 3


def test_fid_of_samples_is_that_of_their_statistics() -> None:
    for count, other in ((5, 9), (8, 8), (30, 5), (30, 40)):
        one, two = normal(count, 8, 0), normal(other, 8, 1, 0.5) * np.arange(1, 9)
        expected = fid(FeatureStatistics(one), FeatureStatistics(two), extractor="x", resolution=8).value
        assert sample_fid(one, two) == pytest.approx(expected, rel=1e-9)
    assert sample_fid(one, one) == pytest.approx(0, abs=1e-9)


FIDELITY_KID = {"kid_subsets": 30, "kid_subset_size": 40, "kid_kernel": "poly", "rng_seed": 3, "verbose": False}


def test_kid_equals_torch_fidelity(fidelity: Callable[[str], ModuleType]) -> None:
    """On the very subsets that it draws; its deviation has the divisor N."""
    theirs = fidelity("metric_kid")
    real, generated = normal(90, 16, 0), normal(70, 16, 1, 0.3)
    kernel = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    expected = theirs.kid_features_to_metric(*map(torch.from_numpy, (real, generated)), **FIDELITY_KID, **kernel)
    random = np.random.RandomState(3)
    subsets = [(random.choice(90, 40, replace=False), random.choice(70, 40, replace=False)) for _ in range(30)]
    result = kid_of_subsets(real, generated, subsets, extractor="x", resolution=8)
    assert result.value == pytest.approx(expected[theirs.KEY_METRIC_KID_MEAN], rel=1e-9)
    assert np.std(result.values) == pytest.approx(expected[theirs.KEY_METRIC_KID_STD], rel=1e-9)


def test_fid_equals_torch_fidelity(fidelity: Callable[[str], ModuleType]) -> None:
    theirs = fidelity("metric_fid")
    real, generated = normal(90, 16, 0), normal(70, 16, 1, 0.3) * np.arange(1, 17)
    statistics = [theirs.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (real, generated)]
    expected = theirs.fid_statistics_to_metric(*statistics, verbose=False)[theirs.KEY_METRIC_FID]
    assert sample_fid(real, generated) == pytest.approx(expected, rel=1e-8)
    result = fid(FeatureStatistics(real), FeatureStatistics(generated), extractor="x", resolution=8)
    assert result.value == pytest.approx(expected, rel=1e-8)


def test_many_halves_have_one_size_and_share_no_patient() -> None:
    patients = [str(i // 3) for i in range(33)]
    pairs = halves(33, np.random.default_rng(0), patients, splits=50)
    sizes = {len(part) for pair in pairs for part in pair}
    assert len(pairs) == 50 and sizes == {15}
    for first, second in pairs:
        assert not {patients[i] for i in first} & {patients[i] for i in second}
        assert len(set(first)) == len(set(second)) == 15
    assert len({tuple(first) for first, _ in pairs}) == 50
    assert {len(part) for pair in halves(33, np.random.default_rng(0), splits=5, size=4) for part in pair} == {4}
    with pytest.raises(ValueError, match="splits and size must be at least 1, got 0 and 1000"):
        halves(33, np.random.default_rng(0), splits=0)


def real_floor(
    rows: np.ndarray, generator: np.random.Generator, patients: Sequence[str] | None = None, **how: Any
) -> RealFloor:
    """Over random halves of the rows."""
    split = {key: how.pop(key) for key in ("splits", "size") if key in how}
    pairs = halves(len(rows), generator, patients, **split)
    return floor_of_halves(rows, pairs, by_patient=patients is not None, **how)


def test_the_floor_compares_halves() -> None:
    rows = normal(30, 3, 0)
    patients = [str(i // 3) for i in range(30)]
    how = {"extractor": "unit", "resolution": 8, "patients": patients}
    floor = real_floor(rows, np.random.default_rng(4), splits=12, size=9, **how)
    pairs = halves(30, np.random.default_rng(4), patients, splits=12, size=9)
    expected = [polynomial_mmd(rows[first], rows[second]) for first, second in pairs]
    assert floor.kids == pytest.approx(expected, rel=1e-9)
    assert floor.fids == pytest.approx([sample_fid(rows[one], rows[two]) for one, two in pairs[:10]], rel=1e-9)
    assert floor.kid == pytest.approx(np.mean(np.abs(expected)))
    assert floor.fid == pytest.approx(np.mean(floor.fids))
    assert floor.percentile_95 == pytest.approx(np.percentile(expected, 95))
    assert (floor.real_count, floor.generated_count, floor.resolution, floor.dimension) == (9, 9, 8, 3)
    assert floor.by_patient and floor.extractor == "unit"
    assert not real_floor(rows, np.random.default_rng(0), extractor="x", resolution=8, splits=2).by_patient


def test_the_halves_of_a_set_are_zero_apart_on_average_and_the_floor_is_what_chance_does() -> None:
    """Of fresh sets of as many images the floor is the mean absolute KID: its promise."""
    random = np.random.default_rng(1)
    floors = [real_floor(normal(40, 3, i), random, extractor="x", resolution=8, splits=40) for i in range(40)]
    kids = np.concatenate([floor.kids for floor in floors])
    assert abs(kids.mean()) < 0.1 * kids.std()
    fresh = [polynomial_mmd(normal(20, 3, 1000 + i), normal(20, 3, 2000 + i)) for i in range(400)]
    assert np.mean([floor.kid for floor in floors]) == pytest.approx(np.mean(np.abs(fresh)), rel=0.15)
    assert np.mean([floor.percentile_95 for floor in floors]) == pytest.approx(np.percentile(fresh, 95), rel=0.25)


def test_a_perfect_generator_stays_below_three_floors_and_a_shifted_one_does_not() -> None:
    def ratio(seed: int, shift: float) -> float:
        real, generated = normal(60, 8, seed), normal(80, 8, seed + 500, shift)
        floor = real_floor(real, np.random.default_rng(seed), extractor="x", resolution=8, splits=60)
        how = {"extractor": "x", "resolution": 8, "subset_size": floor.real_count}
        return kid(real, generated, np.random.default_rng(seed), **how).value / floor.kid

    assert sum(ratio(seed, 0.0) <= 3 for seed in range(60)) >= 59
    assert all(ratio(seed, 0.6) > 3 for seed in range(20))


def test_the_floor_falls_with_the_number_of_images() -> None:
    """As 1 / N, the spread of an unbiased MMD where nothing differs."""
    rows = normal(400, 3, 0)
    small, large = (
        real_floor(rows, np.random.default_rng(0), extractor="x", resolution=8, size=size).kid for size in (20, 200)
    )
    assert 5 < small / large < 20


def test_a_camera_shared_by_a_patients_images_raises_the_floor_by_patient() -> None:
    random = np.random.default_rng(0)
    rows = np.repeat(normal(12, 3, 0), 5, axis=0) + 0.01 * normal(60, 3, 1)
    how = {"extractor": "x", "resolution": 8}
    by_patient = real_floor(rows, random, patients=[str(i // 5) for i in range(60)], **how)
    assert by_patient.kid > 2 * real_floor(rows, random, **how).kid


def test_time_and_memory_of_large_sets_are_bounded_by_the_sample() -> None:
    metric = KernelDistance(colour, "colour")
    assert metric.capacity == CAPACITY == 2 * distribution.SUBSET_SIZE


ROWS = normal(12, 3, 0)


def seeded_kid(*features: np.ndarray, **arguments: int) -> object:
    return kid(*features, np.random.default_rng(0), extractor="x", resolution=8, **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: polynomial_mmd(ROWS, ROWS[:1]), "at least 2 images, got 1"),
        (lambda: seeded_kid(ROWS, ROWS[:, :2]), "real features have 3 dimensions and generated ones 2"),
        (lambda: seeded_kid(ROWS, ROWS * math.nan), "generated features must be finite"),
        (lambda: seeded_kid(ROWS, ROWS[:3]), "at least 4 images, got 3"),
        (lambda: seeded_kid(ROWS, ROWS, subsets=1), "subsets must be at least 2"),
        (lambda: seeded_kid(ROWS, ROWS, subset_size=1), "subset_size must be from 2 to 11"),
        (lambda: seeded_kid(ROWS, ROWS[:6], subset_size=6), "subset_size must be from 2 to 5"),
        (
            lambda: fid(FeatureStatistics(ROWS), FeatureStatistics(), extractor="x", resolution=8),
            "at least two images, got 0",
        ),
        (
            lambda: fid(FeatureStatistics(ROWS), FeatureStatistics(ROWS[:, :2]), extractor="x", resolution=8),
            "real features have 3 dimensions and generated ones 2",
        ),
        (lambda: sample_fid(ROWS, ROWS[:1]), "at least 2 images, got 1"),
        (lambda: sample_fid(ROWS, ROWS[:, :2]), "real features have 3 dimensions and generated ones 2"),
        (
            lambda: real_floor(ROWS[:3], np.random.default_rng(0), extractor="x", resolution=8),
            "at least 2 images, got 1",
        ),
        (lambda: halve(1, np.random.default_rng(0)), "at least two images"),
        (lambda: halve(3, np.random.default_rng(0), ["a", "a", "a"]), "at least two patients"),
        (lambda: halve(3, np.random.default_rng(0), ["a", "b"]), "one entry for each of the 3 images, got 2"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def colour(images: torch.Tensor) -> torch.Tensor:
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], dim=1)


def items(count: int) -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    images = torch.rand((2, count, 3, 6, 6), generator=random)
    return [{"pred": pred**2, "image": image} for pred, image in zip(*images, strict=True)]


def stacked(eyes: list[dict[str, torch.Tensor]], key: str) -> np.ndarray:
    return extract_features(colour, torch.stack([eye[key] for eye in eyes]))


METRICS = {
    "kid": lambda: KernelDistance(colour, "colour", seed=2, subsets=8),
    "kid of a sample": lambda: KernelDistance(colour, "colour", seed=2, subsets=8, capacity=6),
}


@pytest.mark.parametrize("name", METRICS)
def test_the_metric_does_not_depend_on_the_batches(name: str) -> None:
    eyes = items(15)
    engine = Engine(lambda engine, batch: batch)
    METRICS[name]().attach(engine, "distance")
    first = engine.run([eyes[:4], [], eyes[4:5], eyes[5:]]).metrics["distance"]
    assert isinstance(first, float)
    assert engine.run([eyes]).metrics["distance"] == pytest.approx(first, rel=1e-5)


def test_the_metrics_equal_their_functions() -> None:
    eyes = items(15)
    real, generated = stacked(eyes, "image"), stacked(eyes, "pred")
    metrics = {name: metric() for name, metric in METRICS.items()}
    for metric in metrics.values():
        metric.update(eyes)
    expected = kid(real, generated, np.random.default_rng(2), extractor="colour", resolution=6, subsets=8)
    assert metrics["kid"].measure() == expected
    sampled = metrics["kid of a sample"].measure()
    assert (sampled.real_count, sampled.generated_count) == (6, 6)
    assert (sampled.real_seen, sampled.generated_seen) == (15, 15)


def test_the_metric_from_a_config() -> None:
    config = {
        "_target_": "retina_monai.metrics.KernelDistance",
        "extractor": "$lambda images: images.mean((2, 3))",
        "extractor_name": "mean colour",
        "pred_key": "image",
        "target_key": "pred",
    }
    metric: FeatureMetric = ConfigParser({"distance": config}).get_parsed_content("distance")
    metric.update(items(8))
    assert metric.measure().extractor == "mean colour"


@pytest.mark.parametrize("name", METRICS)
def test_the_metric_says_what_is_wrong(name: str) -> None:
    metric = METRICS[name]()
    with pytest.raises(NotComputableError, match=f"{type(metric).__name__} has seen no image"):
        metric.compute()
    with pytest.raises(KeyError, match=f"{type(metric).__name__} finds no 'pred'"):
        metric.update([{"image": torch.zeros(3, 4, 4)}])
    metric.reset()
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        metric.update([{"image": torch.zeros(1, 4, 4), "pred": torch.zeros(3, 4, 4)}])
    metric.reset()
    with pytest.raises(ValueError, match="must have one resolution, got 4 and 5 pixels"):
        metric.update([{"image": torch.zeros(3, 4, 6), "pred": torch.zeros(3, 5, 5)}])


def test_the_examples_run() -> None:
    assert doctest.testmod(distribution).failed == 0
