"""Figures of faithfulness: scores beside their ceiling, removed branches and distances of biomarkers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from retina_monai.evaluation.families.faithfulness.branch_trials import BranchTrials, RealBranches, TriedBranch
from retina_monai.evaluation.families.faithfulness.eye_measurements import (
    MEASURES,
    VISIBILITY,
    Measured,
    stack_values,
)
from retina_monai.evaluation.measuring.comparing import Distance, compare_samples, difference_interval
from retina_monai.evaluation.report.tables import Interval, bootstrap_interval
from retina_monai.metrics.branch_removal import CALIBRES
from retina_monai.progress import progress

__all__ = ["FOVEA", "BranchLine", "Findings", "Score", "summarize_findings"]

ALL = "all"
FOVEA = 0.1
"""Smallest darkening of a visible fovea. At 256 pixels, it is at least 0.12 in 28 of 31 real test eyes (HRF, FIVES and
IDRiD without retinopathy), and below 0.1 in 29 of them when they are blurred so that no macula is visible."""

Value = Callable[[Measured], float]
"""A number of an eye; NaN if it is undefined."""


@dataclass(frozen=True)
class Score:
    """One measure on one data set: on generated photographs, on real ones (the ceiling), and their difference."""

    generated: Interval
    real: Interval
    difference: Interval


@dataclass(frozen=True)
class BranchLine:
    """Results of the branches of one calibre class, or of all.

    Attributes:
        branches: number of branches.
        shown, gone, nothing_else, passed: shares of the branches.
        low, high: 95 % interval of ``passed`` over patients; NaN with too few patients.
        passed_of_shown: share of the visible branches that passed; NaN if none was visible.
        shown_in_real: share of comparable branches that the judge finds in real photographs; NaN if there is none.
        spread: median ratio of the change elsewhere to that at the branch; NaN if photographs did not change.
        ghost: mean share of a branch's contrast that remains; NaN if it cannot be measured.
    """

    branches: int
    shown: float
    gone: float
    nothing_else: float
    passed: float
    low: float
    high: float
    passed_of_shown: float
    shown_in_real: float
    spread: float
    ghost: float


@dataclass(frozen=True)
class Findings:
    """All results.

    Attributes:
        synthetic, real: measurements of each synthetic and of each real eye.
        ceiling: real eyes of the test split, or all eyes of a data set without one.
        unmarked: data sets without a test split.
        scores: kind of mask -> data set -> measure -> score.
        visibility: data set -> calibre class -> measure -> score.
        foveas: data set -> shares of synthetic and of real eyes with a fovea.
        lines: calibre class, or ``all`` -> results of its branches.
        distances: biomarker, a key of ``Measured.values`` -> distance.
        repainted: mean difference in grey levels between photographs generated again and those of the set; NaN if
            there are none.
    """

    synthetic: Sequence[Measured]
    real: Sequence[Measured]
    ceiling: Sequence[Measured]
    unmarked: set[str]
    scores: dict[str, dict[str, dict[str, Score]]]
    visibility: dict[str, dict[str, dict[str, Score]]]
    foveas: dict[str, Score]
    lines: dict[str, BranchLine]
    distances: dict[str, Distance]
    repainted: float
    figures: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        parts = {
            "agreement": self.scores,
            "visibility": self.visibility,
            "foveas": self.foveas,
            "branches": self.lines,
            "biomarkers": self.distances,
        }
        object.__setattr__(self, "figures", _plain({**parts, "repainted": self.repainted}))


def summarize_findings(
    synthetic: Sequence[Measured],
    real: Sequence[Measured],
    trials: BranchTrials | None,
    branches: RealBranches,
    seed: int,
) -> Findings:
    """Summarise the measurements of single eyes."""
    unmarked = {eye.dataset for eye in real} - {eye.dataset for eye in real if eye.split == "test"}
    ceiling = [eye for eye in real if eye.split == "test" or eye.dataset in unmarked]
    seen = [(kind, saw) for dataset, split, kind, saw in branches.seen if split == "test" or dataset in unmarked]
    return Findings(
        synthetic=synthetic,
        real=real,
        ceiling=ceiling,
        unmarked=unmarked,
        scores={key: lines for key in MEASURES if (lines := _scores(synthetic, ceiling, key, seed))},
        visibility=_visibility(synthetic, ceiling, seed),
        foveas=_foveas(synthetic, ceiling, seed),
        lines={} if trials is None else _branch_lines(trials.tried, seen, seed),
        distances=_distances(synthetic, real, seed),
        repainted=math.nan if trials is None else _mean(trials.repainted),
    )


def _scores(
    synthetic: Sequence[Measured], ceiling: Sequence[Measured], key: str, seed: int
) -> dict[str, dict[str, Score]]:
    synthetic, ceiling = ([eye for eye in eyes if f"{key}/dice" in eye.agreement] for eyes in (synthetic, ceiling))
    values: dict[str, Value] = {name: partial(_agreement, key=f"{key}/{name}") for name in MEASURES[key]}
    return _by_dataset(synthetic, ceiling, values, seed)


def _visibility(
    synthetic: Sequence[Measured], ceiling: Sequence[Measured], seed: int
) -> dict[str, dict[str, dict[str, Score]]]:
    sets: dict[str, dict[str, dict[str, Score]]] = {}
    for kind, _ in CALIBRES:
        values: dict[str, Value] = {name: partial(_visible, kind=kind, name=name) for name in VISIBILITY}
        for dataset, scores in _by_dataset(synthetic, ceiling, values, seed).items():
            if any(score.generated.N for score in scores.values()):
                sets.setdefault(dataset, {})[kind] = scores
    return sets


def _foveas(synthetic: Sequence[Measured], ceiling: Sequence[Measured], seed: int) -> dict[str, Score]:
    sets = _by_dataset(synthetic, ceiling, {"fovea": _has_fovea}, seed)
    return {dataset: scores["fovea"] for dataset, scores in sets.items() if scores["fovea"].generated.N}


def _agreement(eye: Measured, key: str) -> float:
    return eye.agreement[key]


def _visible(eye: Measured, kind: str, name: str) -> float:
    return eye.visibility.get(kind, {}).get(name, math.nan)


def _has_fovea(eye: Measured) -> float:
    darkening = float(eye.values["fovea/darkening"][0]) if "fovea/darkening" in eye.values else math.nan
    return darkening if math.isnan(darkening) else float(darkening >= FOVEA)


def _by_dataset(
    synthetic: Sequence[Measured], ceiling: Sequence[Measured], values: Mapping[str, Value], seed: int
) -> dict[str, dict[str, Score]]:
    """Scores by data set of the condition. The ceiling is that data set, or all if it has no real eyes."""
    scores = {}
    for dataset in dict.fromkeys(eye.dataset for eye in synthetic):
        own, same = ([eye for eye in eyes if eye.dataset == dataset] for eyes in (synthetic, ceiling))
        scores[dataset] = {name: _score(own, same or ceiling, value, seed) for name, value in values.items()}
    return scores


def _score(synthetic: Sequence[Measured], real: Sequence[Measured], value: Value, seed: int) -> Score:
    """Score over the eyes whose value is defined; a side without any has a mean of NaN."""
    (first, patients), (second, real_patients) = _defined(synthetic, value), _defined(real, value)
    fewer = _resamples(max(len(first) + len(second), 1))
    nothing = Interval(math.nan, math.nan, math.nan, 0, 0)

    def interval(values: list[float], groups: list[str]) -> Interval:
        return bootstrap_interval(values, seed=seed, groups=groups, resamples=fewer) if values else nothing

    both = bool(first and second)
    return Score(
        interval(first, patients),
        interval(second, real_patients),
        difference_interval(first, second, patients, real_patients, seed=seed, resamples=fewer) if both else nothing,
    )


def _defined(eyes: Sequence[Measured], value: Value) -> tuple[list[float], list[str]]:
    kept = [(number, eye.patient) for eye in eyes if not math.isnan(number := value(eye))]
    return [number for number, _ in kept], [patient for _, patient in kept]


def _resamples(count: int) -> int:
    """Number of bootstrap samples, smaller for large sets, whose intervals are narrow, to limit the time."""
    return int(np.clip(10**7 // count, 200, 2000))


def _branch_lines(tried: Sequence[TriedBranch], seen: Sequence[tuple[str, bool]], seed: int) -> dict[str, BranchLine]:
    lines = {}
    for name in (ALL, *(name for name, _ in CALIBRES)):
        own = [branch for branch in tried if name in (ALL, branch.calibre_class)]
        if own:
            lines[name] = _branch_line(own, [saw for kind, saw in seen if name in (ALL, kind)], seed)
    return lines


def _branch_line(tried: Sequence[TriedBranch], seen: Sequence[bool], seed: int) -> BranchLine:
    removals = [branch.removal for branch in tried]
    passed = bootstrap_interval(
        [float(removal.passed) for removal in removals], seed=seed, groups=[branch.patient for branch in tried]
    )
    spreads = [removal.outside / removal.inside for removal in removals if removal.inside > 0]
    return BranchLine(
        branches=len(tried),
        shown=_mean(removal.shown for removal in removals),
        gone=_mean(removal.gone for removal in removals),
        nothing_else=_mean(removal.nothing_else for removal in removals),
        passed=passed.mean,
        low=passed.low,
        high=passed.high,
        passed_of_shown=_mean(removal.passed for removal in removals if removal.shown),
        shown_in_real=_mean(seen),
        spread=_mean(spreads, np.median),
        ghost=_mean(removal.ghost for removal in removals if not math.isnan(removal.ghost)),
    )


def _mean(values: Iterable[float], middle: Callable[[Any], Any] = np.mean) -> float:
    """Mean, or NaN for no values."""
    listed = list(values)
    return float(middle(listed)) if listed else math.nan


def _distances(synthetic: Sequence[Measured], real: Sequence[Measured], seed: int) -> dict[str, Distance]:
    distances = {}
    keys = list(dict.fromkeys(key for eye in synthetic for key in eye.values))
    for key in progress(keys, "faithfulness: comparing biomarkers", "biomarker"):
        chosen, chosen_real = ([eye for eye in eyes if key in eye.values] for eyes in (synthetic, real))
        if chosen and chosen_real:
            patients, real_patients = ([eye.patient for eye in eyes] for eyes in (chosen, chosen_real))
            values, real_values = (stack_values(eyes, key) for eyes in (chosen, chosen_real))
            distances[key] = compare_samples(values, real_values, patients, real_patients, seed)
    return distances


def _plain(value: Any) -> Any:
    """``value`` as JSON data, with NaN as ``None``."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, Interval):
        return _plain(value._asdict())
    if isinstance(value, Score | BranchLine | Distance):
        return _plain({key: getattr(value, key) for key in value.__dataclass_fields__})
    return None if isinstance(value, float) and math.isnan(value) else value
