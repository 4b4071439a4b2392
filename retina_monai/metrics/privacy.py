"""Whether a generator reveals its training images: copies, authenticity and membership inference by distance.

Distances are Euclidean distances of features or given by the caller. Patients are used so that two eyes of one person
do not count as independent.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.spatial.distance import cdist

from retina_monai.metrics.features import check_features, check_pair

__all__ = [
    "CopyShare",
    "CopyThreshold",
    "MembershipInference",
    "authenticity",
    "clopper_pearson",
    "copy_share",
    "copy_threshold",
    "infer_membership",
    "nearest_distances",
]

Floats = NDArray[np.float64]

ROWS = 256  # rows of the distance matrix in memory at a time
FEWEST = 3  # smallest number of patients for an estimate of spread
CONFIDENCE = 0.95


@dataclass(frozen=True)
class CopyThreshold:
    """Result of :func:`copy_threshold`.

    Attributes:
        value: score above which an image counts as a copy.
        rate: nominal share of unseen real eyes above the threshold.
        low, high: 95 % interval of the actual share, given the number of patients.
        patients: number of patients of the calibration.
    """

    value: float
    rate: float
    low: float
    high: float
    patients: int


@dataclass(frozen=True)
class CopyShare:
    """Result of :func:`copy_share`.

    Attributes:
        share: share of generated images that count as copies, in [0, 1].
        low, high: 95 % interval of the share.
        threshold: threshold of the similarity to the nearest training image.
    """

    share: float
    low: float
    high: float
    threshold: CopyThreshold


@dataclass(frozen=True)
class MembershipInference:
    """Result of :func:`infer_membership`.

    Attributes:
        auc: probability that a training eye is nearer to the synthetic set than another eye; 0.5 without a leak.
        low, high: 95 % bootstrap interval over patients.
        members, others: numbers of patients.
    """

    auc: float
    low: float
    high: float
    members: int
    others: int


def nearest_distances(
    queries: ArrayLike,
    reference: ArrayLike,
    query_patients: Sequence[Hashable] | None = None,
    reference_patients: Sequence[Hashable] | None = None,
) -> tuple[Floats, NDArray[np.intp]]:
    """Distance of each query to its nearest reference of another patient, and the index of that reference.

    Memory does not grow with the product of the numbers of images.

    Args:
        queries: features (N, D).
        reference: features (M, D).
        query_patients: (N,) patients. If given with ``reference_patients``, pairs of one patient are excluded.
        reference_patients: (M,) patients.

    Returns:
        Euclidean distances (N,), infinite if no reference is left, and indices (N,).

    Raises:
        ValueError: features are not (N, D), not finite, or differ in D; the number of patients differs from N or M.

    Example:
        >>> nearest_distances([[0.0], [5.0]], [[1.0], [3.0]], "ab", "ac")
        (array([3., 2.]), array([1, 1]))
    """
    reference, queries = check_pair(reference, queries)
    same = _same_patient(query_patients, reference_patients, (len(queries), len(reference)))
    distances, places = [], []
    for start in range(0, len(queries), ROWS):
        block = cdist(queries[start : start + ROWS], reference)
        if same is not None:
            left, right = same
            block[left[start : start + ROWS, None] == right] = np.inf
        places.append(block.argmin(1))
        distances.append(block.min(1))
    return np.concatenate(distances), np.concatenate(places)


def authenticity(training: ArrayLike, generated: ArrayLike, patients: Sequence[Hashable] | None = None) -> float:
    """Share of generated images that are authentic (AuthPct / 100), that is, not noisy copies of a training image.

    A generated image is authentic if its nearest training image is nearer to another training image than to it. Source:
    Alaa, van Breugel, Saveliev and van der Schaar, "How faithful is your synthetic data?", ICML 2022,
    https://arxiv.org/abs/2102.08921, and AuthPct of https://github.com/marcojira/fls (Jiralerspong et
    al., "Feature likelihood divergence", NeurIPS 2023), image by image. The published code of Alaa et al. instead looks
    for the generated image nearest to each training image. At equal distances, an image is not authentic.

    The figure is not a test, since a generator of the true distribution has no fixed value. Compare it with that of
    held-out images.

    Args:
        training: features (N, D), at least 2 images.
        generated: features (M, D).
        patients: patients of the training images. If given, the other training image must be of another patient.

    Returns:
        A share in [0, 1]; 0 for a set of copies.

    Raises:
        ValueError: as :func:`nearest_distances`; there are fewer than 2 training images.

    Example:
        >>> authenticity([[0.0], [1.0], [9.0]], [[0.1], [5.0], [2.5], [9.0]])
        0.5
    """
    training, generated = check_pair(training, generated)
    if len(training) < 2:
        raise ValueError(f"authenticity needs at least 2 training images, got {len(training)}")
    own = list(range(len(training))) if patients is None else patients
    apart, _ = nearest_distances(training, training, own, own)
    distance, nearest = nearest_distances(generated, training)
    return float((distance > apart[nearest]).mean())


def copy_threshold(scores: ArrayLike, patients: Sequence[Hashable], rate: float = 0.05) -> CopyThreshold:
    """The score above which an image counts as a copy, from the scores of real eyes that are not copies.

    The highest score of each patient is used. The threshold is that of split conformal prediction (Vovk, Gammerman and
    Shafer, 2005; Lei et al., JASA 2018): the k-th lowest of n patients, k = ceil((n + 1)(1 - rate)), so that a new
    patient exceeds it with a probability of at most ``rate``. With too few patients for this (below 19 for 5 %), it is
    the upper prediction bound of a normal distribution of Fisher's z of the scores, if that exceeds all of them.

    Args:
        scores: (N,) correlations of real eyes with the nearest eye of other patients, in (-1, 1).
        patients: (N,) patients.
        rate: false positive rate.

    Raises:
        ValueError: the numbers of scores and patients differ, a score is not a correlation, there are fewer than 3
            patients, or ``rate`` is not in (0, 1).

    Example:
        >>> threshold = copy_threshold(np.arange(99) / 100, list(range(99)))
        >>> round(threshold.value, 2), round(threshold.low, 3), round(threshold.high, 3)
        (0.94, 0.017, 0.1)
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate}")
    highest = _by_patient(scores, patients)
    count, place = len(highest), math.ceil((len(highest) + 1) * (1 - rate))
    _check_patients(count)
    value = float(np.sort(highest)[min(place, count) - 1])
    if place > count:
        value = max(value, _prediction_bound(highest, rate))
    tail = (1 - CONFIDENCE) / 2
    exceeding = max(count + 1 - place, 1)
    low, high = stats.beta.ppf([tail, 1 - tail], exceeding, count + 1 - exceeding)
    return CopyThreshold(value, rate, float(low), float(high), count)


def copy_share(
    training: ArrayLike, generated: ArrayLike, patients: Sequence[Hashable], rate: float = 0.05
) -> CopyShare:
    """Share of generated images that are nearer to a training image than real images of different patients are.

    Similarity is the cosine of features, as in Somepalli, Singla, Goldblum, Geiping and Goldstein, "Diffusion art or
    digital forgery?", CVPR 2023, https://arxiv.org/abs/2212.03860. Their threshold is 0.5. Here it is calibrated by
    :func:`copy_threshold` on the training images, each with the nearest one of another patient. A generator without
    copies has a share of about ``rate``.

    Args:
        training: features (N, D), each with a value other than 0.
        generated: features (M, D), likewise.
        patients: (N,) patients of the training images, at least 3.
        rate: false positive rate.

    Raises:
        ValueError: as :func:`nearest_distances` and :func:`copy_threshold`; all features of an image are 0.

    Example:
        >>> training = np.random.default_rng(0).normal(size=(50, 8))
        >>> copies = np.concatenate([2 * training[:3], -training[3:4]])
        >>> copy_share(training, copies, range(50)).share
        0.75
    """
    training, generated = (_unit(features) for features in check_pair(training, generated))
    _check_patients(len(set(patients)))
    apart, _ = nearest_distances(training, training, patients, patients)
    threshold = copy_threshold(_cosine(apart), patients, rate)
    called = _cosine(nearest_distances(generated, training)[0]) > threshold.value
    return CopyShare(float(called.mean()), *clopper_pearson(int(called.sum()), len(called)), threshold)


def infer_membership(
    members: ArrayLike,
    others: ArrayLike,
    member_patients: Sequence[Hashable],
    other_patients: Sequence[Hashable],
    seed: int,
    draws: int = 1000,
) -> MembershipInference:
    """How well the distance of an eye to the synthetic set predicts whether the generator was trained on it.

    The attack of Hayes et al., "LOGAN", PoPETs 2019, and Chen et al., "GAN-Leaks", CCS 2020,
    https://doi.org/10.1145/3372297.3417238: nearer eyes are more likely to be members. The figure is the area under the
    ROC curve. Its interval is the percentile bootstrap over patients, separately for members and others. Patients on
    both sides are left out.

    Args:
        members: (N,) distances of training eyes to the nearest synthetic image.
        others: (M,) distances of other eyes.
        member_patients: (N,) patients.
        other_patients: (M,) patients.
        seed: seed of the bootstrap.
        draws: number of bootstrap samples.

    Raises:
        ValueError: the numbers of patients and distances differ, a distance is not finite, or no patient is left.

    Example:
        >>> found = infer_membership([0.1, 0.2, 0.6], [0.5, 0.7], "abc", "de", seed=0)
        >>> round(found.auc, 3), found.members, found.others
        (0.833, 3, 2)
    """
    shared = set(member_patients) & set(other_patients)
    near, near_groups = _groups(members, member_patients, shared)
    far, far_groups = _groups(others, other_patients, shared)
    if not (near_groups and far_groups):
        raise ValueError("membership inference needs patients of the training and others")
    rng = np.random.default_rng(seed)
    wins = (near[:, None] < far).astype(np.float64) + (near[:, None] == far) / 2
    values = []
    for _ in range(draws):
        rows, columns = _drawn(near_groups, rng), _drawn(far_groups, rng)
        values.append(wins[np.ix_(rows, columns)].mean())
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return MembershipInference(float(wins.mean()), float(low), float(high), len(near_groups), len(far_groups))


def clopper_pearson(hits: int, count: int) -> tuple[float, float]:
    """Exact 95 % interval of a share (Clopper and Pearson, Biometrika 1934).

    Raises:
        ValueError: ``hits`` is not in [0, ``count``], or ``count`` is 0.

    Example:
        >>> [round(bound, 3) for bound in clopper_pearson(0, 10)]
        [0.0, 0.308]
    """
    if not (0 <= hits <= count and count):
        raise ValueError(f"hits must be from 0 to count, and count above 0, got {hits} of {count}")
    tail = (1 - CONFIDENCE) / 2
    low = stats.beta.ppf(tail, hits, count - hits + 1) if hits else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)


def _same_patient(
    queries: Sequence[Hashable] | None, reference: Sequence[Hashable] | None, shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Patients of both sides as numbers."""
    if queries is None and reference is None:
        return None
    if queries is None or reference is None or (len(queries), len(reference)) != shape:
        raise ValueError(f"patients must have one entry for each of {shape[0]} queries and {shape[1]} references")
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys([*queries, *reference]))}
    left, right = (np.array([numbers[patient] for patient in side], np.intp) for side in (queries, reference))
    return left, right


def _check_patients(count: int) -> None:
    if count < FEWEST:
        raise ValueError(f"a threshold needs real eyes of at least {FEWEST} patients, got {count}")


def _unit(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("all features of an image are 0, so it has no direction: use another extractor")
    return features / lengths


def _cosine(distances: Floats) -> Floats:
    """Cosines of unit vectors from their Euclidean distances."""
    return (1 - distances**2 / 2).clip(-1, 1)


def _by_patient(scores: ArrayLike, patients: Sequence[Hashable]) -> Floats:
    values = check_features(np.asarray(scores, np.float64)[:, None], "the scores")[:, 0]
    if len(values) != len(patients) or (np.abs(values) > 1).any():
        raise ValueError(f"scores must be correlations, one for each of {len(patients)} eyes")
    highest: dict[Hashable, float] = {}
    for patient, value in zip(patients, values.tolist(), strict=True):
        highest[patient] = max(highest.get(patient, -1.0), value)
    return np.array(list(highest.values()))


def _prediction_bound(scores: Floats, rate: float) -> float:
    """Prediction bound of the next score, for a normal distribution of Fisher's z."""
    z, count = np.arctanh(scores.clip(-0.999, 0.999)), len(scores)
    spread = z.std(ddof=1) * math.sqrt(1 + 1 / count)
    return float(np.tanh(z.mean() + stats.t.ppf(1 - rate, count - 1) * spread))


def _groups(
    distances: ArrayLike, patients: Sequence[Hashable], shared: set[Hashable]
) -> tuple[Floats, list[NDArray[np.intp]]]:
    """The distances of patients outside ``shared``, and their indices by patient."""
    values = check_features(np.asarray(distances, np.float64)[:, None], "the distances")[:, 0]
    if len(values) != len(patients):
        raise ValueError(f"patients must have one entry per distance ({len(values)}), got {len(patients)}")
    kept = [place for place, patient in enumerate(patients) if patient not in shared]
    places: dict[Hashable, list[int]] = {}
    for number, place in enumerate(kept):
        places.setdefault(patients[place], []).append(number)
    return values[kept], [np.array(group, np.intp) for group in places.values()]


def _drawn(groups: list[NDArray[np.intp]], rng: np.random.Generator) -> NDArray[np.intp]:
    return np.concatenate([groups[place] for place in rng.integers(len(groups), size=len(groups))])
