"""The sensitivity test on a sample of a set: which branches were removed from which maps, with the results."""

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
"""Vessel map (S, S), field of view (S, S) and the eye that sets the appearance -> photograph (3, S, S)."""

EYES = 16  # random eyes from whose maps branches are removed; each branch costs a generated photograph
BRANCHES = 4  # of each eye
REAL_EYES = 32  # number of random real eyes, and of test eyes, on which the judge is tested
SHOWN = 2  # trials of a calibre class, and failures, kept for the picture


@dataclass(frozen=True)
class TriedBranch:
    """A removed branch without its pictures."""

    dataset: str
    patient: str
    calibre_class: str
    removal: Removal


@dataclass
class BranchTrials:
    """Test branches of some eyes of a set while it is read.

    Args:
        paint: generator of the set.
        judge: segments vessels in photographs.
        count: number of eyes of the set.
        seed: seed of the choice of eyes and branches.

    Attributes:
        tried: all branches.
        pictures: trials of different eyes for a picture: two of each calibre class and two failures.
        repainted: for each eye, the mean difference in grey levels between its photograph and the one generated again.
        from_labels: number of eyes generated from their labels, because the set lacks the input of its generator.
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
        """Test the eye at index ``place`` if it is in the sample and has a vessel map."""
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
        """Trials with the generator's input, the covered share of each pixel, rather than the label."""

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
    """Whether the judge finds such branches in real photographs, which is what a perfect generator would reach.

    Args:
        count: number of eyes of the real set.
        seed: seed of the choice of eyes.

    Attributes:
        seen: data set, split and calibre class of each branch, and whether the judge found it.
    """

    count: int
    seed: int
    seen: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = _sample(self.count, REAL_EYES, self.seed)
        self._tests = 0

    def add(self, place: int, eye: Eye, maps: Mapping[str, NDArray[np.float32]]) -> None:
        """Test the eye at index ``place`` of the set with the judge's map of its photograph."""
        is_test = bool(self.count) and eye.split == "test" and self._tests < REAL_EYES
        if "vessel" not in eye.masks or not (is_test or place in self._places):
            return
        self._tests += is_test
        share, label = _maps(eye)
        for branch in find_branches(share, eye.fov, label):
            probability = maps["vessel"][tuple(branch.line.T)].mean()
            self.seen.append((eye.dataset, eye.split, branch.calibre_class, bool(probability >= VESSEL)))


def _maps(eye: Eye) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The covered share of each pixel and the label, inside the field of view."""
    label = eye.masks["vessel"]
    share = label if eye.vessel_share is None else eye.vessel_share
    return np.where(eye.fov, share, 0).astype(np.float32), (label >= VESSEL) & eye.fov


def _sample(count: int, size: int, seed: int) -> set[int]:
    return {int(place) for place in np.random.default_rng(seed).permutation(count)[:size]}
