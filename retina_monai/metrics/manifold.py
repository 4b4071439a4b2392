"""Overlap of two sets of features: precision, recall, density and coverage.

Precision and recall: Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved precision and recall metric for
assessing generative models", NeurIPS 2019, https://arxiv.org/abs/1904.06991. Density and coverage: Naeem, Oh, Uh, Choi
and Yoo, "Reliable fidelity and diversity metrics for generative models", ICML 2020, https://arxiv.org/abs/2002.09797.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from retina_monai.metrics.features import Comparison, check_pair

__all__ = ["Manifold", "compare_manifolds"]

Floats = NDArray[np.float64]

FIGURES = ("precision", "recall", "density", "coverage")
NEIGHBOURS = 5  # as Naeem et al. propose
ROWS = 256  # rows of the distance matrix in memory at a time


@dataclass(frozen=True, kw_only=True)
class Manifold(Comparison):
    """Result of :func:`compare_manifolds`.

    Attributes:
        precision: share of generated images within the real manifold, in [0, 1].
        recall: share of real images within the generated manifold, in [0, 1].
        density: mean number of real neighbourhoods that contain a generated image, divided by k. It is about 1 for
            equal distributions, and more if generated images crowd where real ones are dense.
        coverage: share of real images with a generated one in their neighbourhood, in [0, 1]. It depends on the sizes
            of the sets: compare it with that of as many real images.
        neighbours: k.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    neighbours: int


def compare_manifolds(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    extractor: str,
    resolution: int,
    neighbours: int = NEIGHBOURS,
    rows: int = ROWS,
) -> Manifold:
    """Precision, recall, density and coverage of generated features.

    The neighbourhood of an image is the closed ball around it up to its k-th nearest neighbour in its own set
    (Kynkäänniemi et al., eq. 1). A manifold is the union of the neighbourhoods of its images. A set compared with
    itself therefore has a density of ``(k + 1) / k``. Distances are exact, and 0 between equal images.

    Time grows with the square of the number of images, and memory linearly. For large sets, pass a sample
    (:class:`FeatureReservoir`), of the same size for all figures that are to be compared.

    Args:
        real: features ``(N, D)``.
        generated: features ``(M, D)``.
        extractor: name of the feature extractor.
        resolution: shorter side of the images in pixels.
        neighbours: k.
        rows: rows of the distance matrix in memory at a time; the result does not depend on it.

    Returns:
        The four figures.

    Raises:
        ValueError: features are not ``(N, D)``, not finite, or differ in D; k is below 1 or not below the size of the
            smaller set; ``rows`` is below 1.

    Example:
        >>> line = np.arange(10.0)[:, None]
        >>> result = compare_manifolds(line, line[:5] + 0.25, extractor="none", resolution=8, neighbours=1)
        >>> result.precision, result.recall, result.density, result.coverage
        (1.0, 0.6, 2.0, 0.6)
    """
    real, generated = check_pair(real, generated)
    smaller = min(len(real), len(generated))
    if not 1 <= neighbours < smaller:
        raise ValueError(f"neighbours must be from 1 to {smaller - 1} (smaller set minus one), got {neighbours}")
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    real_radii, generated_radii = _radii(real, neighbours, rows), _radii(generated, neighbours, rows)
    precise, containing = 0, 0
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start in range(0, len(generated), rows):
        distances = cdist(generated[start : start + rows], real, "sqeuclidean")
        within_real = distances <= real_radii
        precise += int(within_real.any(1).sum())
        containing += int(within_real.sum())
        covered |= within_real.any(0)
        recalled |= (distances <= generated_radii[start : start + rows, None]).any(0)
    return Manifold(
        precision=precise / len(generated),
        recall=float(recalled.mean()),
        density=containing / (neighbours * len(generated)),
        coverage=float(covered.mean()),
        neighbours=neighbours,
        real_count=len(real),
        generated_count=len(generated),
        resolution=resolution,
        dimension=real.shape[1],
        extractor=extractor,
    )


def _radii(features: Floats, neighbours: int, rows: int) -> Floats:
    """Squared distance of each image to its k-th nearest neighbour, ``(N,)``."""
    radii = []
    for start in range(0, len(features), rows):
        distances = cdist(features[start : start + rows], features, "sqeuclidean")
        np.fill_diagonal(distances[:, start : start + rows], np.inf)  # exclude the image itself
        radii.append(np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1])
    return np.concatenate(radii)
