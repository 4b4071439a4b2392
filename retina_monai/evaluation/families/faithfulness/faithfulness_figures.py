"""The figures of faithfulness: scores beside their ceiling, branches taken out, distances of biomarkers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retina_monai.evaluation.families.faithfulness.branch_trials import BranchTrials, RealBranches, TriedBranch
from retina_monai.evaluation.families.faithfulness.eye_measurements import MEASURES, Measured, stack_values
from retina_monai.evaluation.measuring.comparing import Distance, compare_samples, difference_interval
from retina_monai.evaluation.report.tables import Interval, bootstrap_interval
from retina_monai.metrics.branch_removal import CALIBRES
from retina_monai.progress import progress

__all__ = ["BranchLine", "Findings", "Score", "summarize_findings"]

ALL = "all"


@dataclass(frozen=True)
class Score:
    """One measure of one data set: on generated photographs, on real ones (the ceiling), and the difference."""

    generated: Interval
    real: Interval
    difference: Interval


@dataclass(frozen=True)
class BranchLine:
    """What came of the branches of one class of calibre, or of all.

    Attributes:
        branches: their number.
        shown, gone, nothing_else, passed: shares of them.
        low, high: ends of the 95 % interval of ``passed``, over patients; NaN for one patient.
        passed_of_shown: share that passed of those that were shown; NaN where none was.
        shown_in_real: share of such branches that the judge sees in real photographs; NaN where there is none.
        spread: median change elsewhere over that at the branch; NaN where photographs did not change.
        ghost: mean share of the branches' contrast that stays behind; NaN where it cannot be measured.
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
    """All of it.

    Attributes:
        made, true: numbers of each synthetic and of each real eye.
        ceiling: the real eyes of the test split; of a data set that has none, all.
        unmarked: data sets that have none.
        scores: kind of mask -> data set -> measure -> score.
        lines: class of calibre, or ``all``, -> what came of its branches.
        distances: as the keys of ``Measured.values``.
        repainted: mean difference of photographs painted anew from those of the set, in grey levels; NaN if none was.
    """

    made: Sequence[Measured]
    true: Sequence[Measured]
    ceiling: Sequence[Measured]
    unmarked: set[str]
    scores: dict[str, dict[str, dict[str, Score]]]
    lines: dict[str, BranchLine]
    distances: dict[str, Distance]
    repainted: float
    figures: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        parts = {"agreement": self.scores, "branches": self.lines, "biomarkers": self.distances}
        object.__setattr__(self, "figures", _plain({**parts, "repainted": self.repainted}))


def summarize_findings(
    made: Sequence[Measured],
    true: Sequence[Measured],
    trials: BranchTrials | None,
    branches: RealBranches,
    seed: int,
) -> Findings:
    """From numbers of each eye to those of the set."""
    unmarked = {eye.dataset for eye in true} - {eye.dataset for eye in true if eye.split == "test"}
    ceiling = [eye for eye in true if eye.split == "test" or eye.dataset in unmarked]
    seen = [(kind, saw) for dataset, split, kind, saw in branches.seen if split == "test" or dataset in unmarked]
    return Findings(
        made=made,
        true=true,
        ceiling=ceiling,
        unmarked=unmarked,
        scores={key: lines for key in MEASURES if (lines := _scores(made, ceiling, key, seed))},
        lines={} if trials is None else _branch_lines(trials.tried, seen, seed),
        distances=_distances(made, true, seed),
        repainted=math.nan if trials is None else _mean(trials.repainted),
    )


def _scores(made: Sequence[Measured], ceiling: Sequence[Measured], key: str, seed: int) -> dict[str, dict[str, Score]]:
    """By data set of the condition; beside it the real eyes of that set, or all where none is of it."""
    made, ceiling = ([eye for eye in eyes if f"{key}/dice" in eye.agreement] for eyes in (made, ceiling))
    scores = {}
    for dataset in dict.fromkeys(eye.dataset for eye in made) if ceiling else ():
        own, same = ([eye for eye in eyes if eye.dataset == dataset] for eyes in (made, ceiling))
        scores[dataset] = {name: _score(own, same or ceiling, f"{key}/{name}", seed) for name in MEASURES[key]}
    return scores


def _score(made: Sequence[Measured], true: Sequence[Measured], key: str, seed: int) -> Score:
    """AUC is NaN for an eye that is vessel everywhere: it is left out."""
    (first, patients), (second, real_patients) = _defined(made, key), _defined(true, key)
    if not (first and second):
        nothing = Interval(math.nan, math.nan, math.nan, 0, 0)
        return Score(nothing, nothing, nothing)
    fewer = _resamples(len(first) + len(second))
    return Score(
        bootstrap_interval(first, seed=seed, groups=patients, resamples=fewer),
        bootstrap_interval(second, seed=seed, groups=real_patients, resamples=fewer),
        difference_interval(first, second, patients, real_patients, seed=seed, resamples=fewer),
    )


def _defined(eyes: Sequence[Measured], key: str) -> tuple[list[float], list[str]]:
    kept = [eye for eye in eyes if not math.isnan(eye.agreement[key])]
    return [eye.agreement[key] for eye in kept], [eye.patient for eye in kept]


def _resamples(count: int) -> int:
    """Fewer of large sets, whose intervals are narrow, so that time does not run away."""
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
    """NaN of nothing."""
    listed = list(values)
    return float(middle(listed)) if listed else math.nan


def _distances(made: Sequence[Measured], true: Sequence[Measured], seed: int) -> dict[str, Distance]:
    distances = {}
    keys = list(dict.fromkeys(key for eye in made for key in eye.values))
    for key in progress(keys, "faithfulness: comparing biomarkers", "biomarker"):
        own, real = ([eye for eye in eyes if key in eye.values] for eyes in (made, true))
        if own and real:
            patients, real_patients = ([eye.patient for eye in eyes] for eyes in (own, real))
            values, real_values = (stack_values(eyes, key) for eyes in (own, real))
            distances[key] = compare_samples(values, real_values, patients, real_patients, seed)
    return distances


def _plain(value: Any) -> Any:
    """As JSON holds it: dictionaries, and nothing for NaN."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, Interval):
        return _plain(value._asdict())
    if isinstance(value, Score | BranchLine | Distance):
        return _plain({key: getattr(value, key) for key in value.__dataclass_fields__})
    return None if isinstance(value, float) and math.isnan(value) else value
