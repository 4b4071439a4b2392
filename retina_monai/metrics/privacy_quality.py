"""Whether the generated images of a run give the training images away, by features; for an engine."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ignite.metrics.metric import reinit__is_reduced
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from retina_monai.metrics.features import CAPACITY, Comparison, SampleMetric, check_pair
from retina_monai.metrics.privacy import (
    CopyShare,
    MembershipInference,
    authenticity,
    copy_share,
    infer_membership,
    nearest_distances,
)

__all__ = ["Privacy", "PrivacyQuality"]

Features = NDArray[Any]

METRICS = ("authenticity", "copy_share", "membership_auc")


@dataclass(frozen=True, kw_only=True)
class Privacy(Comparison):
    """What :class:`PrivacyQuality` measured; ``real_count`` is that of the training images.

    Attributes:
        authenticity: see :func:`authenticity`.
        copies: see :func:`copy_share`.
        membership: see :func:`infer_membership`.
        held_out_authenticity: that of the held-out images, which are none of the generator's.
        held_out_copies: share of the held-out images that are called copies.
    """

    authenticity: float
    copies: CopyShare
    membership: MembershipInference
    held_out_authenticity: float
    held_out_copies: CopyShare


class PrivacyQuality(SampleMetric):
    """One figure on whether all generated images of a run give the training images away; ``measure`` gives all.

    The real images are no part of the engine's output: their features are given, taken with the same extractor, for
    instance by :func:`extract_features`. Generate from conditions that were not trained on: an image painted from a
    training image's own vessel map is near to it, whatever the generator. Copies that were moved or recoloured are
    found if the extractor does not mind that; :mod:`retina_monai.metrics.alignment` finds them in pixels.

    Args:
        metric: ``authenticity``, in [0, 1], to be compared with that of held-out images; ``copy_share``, in [0, 1],
            about ``rate`` where nothing is copied; or ``membership_auc``, in [0, 1], 0.5 where nothing leaks.
        extractor: from images ``(B, 3, H, W)`` to features ``(B, D)``.
        extractor_name: stands in the result.
        training: features ``(N, D)`` of the images that the generator was trained on.
        patients: ``(N,)``, at least 3 different ones.
        held_out: features ``(M, D)`` of real images that it was not trained on.
        held_out_patients: ``(M,)``; those that were trained on too do not count for membership.
        rate: of false positives among copies.
        seed: of the sample of generated images and of the bootstrap.
        capacity: number of generated images kept at most.
        arguments: ``pred_key`` and ``output_transform`` as in :class:`FeatureMetric`.

    Raises:
        ValueError: an unknown metric; another number of patients than of images; as :func:`authenticity` and
            :func:`copy_share` of the held-out images; on update as :class:`FeatureMetric`, and features of another
            dimension than those given; on compute as :func:`infer_membership` and :func:`copy_share`.
        KeyError: on update, a dictionary without ``pred_key``.
        NotComputableError: on compute, no image was seen.

    Example:
        >>> def colour(images):
        ...     return images.mean((2, 3))
        >>> real = np.random.default_rng(0).normal(size=(60, 3))
        >>> quality = PrivacyQuality("copy_share", colour, "colour", real[:40], range(40), real[40:], range(40, 60))
        >>> quality.update([{"pred": features[:, None, None] * np.ones((3, 8, 8))} for features in real[:10]])
        >>> quality.compute(), quality.measure().held_out_copies.share
        (1.0, 0.05)
    """

    def __init__(
        self,
        metric: str,
        extractor: Callable[[Tensor], Tensor],
        extractor_name: str,
        training: ArrayLike,
        patients: Sequence[Hashable],
        held_out: ArrayLike,
        held_out_patients: Sequence[Hashable],
        rate: float = 0.05,
        seed: int = 0,
        capacity: int = CAPACITY,
        **arguments: Any,
    ) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
        self.metric, self.rate = metric, rate
        self.training, self.held_out = check_pair(training, held_out)
        self.patients, self.held_out_patients = patients, held_out_patients
        _check_patients(self.training, patients, "training")
        _check_patients(self.held_out, held_out_patients, "held-out")
        self._baseline = self._authenticity(self.held_out), self._copies(self.held_out)
        super().__init__(extractor, extractor_name, seed, capacity, **arguments)

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Take one dictionary per generated image."""
        if output:
            features = self._features(output, self.pred_key)
            check_pair(self.training, features)
            self._generated.update(features)

    def measure(self) -> Privacy:
        """All figures, over the generated images of all processes."""
        generated = self._gather()[1].features
        return Privacy(
            authenticity=self._authenticity(generated),
            copies=self._copies(generated),
            membership=self._membership(generated),
            held_out_authenticity=self._baseline[0],
            held_out_copies=self._baseline[1],
            real_count=len(self.training),
            generated_count=len(generated),
            resolution=self._resolution,
            dimension=generated.shape[1],
            extractor=self.extractor_name,
        )

    def compute(self) -> float:
        """The figure alone."""
        figures: Mapping[str, Callable[[Features], float]] = {
            "authenticity": self._authenticity,
            "copy_share": lambda generated: self._copies(generated).share,
            "membership_auc": lambda generated: self._membership(generated).auc,
        }
        return figures[self.metric](self._gather()[1].features)

    def _authenticity(self, images: Features) -> float:
        return authenticity(self.training, images, self.patients)

    def _copies(self, images: Features) -> CopyShare:
        return copy_share(self.training, images, self.patients, self.rate)

    def _membership(self, images: Features) -> MembershipInference:
        near, far = (nearest_distances(real, images)[0] for real in (self.training, self.held_out))
        return infer_membership(near, far, self.patients, self.held_out_patients, self.seed)


def _check_patients(features: Features, patients: Sequence[Hashable], name: str) -> None:
    if len(patients) != len(features):
        raise ValueError(f"there must be a patient for each of {len(features)} {name} images, not {len(patients)}")
