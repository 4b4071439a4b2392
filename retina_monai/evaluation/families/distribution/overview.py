"""Overview of a set from one pass over it: features, spectrum and colours, but no pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from retina_monai.evaluation.measuring.eye import Extractor, Eye, Eyes, as_image, as_mask
from retina_monai.metrics import FeatureStatistics, extract_features, radial_power_spectrum
from retina_monai.metrics.features import CAPACITY
from retina_monai.progress import progress

__all__ = ["NO_POWER", "Overview", "look_over"]

BATCH = 16
LEVELS = 256
NO_POWER = 1e-12  # minimum power, which keeps ratios and logarithms finite; one grey level of noise has 1e-5


@dataclass(frozen=True)
class Overview:
    """Summary of a set.

    Attributes:
        count: number of eyes.
        patients: patients of the eyes whose features are kept: all, or a random sample of ``CAPACITY``.
        features: features of these eyes by extractor, ``(K, D)``.
        statistics: statistics of the features of all eyes by extractor.
        spectrum: mean radial power spectrum on the [-1, 1] scale, ``(bins,)``.
        colours: number of pixels inside the fields of view at each level of red, green and blue, ``(3, 256)``.
        datasets: number of eyes by data set.
        pictures: number of eyes by digest of their pixels.
    """

    count: int
    patients: Sequence[str]
    features: Mapping[str, NDArray[np.float32]]
    statistics: Mapping[str, FeatureStatistics]
    spectrum: NDArray[np.float64]
    colours: NDArray[np.int64]
    datasets: Counter[str]
    pictures: Counter[bytes]

    @property
    def repeated(self) -> int:
        """Number of eyes that are identical to an earlier one."""
        return self.count - len(self.pictures)

    def shared_with(self, other: Overview) -> int:
        """Number of eyes that are identical to one of the other set."""
        return sum(number for digest, number in self.pictures.items() if digest in other.pictures)

    def colour_mean(self) -> NDArray[np.float64]:
        """Mean level of red, green and blue."""
        means: NDArray[np.float64] = self.colours @ np.arange(LEVELS) / self.colours.sum(1)
        return means

    def colour_distance(self, other: Overview) -> list[float]:
        """Wasserstein distances between the levels of red, green and blue of two sets."""
        cumulated = [(own.colours / own.colours.sum(1, keepdims=True)).cumsum(1) for own in (self, other)]
        distances: list[float] = np.abs(cumulated[0] - cumulated[1]).sum(1).tolist()
        return distances


def look_over(eyes: Eyes, extractors: Mapping[str, Extractor], seed: int, title: str) -> Overview:
    """Summarise a set in one pass. Pixels outside the field of view are black for the extractors.

    Args:
        eyes: one or more eyes.
        extractors: extractors by name.
        seed: seed of the sample of eyes whose features are kept.
        title: title of the progress bar.

    Raises:
        ValueError: an extractor does not return finite features ``(B, D)``.
    """
    kept = np.sort(np.random.default_rng(seed).permutation(len(eyes))[:CAPACITY])
    looking = _Looking(extractors)
    with progress(title=f"distribution: {title}", total=len(eyes)) as bar:
        for start in range(0, len(eyes), BATCH):
            batch = [eyes[place] for place in range(start, min(start + BATCH, len(eyes)))]
            looking.add(batch, kept[(kept >= start) & (kept < start + BATCH)] - start)
            bar.update(len(batch))
    return looking.finish(len(eyes))


class _Looking:
    """Accumulates the sums and lists of an overview."""

    def __init__(self, extractors: Mapping[str, Extractor]) -> None:
        self.extractors = extractors
        self.patients: list[str] = []
        self.features: dict[str, list[NDArray[np.float32]]] = {name: [] for name in extractors}
        self.statistics = {name: FeatureStatistics() for name in extractors}
        self.colours = np.zeros((3, LEVELS), np.int64)
        self.datasets: Counter[str] = Counter()
        self.pictures: Counter[bytes] = Counter()
        self.spectrum = np.zeros(0)
        self.measured = 0

    def add(self, eyes: Sequence[Eye], kept: NDArray[np.int64]) -> None:
        image, fov = torch.cat([as_image(eye) for eye in eyes]), torch.cat([as_mask(eye.fov) for eye in eyes])
        black = torch.where(fov > 0, image, -1.0)
        for name, extractor in self.extractors.items():
            features = extract_features(extractor, black)
            self.statistics[name].update(features)
            self.features[name].append(features[kept])
        self.patients += [eyes[place].patient for place in kept]
        self._add_spectra(radial_power_spectrum(image, fov).double().numpy())
        for eye in eyes:
            self._add_colours(eye)

    def finish(self, count: int) -> Overview:
        return Overview(
            count,
            self.patients,
            {name: np.concatenate(parts) for name, parts in self.features.items()},
            self.statistics,
            np.maximum(self.spectrum / max(1, self.measured), NO_POWER),
            self.colours,
            self.datasets,
            self.pictures,
        )

    def _add_spectra(self, spectra: NDArray[np.float64]) -> None:
        defined = spectra[np.isfinite(spectra).all(1)]
        self.spectrum = defined.sum(0) + (self.spectrum if len(self.spectrum) else 0)
        self.measured += len(defined)

    def _add_colours(self, eye: Eye) -> None:
        for channel, levels in enumerate(eye.image[:, eye.fov]):
            self.colours[channel] += np.bincount(levels, minlength=LEVELS)
        self.datasets[eye.dataset] += 1
        self.pictures[hashlib.blake2b(np.ascontiguousarray(eye.image).tobytes(), digest_size=16).digest()] += 1
