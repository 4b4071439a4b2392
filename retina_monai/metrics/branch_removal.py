"""The sensitivity test of a generator: one branch is taken out of the vessel map, and it must go, and nothing else.

A generator can score well on average and still paint vessels where training eyes had them, or leave out what it is told
to paint. An intervention shows it: paint the map with and without one branch, and look at what changed where. It is the
deletion test of image classifiers (Fong and Vedaldi, "Interpretable explanations of black boxes by meaningful
perturbation", ICCV 2017, https://arxiv.org/abs/1704.03296) turned round: there a picture's part is taken away to see
what an answer rests on, here a condition's, to see what it is answerable for.

Branches are segments of the centre line that end freely, so that nothing else is cut off with them. A vessel map is
(H, W) of the share of each pixel that vessels cover, in [0, 1]; a pixel is vessel where a label says so or, without a
label, where that share is at least half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from retina_monai.metrics.centre_line import NEIGHBOURS, Floats, Mask, centre_line, count_ways, find_segments

__all__ = [
    "CALIBRES",
    "Branch",
    "Removal",
    "Trial",
    "choose_branches",
    "find_branches",
    "measure_removal",
    "take_out",
    "try_branches",
]

Share = NDArray[np.float32]
Photograph = NDArray[np.uint8]
Paint = Callable[[Share], Photograph]
"""From a vessel map (H, W) to a photograph (3, H, W)."""
Find = Callable[[Photograph], Floats]
"""From a photograph (3, H, W) to the probability that a pixel is vessel, (H, W)."""

# Lengths are in diameters of the field of view, 256 pixels at the default size of an evaluation.
CALIBRES = (("thin", 0.0), ("medium", 1.25 / 256), ("wide", 2 / 256))  # name of a class, and its least calibre
LONG = 10 / 256  # of a branch's line that is measured: shorter, and a wrong pixel or two decide
CLEAR = 3 / 256  # between that line and other vessels: nearer, and the probability at the line is theirs
MARGIN = 10 / 256  # around a branch, where the photograph may change with it: shadows, the wall's blur, noise filters
REACH = 20 / 256  # how far beyond its centre line a branch's faint end is looked for
FAINT = 0.1  # share of a pixel below which two vessels do not touch
VESSEL = 0.5  # probability, or share of a pixel, from which on a pixel is vessel
SPREAD = 0.25  # change elsewhere over change at the branch, at most: more comes of new noise, not of a change of tone
TONE = 2.0  # grey levels of change elsewhere, at most: one percent of the range, about what an eye can tell
STRAY = 0.1  # vessel pixels that come or go elsewhere, per pixel of the branch, at most
DARKER = 2.0  # grey levels by which a branch must stand out for its ghost to be measured
FLANK = (2.0, 5.0)  # pixels from a vessel's wall between which its surroundings are


@dataclass(frozen=True)
class Branch:
    """A branch that can be taken out.

    Attributes:
        line: (N, 2) rows and columns of its centre line, as far as no other vessel is near.
        region: (H, W) what it covers, its blurred edge and faint end included.
        calibre: its area over its length, in diameters of the field of view.
        pixels: vessel pixels in the region.
    """

    line: NDArray[np.int64]
    region: Mask
    calibre: float
    pixels: int

    @property
    def calibre_class(self) -> str:
        """The name in ``CALIBRES``."""
        return [name for name, least in CALIBRES if self.calibre >= least][-1]


@dataclass(frozen=True)
class Removal:
    """What taking a branch out did.

    Attributes:
        before: mean probability of a vessel along the branch's centre line, painted with the branch.
        after: the same, painted without it.
        inside: mean change of the photograph where the branch was, in grey levels.
        outside: mean change of the photograph beyond a margin around the branch.
        stray: pixels beyond that margin whose probability rose or fell by a half or more, per vessel pixel of the
            branch.
        ghost: contrast of the branch to its surroundings that stayed behind, as a share of what it was; NaN where
            there was none.
    """

    before: float
    after: float
    inside: float
    outside: float
    stray: float
    ghost: float

    @property
    def shown(self) -> bool:
        """The branch was there in the first place."""
        return self.before >= VESSEL

    @property
    def gone(self) -> bool:
        """It was there, and is no longer."""
        return self.shown and self.after < VESSEL

    @property
    def nothing_else(self) -> bool:
        """The photograph and its vessels are elsewhere what they were."""
        return self.outside <= min(SPREAD * self.inside, TONE) and self.stray <= STRAY

    @property
    def passed(self) -> bool:
        """It is gone, and nothing else."""
        return self.gone and self.nothing_else


@dataclass(frozen=True)
class Trial:
    """A branch that was taken out, the photographs with and without it, (3, H, W), and what came of it."""

    branch: Branch
    vessel: Share
    photographs: tuple[Photograph, Photograph]
    removal: Removal


def find_branches(vessel: ArrayLike, fov: ArrayLike, label: ArrayLike | None = None) -> list[Branch]:
    """The branches of a vessel map that can be taken out without cutting others off.

    A segment of the centre line counts if it has a free end, inside of the field of view or at its border, is long
    enough away from other vessels, and touches none but where it springs from, be it by the faint end in which a vessel
    goes on below half a pixel's width.

    Args:
        vessel: (H, W) in [0, 1].
        fov: field of view, (H, W) of {0, 1}.
        label: which pixels are vessel, (H, W) of {0, 1}; ``None``: those that vessels cover by half.

    Raises:
        ValueError: shapes that differ or are not (H, W), shares outside of [0, 1], or a field of view of no pixel.
    """
    share, inside = _checked(vessel, fov)
    diameter = _diameter(inside)
    share = np.where(inside, share, np.float32(0))
    drawn = share >= VESSEL if label is None else np.asarray(label).astype(bool) & inside
    line, width = centre_line(drawn)
    labels, _ = find_segments(line)
    ends = ndimage.sum_labels(count_ways(line) == 1, labels, np.arange(1, labels.max() + 1))
    found = []
    for number, window in enumerate(ndimage.find_objects(labels), 1):
        if ends[number - 1] and (labels[window] == number).sum() >= LONG * diameter:
            around = _grown(window, int(np.ceil(REACH * diameter)), share.shape)
            branch = _branch(share, drawn, line, width, labels == number, around, diameter)
            found += [] if branch is None else [branch]
    return found


def choose_branches(branches: Sequence[Branch], count: int, generator: np.random.Generator) -> list[Branch]:
    """Draw branches at random, in turns from each class of calibre.

    Args:
        branches: to draw from.
        count: how many, at most.
        generator: of the draw.
    """
    mixed = [branches[index] for index in generator.permutation(len(branches))]
    classes = [[branch for branch in mixed if branch.calibre_class == name] for name, _ in CALIBRES]
    rounds = [[own[turn] for own in classes if turn < len(own)] for turn in range(len(mixed))]
    return [branch for turn in rounds for branch in turn][:count]


def take_out(vessel: ArrayLike, branch: Branch) -> Share:
    """The vessel map (H, W) without the branch."""
    return np.where(branch.region, np.float32(0), np.asarray(vessel, np.float32))


def try_branches(
    vessel: ArrayLike, fov: ArrayLike, branches: Sequence[Branch], paint: Paint, find: Find
) -> Iterator[Trial]:
    """Paint a vessel map, then each time without one of its branches, and measure what changed.

    Args:
        vessel: (H, W) in [0, 1].
        fov: field of view, (H, W) of {0, 1}.
        branches: of :func:`find_branches`.
        paint: the generator under test, from (H, W) to (3, H, W); all that is not in the map is to be the same each
            time: appearance, noise, dropout.
        find: the judge, from (3, H, W) to probabilities (H, W).

    Raises:
        ValueError: as :func:`measure_removal`.
    """
    share, inside = _checked(vessel, fov)
    whole = paint(share)
    found = find(whole)
    for branch in branches:
        without = paint(take_out(share, branch))
        removal = measure_removal(branch, share, inside, (whole, without), (found, find(without)))
        yield Trial(branch, share, (whole, without), removal)


def measure_removal(
    branch: Branch,
    vessel: ArrayLike,
    fov: ArrayLike,
    photographs: tuple[Photograph, Photograph],
    probabilities: tuple[Floats, Floats],
) -> Removal:
    """What changed with a branch, at its place and elsewhere.

    Args:
        branch: that was taken out.
        vessel: (H, W) with the branch.
        fov: field of view, (H, W) of {0, 1}.
        photographs: with the branch and without it, (3, H, W).
        probabilities: of a vessel, found in the first and in the second, (H, W) in [0, 1].

    Raises:
        ValueError: as :func:`find_branches`; photographs or probabilities of another shape than the map.
    """
    share, inside = _checked(vessel, fov)
    first, second = (np.asarray(photograph, np.float64) for photograph in photographs)
    shapes = {array.shape[-2:] for array in (first, second, *probabilities)} | {branch.region.shape}
    if shapes != {share.shape}:
        raise ValueError(f"photographs and probabilities must be of the map's size {share.shape}, not {shapes}")
    change, turned = np.abs(second - first).mean(axis=0), np.abs(probabilities[1] - probabilities[0]) >= VESSEL
    far = inside & (_distance(branch.region) > MARGIN * _diameter(inside))
    before, after = (float(found[tuple(branch.line.T)].mean()) for found in probabilities)
    return Removal(
        before=before,
        after=after,
        inside=float(change[branch.region].mean()),
        outside=float(change[far].mean()) if far.any() else 0.0,
        stray=float((turned & far).sum() / branch.pixels),
        ghost=_ghost(branch, share, inside, first.mean(axis=0), second.mean(axis=0)),
    )


def _checked(vessel: ArrayLike, fov: ArrayLike) -> tuple[Share, Mask]:
    share, inside = np.asarray(vessel, np.float32), np.asarray(fov).astype(bool)
    if share.ndim != 2 or share.shape != inside.shape:
        raise ValueError(f"vessel and fov are (H, W) of one shape, not {share.shape} and {inside.shape}")
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(
            "vessel holds the share of each pixel that vessels cover, in [0, 1]: divide by 255 what is a picture"
        )
    if not inside.any():
        raise ValueError("fov has no pixel: give the mask of the field of view")
    return share, inside


def _diameter(fov: Mask) -> float:
    """Of the field of view: its longer side, since cameras cut it off."""
    return float(max(side.stop - side.start for side in ndimage.find_objects(fov.astype(np.uint8))[0]))


def _grown(window: tuple[slice, ...], by: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    sides = zip(window, shape, strict=True)
    return tuple(slice(max(side.start - by, 0), min(side.stop + by, length)) for side, length in sides)


def _distance(mask: Mask) -> Floats:
    """From each pixel to the nearest of the mask, without end where there is none."""
    return ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)


def _branch(
    share: Share, drawn: Mask, line: Mask, width: Floats, own: Mask, window: tuple[slice, ...], diameter: float
) -> Branch | None:
    """The branch around a segment, or nothing if it cannot be taken out alone; all but its window is left unseen.

    A pixel is of the branch if it is nearer to it than to others, from their walls, not from their centre lines: a thin
    branch begins at the wall of the vessel that it springs from.
    """
    near = share[window]
    at, nodes = np.argwhere((near > 0) | drawn[window]), np.argwhere(line[window])
    mine, radius = own[window][tuple(nodes.T)], width[window][tuple(nodes.T)] / 2
    to_others = (cdist(at, nodes[~mine]) - radius[~mine]).min(axis=1, initial=np.inf)
    along = own[window][tuple(at.T)] & (to_others > 0)
    if (to_others[along] > CLEAR * diameter).sum() < LONG * diameter:
        return None
    line_at, wide = at[along], width[window][tuple(at[along].T)]
    nearer = np.zeros(near.shape, bool)
    nearer[tuple(at[cdist(at, line_at).min(axis=1) - np.median(wide) / 2 < to_others].T)] = True
    pieces = ndimage.label(nearer, NEIGHBOURS)[0]
    region = nearer & np.isin(pieces, pieces[tuple(line_at.T)])
    if _touches(region, near, line_at[np.argmin(to_others[along])], float(wide.max())):
        return None
    whole, course = np.zeros((2, *share.shape), bool)
    whole[window], course[window][tuple(line_at.T)] = region, True
    corner = np.array([side.start for side in window])
    measured = line_at[to_others[along] > CLEAR * diameter] + corner
    calibre = float(near[region].sum() / _length(course) / diameter)
    return Branch(measured, whole, calibre, int((whole & drawn).sum()))


def _touches(region: Mask, share: Share, root: NDArray[np.int64], width: float) -> bool:
    """Whether a branch meets other vessels elsewhere than at its root."""
    beside = ndimage.binary_dilation(region, NEIGHBOURS) & ~region & (share >= FAINT)
    return bool((np.linalg.norm(np.argwhere(beside) - root, axis=1) > width + 2).any())


def _length(line: Mask) -> float:
    """Of a line in pixels: its steps and half a pixel at each end; where two straight steps lead, none goes across."""
    straight = (line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum()
    falling = line[1:, 1:] & line[:-1, :-1] & ~line[1:, :-1] & ~line[:-1, 1:]
    rising = line[1:, :-1] & line[:-1, 1:] & ~line[1:, 1:] & ~line[:-1, :-1]
    return float(1 + straight + np.sqrt(2) * (falling.sum() + rising.sum()))


def _ghost(branch: Branch, share: Share, fov: Mask, before: Floats, after: Floats) -> float:
    from_branch = _distance(branch.region)
    flank = fov & (from_branch >= FLANK[0]) & (from_branch <= FLANK[1])
    flank &= _distance((share >= FAINT) & ~branch.region) >= FLANK[0]
    at = tuple(branch.line.T)
    if not flank.any():
        return float("nan")
    was, stayed = (grey[flank].mean() - grey[at].mean() for grey in (before, after))
    return float(stayed / was) if was >= DARKER else float("nan")
