"""How far the vascular biomarkers of generated vessel maps are from those of real ones: of sets, not of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced
from numpy.typing import ArrayLike
from torch import Tensor

from retina_monai.errors import parse_switch
from retina_monai.group import gather_items
from retina_monai.metrics.biomarkers import (
    Biomarkers,
    biomarker_values,
    kolmogorov_smirnov,
    measure_biomarkers,
    wasserstein,
)
from retina_monai.metrics.engine_output import read_tensor
from retina_monai.metrics.segmentation import binarize, check_threshold, masks_inside

__all__ = ["BiomarkerComparison", "BiomarkerDistance", "compare_biomarkers"]

BIOMARKERS = tuple(field.name for field in fields(Biomarkers))
METRICS = ("kolmogorov_smirnov", "wasserstein")

Values = Mapping[str, ArrayLike]


@dataclass(frozen=True, kw_only=True)
class BiomarkerComparison:
    """What :func:`compare_biomarkers` found.

    Attributes:
        kolmogorov_smirnov: name of a biomarker -> distance, in [0, 1]; NaN where it is defined for no map of a set.
        wasserstein: name of a biomarker -> distance, in its unit; NaN likewise.
        real_count: number of real maps.
        generated_count: number of generated maps.
    """

    kolmogorov_smirnov: Mapping[str, float]
    wasserstein: Mapping[str, float]
    real_count: int
    generated_count: int

    @property
    def mean(self) -> float:
        """Of the Kolmogorov-Smirnov distances that are defined; NaN where none is."""
        values = np.array(list(self.kolmogorov_smirnov.values()))
        return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")


def compare_biomarkers(real: Sequence[Values], generated: Sequence[Values]) -> BiomarkerComparison:
    """Distances of two sets of vessel maps, biomarker by biomarker: :func:`kolmogorov_smirnov`, :func:`wasserstein`.

    The first is without unit and biased upwards, the more so the smaller the sets are: compare it with that of as many
    real maps.

    Args:
        real: :func:`biomarker_values` of each real map.
        generated: of each generated map; the sets need not pair or be of one size.

    Raises:
        ValueError: an empty set.

    Example:
        >>> maps = [biomarker_values(Biomarkers(share, np.ones(1), 1.5, 1.0, 9)) for share in (0.1, 0.2, 0.3)]
        >>> found = compare_biomarkers(maps[:2], maps[1:])
        >>> found.kolmogorov_smirnov["vessel_density"], round(found.wasserstein["vessel_density"], 3), found.mean
        (0.5, 0.1, 0.1)
    """
    if not (real and generated):
        raise ValueError(f"both sets need a vessel map, and they have {len(real)} and {len(generated)}")
    samples = {key: [np.concatenate([eye[key] for eye in side]) for side in (real, generated)] for key in BIOMARKERS}
    return BiomarkerComparison(
        kolmogorov_smirnov={key: kolmogorov_smirnov(*sides) for key, sides in samples.items()},
        wasserstein={key: wasserstein(*sides) for key, sides in samples.items()},
        real_count=len(real),
        generated_count=len(generated),
    )


class BiomarkerDistance(Metric):
    """:func:`compare_biomarkers` of all predicted vessel maps of a run with all real ones; for Ignite or MONAI engines.

    It reads the list of dictionaries that MONAI's engines leave in ``state.output`` after decollation. The maps of a
    dictionary need not be a pair; what the processes saw is put together before it is compared. Of each map 36 numbers
    are kept.

    Args:
        metric: ``kolmogorov_smirnov`` or ``wasserstein``.
        biomarker: ``vessel_density``, ``calibres``, ``fractal_dimension``, ``tortuosity`` or ``branching_points``;
            or nothing for the mean Kolmogorov-Smirnov distance of all that are defined. ``measure`` gives all.
        threshold: the probability from which on a pixel is a vessel.
        inside_fov: measure inside the field of view only, and in its diameters; else the whole picture counts as one.
        pred_key: key of the predicted map ``(1, H, W)`` of probabilities.
        target_key: key of the real map ``(1, H, W)`` of {0, 1}.
        fov_key: key of the field of view ``(1, H, W)`` of {0, 1} of both; needed only with ``inside_fov``.
        output_transform: from ``state.output`` to the list of dictionaries.

    Raises:
        ValueError: an unknown metric or biomarker, a mean of Wasserstein distances, which have different units, a
            threshold outside of (0, 1]; on update, maps of another shape or with other values.
        KeyError: on update, a dictionary without one of the keys.
        NotComputableError: on compute, no map was seen.

    Example:
        >>> distance = BiomarkerDistance("wasserstein", "vessel_density")
        >>> real, found = np.zeros((2, 1, 64, 64))
        >>> real[:, 30:34], found[:, 30:32] = 1, 0.9
        >>> distance.update([{"pred": found, "vessel": real}])
        >>> distance.compute()
        0.03125
    """

    def __init__(
        self,
        metric: str = "kolmogorov_smirnov",
        biomarker: str | None = None,
        threshold: float = 0.5,
        inside_fov: bool = False,
        pred_key: str = "pred",
        target_key: str = "vessel",
        fov_key: str = "fov",
        output_transform: Callable[[Any], Any] = lambda output: output,
    ) -> None:
        _check_choice(metric, biomarker)
        self.metric, self.biomarker, self.threshold = metric, biomarker, check_threshold(threshold)
        self.inside_fov = parse_switch(inside_fov, "inside_fov")
        self.pred_key, self.target_key, self.fov_key = pred_key, target_key, fov_key
        super().__init__(output_transform, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all maps."""
        self._real: list[Values] = []
        self._generated: list[Values] = []

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Take one dictionary per map."""
        for item in output:
            fov = read_tensor(self, item, self.fov_key)[None] if self.inside_fov else None
            pred = binarize(read_tensor(self, item, self.pred_key), self.threshold)[None]
            inside, found, real = masks_inside(fov, pred=pred, target=read_tensor(self, item, self.target_key)[None])
            self._real.append(_values(real, inside))
            self._generated.append(_values(found, inside))

    def measure(self) -> BiomarkerComparison:
        """All distances, over the maps of all processes."""
        real, generated = gather_items(self._real), gather_items(self._generated)
        if not real:
            raise NotComputableError("BiomarkerDistance has seen no vessel map: update it at least once before compute")
        return compare_biomarkers(real, generated)

    def compute(self) -> float:
        """The distance that was asked for alone; NaN where it is not defined."""
        found = self.measure()
        if self.biomarker is None:
            return found.mean
        distances: Mapping[str, float] = getattr(found, self.metric)
        return distances[self.biomarker]


def _check_choice(metric: str, biomarker: str | None) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    names = ", ".join(BIOMARKERS)
    if biomarker is None and metric == "wasserstein":
        raise ValueError(f"Wasserstein distances of different units have no mean: choose a biomarker of {names}")
    if biomarker not in (None, *BIOMARKERS):
        raise ValueError(f"biomarker must be one of {names}, or nothing for their mean, not {biomarker!r}")


def _values(mask: Tensor, inside: Tensor) -> Values:
    vessel, fov = (tensor[0, 0].cpu().numpy() for tensor in (mask, inside))
    return biomarker_values(measure_biomarkers(vessel, fov))
