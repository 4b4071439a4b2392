"""Distances of two sets of images as distributions of features: KID, FID and the floor of real images.

KID: Bińkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018, https://arxiv.org/abs/1801.01401.
It is unbiased for any number of images and therefore suited to small sets. FID: Heusel, Ramsauer, Unterthiner, Nessler
and Hochreiter, "GANs trained by a two time-scale update rule", NeurIPS 2017, https://arxiv.org/abs/1706.08500. It is
biased upwards, more so for fewer images, so figures of sets of different sizes are not comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from retina_monai.metrics.features import (
    CAPACITY,
    Comparison,
    FeatureStatistics,
    SampleMetric,
    check_features,
    check_pair,
)

__all__ = [
    "FID",
    "KID",
    "KernelDistance",
    "RealFloor",
    "fid",
    "floor_of_halves",
    "frechet_distance",
    "halve",
    "halves",
    "kid",
    "kid_of_subsets",
    "polynomial_mmd",
    "sample_fid",
]

Floats = NDArray[np.float64]
Subset = tuple[NDArray[np.int64], NDArray[np.int64]]

SUBSETS = 100
SUBSET_SIZE = 1000
SPLITS = 200  # halvings of a real set, which give the mean absolute value to about 5 %
FID_SPLITS = 10  # of these for FID, which is slow and varies little
ROWS = 256  # rows of the kernel matrix in memory at a time


@dataclass(frozen=True, kw_only=True)
class KID(Comparison):
    """Kernel Inception Distance; see :func:`kid`.

    Attributes:
        values: KID of each subset.
        subset_size: images of each set in a subset.
        real_seen: number of real images from which ``real_count`` were sampled at random.
        generated_seen: number of generated images from which ``generated_count`` were sampled at random.
    """

    values: tuple[float, ...]
    subset_size: int
    real_seen: int
    generated_seen: int

    @property
    def value(self) -> float:
        """Mean over the subsets. Its expected value is 0 for equal distributions, so it may be negative.

        A value far below 0 shows that the sets share images.
        """
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation over the subsets, as printed by torch-fidelity. It depends on the size of the subsets."""
        return float(np.std(self.values, ddof=1))

    @property
    def standard_error(self) -> float:
        """Standard error of the value over samples of as many images."""
        smaller = min(self.real_count, self.generated_count)
        return float(self.deviation * (self.subset_size / (smaller - self.subset_size)) ** 0.5)

    @property
    def subsets(self) -> int:
        """Number of subsets."""
        return len(self.values)


@dataclass(frozen=True, kw_only=True)
class FID(Comparison):
    """Fréchet Inception Distance; see :func:`fid`.

    Attributes:
        value: the squared distance, at least 0.
    """

    value: float

    @property
    def rank_deficient(self) -> bool:
        """Whether a set has too few images for a covariance of full rank (N <= D)."""
        return min(self.real_count, self.generated_count) <= self.dimension

    @property
    def warning(self) -> str:
        """Warning to print beside the value, or an empty string."""
        if not self.rank_deficient:
            return ""
        return (
            f"FID over {self.dimension} features needs more than {self.dimension} images in each set, but there are "
            f"{self.real_count} real and {self.generated_count} generated ones. It is far too high: use KID instead"
        )


@dataclass(frozen=True, kw_only=True)
class RealFloor(Comparison):
    """Distances of two parts of one real set over many halvings; see :func:`floor_of_halves`.

    ``real_count`` and ``generated_count`` are the numbers of images in a part.

    Attributes:
        kids: KID of each split, with an expected value of 0.
        fids: FID of the first splits.
        by_patient: whether the halves share no patient.
    """

    kids: tuple[float, ...]
    fids: tuple[float, ...]
    by_patient: bool

    @property
    def kid(self) -> float:
        """The floor of KID: its mean absolute value, the typical size of an unbiased KID for equal distributions."""
        return float(np.abs(self.kids).mean())

    @property
    def percentile_95(self) -> float:
        """95th percentile of KID: the critical value of a permutation test for equal distributions."""
        return float(np.percentile(self.kids, 95))

    @property
    def fid(self) -> float:
        """The floor of FID: its mean."""
        return float(np.mean(self.fids))


def polynomial_mmd(real: ArrayLike, generated: ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel ``(x . y / D + 1)^3`` (Bińkowski et al., eq. 4).

    Args:
        real: features ``(N, D)``.
        generated: features ``(M, D)``.

    Returns:
        The estimate from all pairs; may be negative.

    Raises:
        ValueError: as :func:`kid`, except that two images per set suffice.

    Example:
        >>> polynomial_mmd([[0.0], [0.0]], [[1.0], [1.0]])
        7.0
    """
    real, generated = check_pair(real, generated)
    _check_count(min(len(real), len(generated)), 2)
    return float(_mmd(real, generated, np.ones((1, len(real))), np.ones((1, len(generated))))[0])


def kid(
    real: ArrayLike,
    generated: ArrayLike,
    generator: np.random.Generator,
    *,
    extractor: str,
    resolution: int,
    subsets: int = SUBSETS,
    subset_size: int | None = None,
) -> KID:
    """Kernel Inception Distance: :func:`polynomial_mmd`, averaged over random subsets.

    Each subset is drawn from both sets without replacement, independently of the other subsets. The standard error is
    that of the delete-d jackknife (Shao and Wu, Annals of Statistics 17, 1989): the standard deviation of the subsets
    times ``sqrt(n / (N - n))`` for subsets of n among the N images of the smaller set. Unlike the deviation over the
    root of the number of subsets, it does not vanish as overlapping subsets are added. It is too large if the
    distributions are equal.

    Time grows with the square of the number of images, and memory linearly. For large sets, pass a sample
    (:class:`FeatureReservoir`) of twice the largest subset.

    Args:
        real: features ``(N, D)``.
        generated: features ``(M, D)``.
        generator: random generator of the subsets.
        extractor: name of the feature extractor.
        resolution: shorter side of the images in pixels.
        subsets: number of subsets.
        subset_size: images of each set in a subset; ``None`` for half of the smaller set, at most 1000.

    Returns:
        The distance with its error.

    Raises:
        ValueError: features are not ``(N, D)``, not finite, or differ in D; a set has fewer than four images; there are
            fewer than two subsets; the subset size is below 2 or not below the size of the smaller set.

    Example:
        >>> random = np.random.default_rng(0)
        >>> features = random.normal(size=(200, 8))
        >>> result = kid(features, features + 1, random, extractor="none", resolution=8)
        >>> result.value > 10 * result.standard_error, result.subset_size
        (True, 100)
    """
    real, generated = check_pair(real, generated)
    size = _checked_subset_size(min(len(real), len(generated)), subsets, subset_size)
    sides = [
        [generator.choice(len(features), size, replace=False) for _ in range(subsets)] for features in (real, generated)
    ]
    return kid_of_subsets(real, generated, list(zip(*sides, strict=True)), extractor=extractor, resolution=resolution)


def kid_of_subsets(
    real: ArrayLike, generated: ArrayLike, subsets: Sequence[Subset], *, extractor: str, resolution: int
) -> KID:
    """:func:`kid` over given subsets, for sets whose eyes of one patient must not be separated at random.

    Args:
        real: features ``(N, D)``.
        generated: features ``(M, D)``.
        subsets: indices of the real and of the generated images in each subset. All have the same length, which is less
            than the size of both sets.
        extractor: name of the feature extractor.
        resolution: shorter side of the images in pixels.

    Returns:
        The distance with its error.

    Raises:
        ValueError: as :func:`kid`; the sizes of the subsets differ.
    """
    real, generated = check_pair(real, generated)
    size = _checked_subset_size(min(len(real), len(generated)), len(subsets), _one_size(subsets))
    return KID(
        values=tuple(_mmd_of(real, generated, subsets).tolist()),
        subset_size=size,
        real_seen=len(real),
        generated_seen=len(generated),
        real_count=len(real),
        generated_count=len(generated),
        resolution=resolution,
        dimension=real.shape[1],
        extractor=extractor,
    )


def frechet_distance(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """Fréchet distance of two Gaussians: ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)``.

    The last trace is the sum of the singular values of ``S1^1/2 S2^1/2``, with roots from symmetric
    eigendecompositions. Rounding errors of zero eigenvalues are excluded, so covariances may have low rank.

    Args:
        mean: ``(D,)``.
        covariance: ``(D, D)``, symmetric, positive semidefinite.
        other_mean: as ``mean``.
        other_covariance: as ``covariance``.

    Returns:
        The squared distance, which is FID; at least 0.

    Example:
        >>> round(frechet_distance(np.zeros(2), np.eye(2), np.array([3.0, 0.0]), 4 * np.eye(2)), 6)
        11.0
    """
    return _frechet(mean, _root(covariance), other_mean, _root(other_covariance))


def fid(real: FeatureStatistics, generated: FeatureStatistics, *, extractor: str, resolution: int) -> FID:
    """Fréchet Inception Distance: :func:`frechet_distance` of Gaussians fitted to the features (Heusel et al., eq. 6).

    Args:
        real: statistics of the features of the real images.
        generated: statistics of the features of the generated images.
        extractor: name of the feature extractor.
        resolution: shorter side of the images in pixels.

    Returns:
        The distance, with a flag if a set has no more images than features.

    Raises:
        ValueError: a set has fewer than two images, or the dimensions differ.

    Example:
        >>> images = FeatureStatistics(np.random.default_rng(0).normal(size=(4, 8)))
        >>> result = fid(images, images, extractor="none", resolution=8)
        >>> round(result.value, 6), result.rank_deficient
        (0.0, True)
    """
    covariance, other = real.covariance, generated.covariance
    if covariance.shape != other.shape:
        raise ValueError(
            f"real features have {len(covariance)} dimensions and generated ones {len(other)}: "
            "use one extractor for both"
        )
    return FID(
        value=frechet_distance(real.mean, covariance, generated.mean, other),
        real_count=real.count,
        generated_count=generated.count,
        resolution=resolution,
        dimension=len(covariance),
        extractor=extractor,
    )


def sample_fid(real: ArrayLike, generated: ArrayLike) -> float:
    """FID of features in memory; equal to :func:`fid`, but much faster for fewer images than dimensions.

    Args:
        real: features ``(N, D)``.
        generated: features ``(M, D)``.

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: features are not ``(N, D)``, not finite, or differ in D; a set has fewer than two images.

    Example:
        >>> round(sample_fid([[0.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [2.0, 3.0]]), 6)
        9.0
    """
    real, generated = check_pair(real, generated)
    _check_count(min(len(real), len(generated)), 2)
    return _frechet(real.mean(0), _sample_root(real), generated.mean(0), _sample_root(generated))


def halve(
    count: int, generator: np.random.Generator, patients: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split a set at random into two halves, which share no patient if patients are given.

    Patients come in random order, and each goes to the half that has fewer images.

    Args:
        count: number of images.
        generator: random generator of the order.
        patients: patient of each image.

    Returns:
        Sorted indices of each half. Together they contain all images.

    Raises:
        ValueError: the number of patients differs from ``count``; there are fewer than two images or patients.

    Example:
        >>> first, second = halve(4, np.random.default_rng(0), ["ann", "bob", "ann", "bob"])
        >>> sorted([first.tolist(), second.tolist()])
        [[0, 2], [1, 3]]
    """
    if patients is not None and len(patients) != count:
        raise ValueError(f"patients must have one entry for each of the {count} images, got {len(patients)}")
    _, members = np.unique(np.arange(count) if patients is None else np.array(patients), return_inverse=True)
    sizes = np.bincount(members)
    if len(sizes) < 2:
        raise ValueError(f"two halves need at least two {'images' if patients is None else 'patients'}")
    second = np.zeros(len(sizes), bool)
    balance = 0
    for group in generator.permutation(len(sizes)):
        second[group] = balance > 0
        balance += -sizes[group] if second[group] else sizes[group]
    return np.flatnonzero(~second[members]), np.flatnonzero(second[members])


def halves(
    count: int,
    generator: np.random.Generator,
    patients: Sequence[str] | None = None,
    splits: int = SPLITS,
    size: int = SUBSET_SIZE,
) -> list[Subset]:
    """Random splits of a set into two parts of equal size; see :func:`halve`.

    Args:
        count: number of images.
        generator: random generator of the splits.
        patients: patient of each image; if given, the parts share no patient.
        splits: number of splits.
        size: largest size of a part. The parts have the size of the smallest half of all splits if that is less.

    Returns:
        Indices of the images in both parts of each split.

    Raises:
        ValueError: as :func:`halve`; ``splits`` or ``size`` is below 1.
    """
    if splits < 1 or size < 1:
        raise ValueError(f"splits and size must be at least 1, got {splits} and {size}")
    pairs = [halve(count, generator, patients) for _ in range(splits)]
    size = min(size, *(len(half) for pair in pairs for half in pair))
    return [
        (np.sort(generator.choice(one, size, replace=False)), np.sort(generator.choice(other, size, replace=False)))
        for one, other in pairs
    ]


def floor_of_halves(
    features: ArrayLike, pairs: Sequence[Subset], *, by_patient: bool, extractor: str, resolution: int
) -> RealFloor:
    """KID and FID of random halves of a real set: the result of a perfect generator with as many images.

    The expected KID of two halves is 0, so the floor is the mean absolute value. The spread of KID for equal
    distributions shrinks as 1 / N, so a floor holds for one N. Compare it with KID over subsets of as many images
    (``subset_size=floor.real_count``). The values of the splits are the null distribution of a permutation test over
    patients (Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test", JMLR 13, 2012, section 5). FID
    is biased, so its floor is its mean, and holds only for an FID of sets of the size of the halves.

    Args:
        features: features of the real images, ``(N, D)``.
        pairs: result of :func:`halves`, the indices of both parts of each split, all of one length. FID is computed for
            the first ten.
        by_patient: whether the parts of each split share no patient.
        extractor: name of the feature extractor.
        resolution: shorter side of the images in pixels.

    Raises:
        ValueError: features are not ``(N, D)`` or not finite; a part has fewer than two images; the sizes of the parts
            differ.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 2))
        >>> pairs = halves(100, np.random.default_rng(1))
        >>> floor = floor_of_halves(features, pairs, by_patient=False, extractor="none", resolution=8)
        >>> 0 < floor.kid < 0.5, floor.real_count, len(floor.kids)
        (True, 50, 200)
    """
    values = check_features(features, "real features")
    size = _one_size(pairs)
    _check_count(size, 2)
    return RealFloor(
        kids=tuple(_mmd_of(values, values, pairs).tolist()),
        fids=tuple(sample_fid(values[one], values[other]) for one, other in pairs[:FID_SPLITS]),
        by_patient=by_patient,
        real_count=size,
        generated_count=size,
        resolution=resolution,
        dimension=values.shape[1],
        extractor=extractor,
    )


class KernelDistance(SampleMetric):
    """:func:`kid` of all generated images of a run and all real ones; see :class:`FeatureMetric`.

    At most ``capacity`` images of each set are used (:class:`SampleMetric`). The result of ``measure`` contains the
    number of images from which they were sampled.

    Args:
        extractor: function from images ``(B, 3, H, W)`` to features ``(B, D)``.
        extractor_name: name of the extractor in the result.
        seed: seed of the samples and subsets.
        capacity: largest number of images in the sample of each set.
        subsets: as in :func:`kid`.
        subset_size: as in :func:`kid`.
        arguments: other arguments of :class:`FeatureMetric`.

    Raises:
        ValueError: ``capacity`` is below 1; on compute, as :func:`kid`.

    Example:
        >>> distance = KernelDistance(lambda images: images.mean((2, 3)), "mean colour")
        >>> images = np.arange(4.0)[:, None, None, None] * np.ones((3, 8, 8))
        >>> distance.update([{"pred": image, "image": image + 1} for image in images])
        >>> distance.compute() > 0
        True
    """

    def __init__(
        self,
        extractor: Callable[[Tensor], Tensor],
        extractor_name: str,
        seed: int = 0,
        capacity: int = CAPACITY,
        subsets: int = SUBSETS,
        subset_size: int | None = None,
        **arguments: Any,
    ) -> None:
        self.subsets, self.subset_size = subsets, subset_size
        super().__init__(extractor, extractor_name, seed, capacity, **arguments)

    def measure(self) -> KID:
        """The distance with its error, over the images of all processes."""
        real, generated = self._gather()
        result = kid(
            real.features,
            generated.features,
            np.random.default_rng(self.seed),
            extractor=self.extractor_name,
            resolution=self._resolution,
            subsets=self.subsets,
            subset_size=self.subset_size,
        )
        return replace(result, real_seen=real.count, generated_seen=generated.count)

    def compute(self) -> float:
        """The distance alone."""
        return self.measure().value


def _checked_subset_size(smaller: int, subsets: int, size: int | None) -> int:
    if subsets < 2:
        raise ValueError(f"subsets must be at least 2, got {subsets}")
    if size is None:
        _check_count(smaller, 4)
        return min(SUBSET_SIZE, smaller // 2)
    if not 2 <= size < smaller:
        raise ValueError(f"subset_size must be from 2 to {smaller - 1} (smaller set minus one), got {size}")
    return size


def _check_count(smaller: int, least: int) -> None:
    if smaller < least:
        raise ValueError(f"each set must have at least {least} images, got {smaller}")


def _one_size(subsets: Sequence[Subset]) -> int:
    sizes = {len(side) for subset in subsets for side in subset}
    if len(sizes) != 1:
        raise ValueError(f"subsets must have one size, got {sorted(sizes)}")
    return sizes.pop()


def _mmd_of(real: Floats, generated: Floats, subsets: Sequence[Subset]) -> Floats:
    chosen = [
        np.stack([_indicator(len(features), subset[side]) for subset in subsets])
        for side, features in enumerate((real, generated))
    ]
    return _mmd(real, generated, *chosen)


def _indicator(count: int, chosen: NDArray[np.int64]) -> Floats:
    row = np.zeros(count)
    row[chosen] = 1
    return row


def _mmd(real: Floats, generated: Floats, chosen_real: Floats, chosen_generated: Floats) -> Floats:
    """Unbiased squared MMD of each subset, ``(subsets,)``."""
    real_size, generated_size = chosen_real.sum(1), chosen_generated.sum(1)
    within_real = _kernel_sums(real, chosen_real) / (real_size * (real_size - 1))
    within_generated = _kernel_sums(generated, chosen_generated) / (generated_size * (generated_size - 1))
    between = _kernel_sums(real, chosen_real, generated, chosen_generated) / (real_size * generated_size)
    return within_real + within_generated - 2 * between


def _kernel_sums(x: Floats, chosen_x: Floats, y: Floats | None = None, chosen_y: Floats | None = None) -> Floats:
    """Sum of the kernel over the pairs of each subset; without ``y``, over the pairs of different images in ``x``.

    The kernel is computed once for all subsets, which overlap.
    """
    total = np.zeros(len(chosen_x))
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        base = x[rows] @ (x if y is None else y).T / x.shape[1] + 1
        kernel = base * base * base
        if y is None:
            np.fill_diagonal(kernel[:, rows], 0)
        total += (chosen_x[:, rows].T * (kernel @ (chosen_x if chosen_y is None else chosen_y).T)).sum(0)
    return total


def _frechet(mean: Floats, root: Floats, other_mean: Floats, other_root: Floats) -> float:
    """Fréchet distance of Gaussians, given roots ``(D, R)`` of their covariances."""
    shared = np.linalg.svd(root.T @ other_root, compute_uv=False).sum()
    apart = ((mean - other_mean) ** 2).sum()
    return max(0.0, float(apart + (root**2).sum() + (other_root**2).sum() - 2 * shared))


def _sample_root(features: Floats) -> Floats:
    """Root of the covariance of ``(N, D)``: the centred images themselves if N is at most D."""
    centred = features - features.mean(0)
    root: Floats = centred.T / (len(features) - 1) ** 0.5
    return root if len(features) <= features.shape[1] else _root(root @ root.T)


def _root(covariance: Floats) -> Floats:
    """``(D, R)`` with R the rank, whose product with its transpose is the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(0.0, values[-1]) * len(values) * np.finfo(float).eps
    return vectors[:, kept] * np.sqrt(values[kept])
