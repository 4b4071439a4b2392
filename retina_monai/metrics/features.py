"""Features of images: extraction, and statistics or samples of a stream of any length.

Sets of images are compared by their features. An extractor is any callable from images ``(B, 3, H, W)`` to features
``(B, D)``. Results contain its name, since figures of different extractors are not comparable.
"""

from __future__ import annotations

import heapq
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from retina_monai.group import gather, group_size
from retina_monai.metrics.engine_output import read_tensor

__all__ = [
    "Comparison",
    "FeatureMetric",
    "FeatureReservoir",
    "FeatureStatistics",
    "SampleMetric",
    "check_pair",
    "extract_features",
]

Floats = NDArray[np.float64]

CAPACITY = 2000
"""Default capacity of a reservoir: two subsets of 1,000, the usual size for KID. Above it, neither memory nor the time
of pairwise comparisons grows. Up to it, that time is small compared with the extractor's."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Properties of a comparison of two sets.

    Attributes:
        real_count: number of real images.
        generated_count: number of generated images.
        resolution: shorter side of the images in pixels, before the extractor resizes them.
        dimension: number of features.
        extractor: name of the feature extractor.
    """

    real_count: int
    generated_count: int
    resolution: int
    dimension: int
    extractor: str


@torch.no_grad()
def extract_features(extractor: Callable[[Tensor], Tensor], images: Tensor) -> NDArray[np.float32]:
    """Features of a batch of images, with checks.

    Args:
        extractor: function from ``(B, 3, H, W)`` to ``(B, D)``.
        images: ``(B, 3, H, W)`` in the range that the extractor expects.

    Returns:
        ``(B, D)``, float32, finite.

    Raises:
        ValueError: images or features have another shape, or a feature is not finite.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
    features = extractor(images)
    if features.ndim != 2 or len(features) != len(images):
        raise ValueError(f"the extractor must return (B, D) with B = {len(images)}, got {tuple(features.shape)}")
    values: NDArray[np.float32] = features.float().cpu().numpy()
    check_features(values, "the extractor's features")
    return values


def check_features(features: ArrayLike, name: str) -> Floats:
    """``features`` in double precision.

    Raises:
        ValueError: ``features`` is not ``(N, D)`` with at least one image and one feature, or not finite.
    """
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} must be (N, D) with at least one image and one feature, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite: look for images with NaN or infinite pixels")
    return values


def check_pair(real: ArrayLike, generated: ArrayLike) -> tuple[Floats, Floats]:
    """Features of two sets in double precision.

    Raises:
        ValueError: as :func:`check_features`; the dimensions differ.
    """
    real, generated = check_features(real, "real features"), check_features(generated, "generated features")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real features have {real.shape[1]} dimensions and generated ones {generated.shape[1]}: "
            "use one extractor for both"
        )
    return real, generated


class FeatureStatistics:
    """Mean and covariance of a stream of features, in memory independent of its length.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (Algorithms for computing the sample variance,
    The American Statistician 37, 1983, https://doi.org/10.1080/00031305.1983.10483115) in double precision.

    Args:
        features: first features ``(N, D)``; ``None`` for none.

    Attributes:
        count: number of images seen.
        mean: ``(D,)``, float64; empty before the first update.

    Example:
        >>> statistics = FeatureStatistics([[0.0, 0.0]])
        >>> statistics.update([[2.0, 4.0]])
        >>> statistics.mean, statistics.covariance
        (array([1., 2.]), array([[2., 4.],
               [4., 8.]]))
    """

    def __init__(self, features: ArrayLike | None = None) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))
        if features is not None:
            self.update(features)

    @property
    def covariance(self) -> Floats:
        """Sample covariance ``(D, D)``, with divisor ``count - 1``.

        Raises:
            ValueError: there are fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least two images, got {self.count}")
        return self._scatter / (self.count - 1)

    def update(self, features: ArrayLike) -> None:
        """Add a batch ``(B, D)``.

        Raises:
            ValueError: the shape or dimension differs, or a value is not finite.
        """
        values = check_features(features, "features")
        mean = values.mean(0)
        centred = values - mean
        self._join(len(values), mean, centred.T @ centred)

    def merge(self, other: FeatureStatistics) -> None:
        """Add the stream of ``other``.

        Raises:
            ValueError: the dimensions differ.
        """
        if other.count:
            self._join(other.count, other.mean, other._scatter)

    def _join(self, count: int, mean: Floats, scatter: Floats) -> None:
        if self.count == 0:
            self.mean, self._scatter = np.zeros_like(mean), np.zeros_like(scatter)
        elif mean.shape != self.mean.shape:
            raise ValueError(f"features must have {len(self.mean)} dimensions as before, got {len(mean)}")
        total = self.count + count
        delta = mean - self.mean
        self._scatter += scatter + np.outer(delta, delta) * (self.count * count / total)
        self.mean += delta * (count / total)
        self.count = total


class FeatureReservoir:
    """A uniform sample without replacement of a stream of features, in memory bounded by the size of the sample.

    Every image gets a random number in [0, 1), and those with the smallest are kept (Efraimidis and Spirakis, Weighted
    random sampling with a reservoir, 2006, https://doi.org/10.1016/j.ipl.2005.11.003, with equal weights). The sample
    therefore depends on the order of the stream but not on its batches. It contains all images as long as there are no
    more than ``capacity``.

    Args:
        generator: random generator, separate for each stream.
        capacity: largest number of images in the sample.

    Attributes:
        count: number of images seen.

    Raises:
        ValueError: ``capacity`` is below 1.

    Example:
        >>> reservoir = FeatureReservoir(np.random.default_rng(0), capacity=2)
        >>> for value in range(100):
        ...     reservoir.update([[value]])
        >>> reservoir.count, reservoir.features.shape
        (100, (2, 1))
    """

    def __init__(self, generator: np.random.Generator, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity = capacity
        self.count = 0
        self._generator = generator
        self._kept: list[tuple[float, int, NDArray[Any]]] = []  # heap of (-draw, order, row): the largest draw first

    @property
    def features(self) -> NDArray[Any]:
        """``(N, D)``, the features in the sample in the order of the stream, N = ``min(count, capacity)``.

        Raises:
            ValueError: no image was seen.
        """
        if not self._kept:
            raise ValueError("the reservoir has seen no image")
        return np.stack([row for _, _, row in sorted(self._kept, key=lambda entry: entry[1])])

    def update(self, features: ArrayLike) -> None:
        """Add a batch ``(B, D)``.

        Raises:
            ValueError: the shape or dimension differs, or a value is not finite.
        """
        check_features(features, "features")
        rows = np.asarray(features)
        self._check_dimension(rows[0])
        for order, (draw, row) in enumerate(zip(self._generator.random(len(rows)), rows, strict=True), self.count):
            self._offer(-draw, order, row)
        self.count += len(rows)

    def merge(self, other: FeatureReservoir) -> None:
        """Add the stream of ``other``.

        Raises:
            ValueError: the dimensions differ, or ``other`` did not keep its whole stream.
        """
        if other.count > other.capacity:
            raise ValueError(f"only a whole stream can be merged, not a sample of {other.capacity} of {other.count}")
        if other.count:
            self.update(other.features)

    def _offer(self, draw: float, order: int, row: NDArray[Any]) -> None:
        if len(self._kept) < self.capacity:
            heapq.heappush(self._kept, (draw, order, row.copy()))
        elif draw > self._kept[0][0]:
            heapq.heapreplace(self._kept, (draw, order, row.copy()))

    def _check_dimension(self, row: NDArray[Any]) -> None:
        if self._kept and self._kept[0][2].shape != row.shape:
            raise ValueError(f"features must have {len(self._kept[0][2])} dimensions as before, got {len(row)}")


Kept = TypeVar("Kept", FeatureStatistics, FeatureReservoir)


class FeatureMetric(Metric, Generic[Kept]):
    """Compare all generated images of a run with all real ones by features, for any Ignite or MONAI engine.

    The input is the list of dictionaries that MONAI's engines leave in ``state.output`` after decollation. The two
    images of a dictionary need not be a pair. Images of all processes are gathered before they are compared.

    Args:
        extractor: function from images ``(B, 3, H, W)`` to features ``(B, D)``.
        extractor_name: name of the extractor in the result.
        pred_key: key of the generated image ``(3, H, W)``.
        target_key: key of the real image ``(3, H, W)``.
        output_transform: function from ``state.output`` to the list of dictionaries.

    Raises:
        ValueError: on update, images or features have a wrong shape, the resolution of images differs, or a feature is
            not finite.
        KeyError: on update, a dictionary lacks one of the keys.
        NotComputableError: on compute, no image was seen.
    """

    def __init__(
        self,
        extractor: Callable[[Tensor], Tensor],
        extractor_name: str,
        pred_key: str = "pred",
        target_key: str = "image",
        output_transform: Callable[[Any], Any] = lambda output: output,
    ) -> None:
        self.extractor, self.extractor_name = extractor, extractor_name
        self.pred_key, self.target_key = pred_key, target_key
        super().__init__(output_transform, skip_unrolling=True)

    @abstractmethod
    def _fresh(self, stream: int, part: bool = False) -> Kept:
        """Empty storage for features of real (0) or generated (1) images, of all or of this process's ``part``."""

    @abstractmethod
    def measure(self) -> Comparison:
        """The result with the properties of the comparison, over the images of all processes."""

    @reinit__is_reduced
    def reset(self) -> None:
        """Discard all images."""
        self._real: Kept = self._fresh(0, part=True)
        self._generated: Kept = self._fresh(1, part=True)
        self._resolution = 0

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add one dictionary per image."""
        if output:
            self._real.update(self._features(output, self.target_key))
            self._generated.update(self._features(output, self.pred_key))

    def _features(self, output: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float32]:
        images = torch.stack([read_tensor(self, item, key) for item in output])
        self._check_resolution(min(images.shape[-2:]))
        return extract_features(self.extractor, images)

    def _check_resolution(self, resolution: int) -> None:
        if self._resolution not in (0, resolution):
            raise ValueError(f"all images must have one resolution, got {self._resolution} and {resolution} pixels")
        self._resolution = resolution

    def _gather(self) -> tuple[Kept, Kept]:
        real, generated = self._real, self._generated
        if group_size() > 1:
            real, generated = self._fresh(0), self._fresh(1)
            for one, other, resolution in gather((self._real, self._generated, self._resolution)):
                real.merge(one)
                generated.merge(other)
                self._check_resolution(resolution or self._resolution)
        if generated.count == 0:
            name = type(self).__name__
            raise NotComputableError(f"{name} has seen no image: update it at least once before compute")
        return real, generated


class SampleMetric(FeatureMetric[FeatureReservoir]):
    """A :class:`FeatureMetric` of a seeded random sample (:class:`FeatureReservoir`), with bounded memory and time.

    In a process group, processes keep all features until the comparison, so that the sample is that of one process.

    Args:
        extractor: function from images ``(B, 3, H, W)`` to features ``(B, D)``.
        extractor_name: name of the extractor in the result.
        seed: seed of the samples.
        capacity: largest number of images in the sample of each set.
        arguments: other arguments of :class:`FeatureMetric`.

    Raises:
        ValueError: ``capacity`` is below 1; otherwise as :class:`FeatureMetric`.
    """

    def __init__(
        self,
        extractor: Callable[[Tensor], Tensor],
        extractor_name: str,
        seed: int = 0,
        capacity: int = CAPACITY,
        **arguments: Any,
    ) -> None:
        self.seed, self.capacity = seed, capacity
        super().__init__(extractor, extractor_name, **arguments)

    def _fresh(self, stream: int, part: bool = False) -> FeatureReservoir:
        capacity = sys.maxsize if part and group_size() > 1 else self.capacity
        return FeatureReservoir(np.random.default_rng((self.seed, stream, 0)), capacity)
