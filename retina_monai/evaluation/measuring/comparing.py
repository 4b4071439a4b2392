"""Comparison of two sets by one or a few numbers per eye: difference of means and distance of distributions.

Intervals are drawn over patients, as in :mod:`retina_monai.evaluation.report.tables`. A distance is read beside two
others. The floor is the distance of two halves of the real set that share no patient. The matched distance is that of
synthetic eyes to one of these halves. It uses as many eyes as the floor, and none of a patient of that half.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retina_monai.evaluation.report.tables import FEWEST, Interval
from retina_monai.metrics import halve, kolmogorov_smirnov, wasserstein

__all__ = ["Distance", "compare_samples", "difference_interval"]

Floats = NDArray[np.float64]

DRAWS_AT_ONCE = 2**22  # numbers in memory while resampling
HALVINGS = 20  # random halvings over which floors are averaged
LARGEST = 1000  # largest number of eyes of a half


@dataclass(frozen=True)
class Distance:
    """Distances between synthetic and real eyes.

    Attributes:
        kolmogorov_smirnov, wasserstein: distance of all synthetic to all real eyes; NaN if either set has no value.
        floor_ks, floor_wasserstein: mean distance between random halves of the real eyes; NaN with fewer than two
            patients.
        ratio: mean Wasserstein distance of synthetic eyes to one half, divided by that of as many real eyes of the
            other half. It is 1 if synthetic eyes are like real ones, and NaN without a floor.
        N, real_N: numbers of eyes.
        real_patients: number of patients of the real eyes.
    """

    kolmogorov_smirnov: float
    wasserstein: float
    floor_ks: float
    floor_wasserstein: float
    ratio: float
    N: int
    real_N: int
    real_patients: int


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    first_groups: Sequence[Hashable],
    second_groups: Sequence[Hashable],
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """Mean of the first values minus that of the second, with its percentile bootstrap interval.

    Patients are resampled with all their values. Patients of both lists, of the first list alone and of the second
    list alone are separate strata, so pairs are preserved and each stratum keeps its number of patients (stratified
    cluster bootstrap; Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.2).

    Args:
        first: (N,), finite.
        second: (M,), finite.
        first_groups, second_groups: patient of each value.
        level: confidence level, in (0, 1).
        seed: seed of the resampling.
        resamples: number of bootstrap samples.

    Returns:
        The interval, with the N of the first values. Its ends are NaN if either list has fewer than
        :data:`retina_monai.evaluation.report.tables.FEWEST` patients.

    Raises:
        ValueError: there are no values, a value is not finite, or a list of groups has another length.

    Example:
        >>> patients = ["ann", "bob", "cy", "di"]
        >>> interval = difference_interval([2.0, 3.0, 1.0, 2.0], [1.0, 2.0, 0.0, 1.0], patients, patients)
        >>> interval.mean, interval.low, interval.high
        (1.0, 1.0, 1.0)
    """
    values = [np.asarray(side, np.float64) for side in (first, second)]
    for side, groups in zip(values, (first_groups, second_groups), strict=True):
        if side.ndim != 1 or not side.size or not np.isfinite(side).all() or len(groups) != len(side):
            raise ValueError("values must be finite, not empty, and have one group each")
    mean = float(values[0].mean() - values[1].mean())
    number = {group: place for place, group in enumerate(dict.fromkeys([*first_groups, *second_groups]))}
    members = [np.array([number[group] for group in groups]) for groups in (first_groups, second_groups)]
    sums, counts = _per_group(values, members, len(number)), _per_group([None, None], members, len(number))
    if min((counts > 0).sum(axis=1)) < FEWEST:
        return Interval(mean, math.nan, math.nan, len(values[0]), len(number))
    drawn = np.concatenate(list(_resample(sums, counts, np.random.default_rng(seed), resamples)))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), len(values[0]), len(number))


def compare_samples(
    synthetic: ArrayLike,
    real: ArrayLike,
    patients: Sequence[str],
    real_patients: Sequence[str],
    seed: int = 0,
) -> Distance:
    """Distances between the distributions of a biomarker, with their floor.

    Args:
        synthetic: (N, K), K values of each eye (such as quantiles) with equal weights; NaN if an eye has no value.
        real: (M, K).
        patients, real_patients: patient of each eye; for a synthetic eye, the patient of its condition.
        seed: seed of the halves.
    """
    synthetic_values, real_values = np.asarray(synthetic, np.float64), np.asarray(real, np.float64)
    floors, matched = [], []
    if len(set(real_patients)) > 1:
        generator = np.random.default_rng(seed)
        for _ in range(HALVINGS):
            half, other = (
                generator.permutation(part)[:LARGEST] for part in halve(len(real_values), generator, real_patients)
            )
            unrelated = _unrelated(patients, {real_patients[place] for place in half})
            matching = synthetic_values[generator.choice(unrelated, min(len(other), len(unrelated)), replace=False)]
            floors.append(_distances(real_values[other][: len(matching)], real_values[half]))
            matched.append(_distances(matching, real_values[half]))
    floor_ks, floor = np.mean(floors, axis=0) if floors else (math.nan, math.nan)
    ratio = float(np.mean(matched, axis=0)[1] / floor) if floors and floor > 0 else math.nan
    distances = _distances(synthetic_values, real_values)
    return Distance(
        *distances,
        float(floor_ks),
        float(floor),
        ratio,
        len(synthetic_values),
        len(real_values),
        len(set(real_patients)),
    )


def _per_group(values: Sequence[Floats | None], members: Sequence[NDArray[np.intp]], count: int) -> Floats:
    """Sums of the values of each side per group, or their counts for ``None``: (2, groups)."""
    return np.stack(
        [np.bincount(member, own, count).astype(float) for own, member in zip(values, members, strict=True)]
    )


def _resample(sums: Floats, counts: Floats, generator: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Differences of means over resampled groups; each stratum keeps its number of groups."""
    kinds = (counts[0] > 0) + 2 * (counts[1] > 0)
    strata = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    at_once = max(1, DRAWS_AT_ONCE // counts.shape[1])
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = np.concatenate([generator.choice(stratum, (size, len(stratum))) for stratum in strata], axis=1)
        totals, numbers = sums[:, drawn].sum(axis=2), counts[:, drawn].sum(axis=2)
        means = totals / numbers
        yield means[0] - means[1]


def _unrelated(patients: Sequence[str], known: set[str]) -> NDArray[np.int64]:
    """Indices of eyes whose patient is not in ``known``, or of all eyes if there are none."""
    places = np.array([place for place, patient in enumerate(patients) if patient not in known], np.int64)
    return places if len(places) else np.arange(len(patients))


def _distances(first: Floats, second: Floats) -> tuple[float, float]:
    return kolmogorov_smirnov(first, second), wasserstein(first, second)
