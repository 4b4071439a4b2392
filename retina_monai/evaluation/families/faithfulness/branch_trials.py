"""The sensitivity test on a sample of a set: which branches were taken out of which maps, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retina_monai.evaluation.families.faithfulness.eye_measurements import VESSEL, run_judge
from retina_monai.evaluation.measuring.eye import Eye, Judge
from retina_monai.metrics import Branch, Removal, Trial, choose_branches, find_branches, try_branches

__all__ = ["BranchTrials", "Paint", "RealBranches", "TriedBranch"]

Paint = Callable[[NDArray[np.float32], NDArray[np.bool_], Eye], NDArray[np.uint8]]
"""From vessel map (S, S), field of view (S, S) and the eye whose appearance it is to have to a photograph (3, S, S)."""

EYES = 16  # whose maps branches are taken out of, drawn from the set: each costs as many photographs as branches
BRANCHES = 4  # of each eye
REAL_EYES = 32  # on whose photographs the judge is asked for such branches: as many of the test split, and others
SHOWN = 2  # trials of a class of calibre, and failures, that are kept for a picture


@dataclass(frozen=True)
class TriedBranch:
    """A branch without its pictures."""

    dataset: str
    patient: str
    calibre_class: str
    removal: Removal


@dataclass
class BranchTrials:
    """Tries branches of some eyes of a set, as they come by.

    Args:
        paint: the set's generator.
        judge: finds vessels in photographs.
        count: number of eyes of the set.
        seed: of which eyes and which branches.

    Attributes:
        tried: all branches.
        pictures: a few trials, for a picture: two of each class of calibre, and two that failed, of different eyes.
        repainted: mean difference of each eye's photograph, painted anew, from that of the set, in grey levels.
        from_labels: eyes painted from their labels, since the set does not hold what its generator was given.
    """

    paint: Paint
    judge: Judge
    count: int
    seed: int
    tried: list[TriedBranch] = field(default_factory=list)
    pictures: list[Trial] = field(default_factory=list)
    repainted: list[float] = field(default_factory=list)
    from_labels: int = 0

    def __post_init__(self) -> None:
        self._places = _sample(self.count, EYES, self.seed)

    def add(self, place: int, eye: Eye) -> None:
        """Take the eye at a place of the set; nothing happens unless it is in the sample and has a vessel map."""
        if place not in self._places or "vessel" not in eye.masks:
            return
        share, label = _maps(eye)
        self.from_labels += eye.vessel_share is None
        found = find_branches(share, eye.fov, label)
        branches = choose_branches(found, BRANCHES, np.random.default_rng((self.seed, place)))
        for number, trial in enumerate(self._trials(eye, share, branches)):
            if number == 0:
                change = np.abs(trial.photographs[0].astype(np.float32) - eye.image).mean(axis=0)
                self.repainted.append(float(change[eye.fov].mean()))
            self.tried.append(TriedBranch(eye.dataset, eye.patient, trial.branch.calibre_class, trial.removal))
            self._keep(trial)

    def _trials(self, eye: Eye, share: NDArray[np.float32], branches: list[Branch]) -> Iterator[Trial]:
        """Painted from what the generator was given, the share of each pixel that vessels cover, not from the label."""

        def find(photograph: NDArray[np.uint8]) -> NDArray[np.float64]:
            found = run_judge(self.judge, [dataclasses.replace(eye, image=photograph)])[0]
            return found.astype(np.float64)

        return try_branches(share, eye.fov, branches, lambda vessel: self.paint(vessel, eye.fov, eye), find)

    def _keep(self, trial: Trial) -> None:
        def kind(of: Trial) -> tuple[bool, str]:
            return (True, of.branch.calibre_class) if of.removal.passed else (False, "")

        like = [other for other in self.pictures if kind(other) == kind(trial)]
        if len(like) < SHOWN and all(other.vessel is not trial.vessel for other in like):
            self.pictures.append(trial)
            self.pictures.sort(key=lambda of: (not of.removal.passed, of.branch.calibre))


@dataclass
class RealBranches:
    """How many of such branches the judge sees in real photographs: what a perfect generator would reach.

    Args:
        count: number of eyes of the real set.
        seed: of which eyes are asked.

    Attributes:
        seen: data set, split and class of calibre of each branch, and whether the judge saw it.
    """

    count: int
    seed: int
    seen: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = _sample(self.count, REAL_EYES, self.seed)
        self._tests = 0

    def add(self, place: int, eye: Eye, maps: Mapping[str, NDArray[np.float32]]) -> None:
        """Take the eye at a place of the set, with the judge's map of its photograph."""
        is_test = bool(self.count) and eye.split == "test" and self._tests < REAL_EYES
        if "vessel" not in eye.masks or not (is_test or place in self._places):
            return
        self._tests += is_test
        share, label = _maps(eye)
        for branch in find_branches(share, eye.fov, label):
            probability = maps["vessel"][tuple(branch.line.T)].mean()
            self.seen.append((eye.dataset, eye.split, branch.calibre_class, bool(probability >= VESSEL)))


def _maps(eye: Eye) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The share of each pixel that vessels cover, and the label, within the field of view."""
    label = eye.masks["vessel"]
    share = label if eye.vessel_share is None else eye.vessel_share
    return np.where(eye.fov, share, 0).astype(np.float32), (label >= VESSEL) & eye.fov


def _sample(count: int, size: int, seed: int) -> set[int]:
    return {int(place) for place in np.random.default_rng(seed).permutation(count)[:size]}
