"""Sensitivity test of a generator: a branch is removed from the vessel map and must disappear without other changes.

A generator can score well on average and still draw vessels where training eyes had them, or leave out vessels of the
map. An intervention reveals this: generate photographs of the map with and without one branch, and compare them. This
adapts the deletion test of image classifiers (Fong and Vedaldi, "Interpretable explanations of black boxes by
meaningful perturbation", ICCV 2017, https://arxiv.org/abs/1704.03296), which deletes a part of an image to see on what
a prediction is based. Here, a part of the condition is deleted to see what it causes.

Branches are segments of the centre line with a free end, so that nothing else is cut off with them. A vessel map is
(H, W), the share of each pixel that is vessel, in [0, 1]. A pixel counts as vessel if the label says so or, without a
label, if its share is at least half.
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
    "calibre_class",
    "choose_branches",
    "find_branches",
    "measure_removal",
    "take_out",
    "try_branches",
]

Share = NDArray[np.float32]
Photograph = NDArray[np.uint8]
Paint = Callable[[Share], Photograph]
"""Vessel map (H, W) -> photograph (3, H, W)."""
Find = Callable[[Photograph], Floats]
"""Photograph (3, H, W) -> probability of vessel for each pixel, (H, W)."""

# Lengths are in diameters of the field of view, 256 pixels at the default size of an evaluation.
CALIBRES = (("thin", 0.0), ("medium", 1.25 / 256), ("wide", 2 / 256))  # name of a class and its smallest calibre
LONG = 10 / 256  # smallest measured length of a branch: on a shorter one, single wrong pixels would decide
CLEAR = 3 / 256  # distance of the measured line to other vessels, whose probability would affect it otherwise
MARGIN = 10 / 256  # margin around a branch where the photograph may change too: shadows, blur, noise filters
REACH = 20 / 256  # distance beyond its centre line at which the faint end of a branch is searched
FAINT = 0.1  # share of a pixel below which two vessels do not touch
VESSEL = 0.5  # threshold of probabilities and shares for vessels
SPREAD = 0.25  # largest ratio of the change elsewhere to that at the branch, exceeded by new noise but not by new tone
TONE = 2.0  # largest change elsewhere in grey levels: one per cent of the range, about the limit of visibility
STRAY = 0.1  # largest number of vessel pixels that appear or disappear elsewhere, per pixel of the branch
DARKER = 2.0  # smallest contrast of a branch in grey levels for which its ghost is measured
FLANK = (2.0, 5.0)  # range of distances in pixels from the wall of a vessel to its surroundings


def calibre_class(calibre: float) -> str:
    """The name in :data:`CALIBRES` of a calibre in diameters of the field of view."""
    return [name for name, least in CALIBRES if calibre >= least][-1]


@dataclass(frozen=True)
class Branch:
    """A branch that can be removed.

    Attributes:
        line: (N, 2) rows and columns of its centre line away from other vessels.
        region: (H, W), its pixels with the blurred edge and the faint end.
        calibre: its area over its length, in diameters of the field of view.
        pixels: number of vessel pixels in the region.
    """

    line: NDArray[np.int64]
    region: Mask
    calibre: float
    pixels: int

    @property
    def calibre_class(self) -> str:
        """The name in ``CALIBRES``."""
        return calibre_class(self.calibre)


@dataclass(frozen=True)
class Removal:
    """Effect of the removal of a branch.

    Attributes:
        before: mean vessel probability along the centre line of the branch, generated with the branch.
        after: the same, generated without the branch.
        inside: mean change of the photograph at the branch, in grey levels.
        outside: mean change of the photograph beyond a margin around the branch, in grey levels.
        stray: pixels beyond that margin whose probability changed by at least a half, per vessel pixel of the branch.
        ghost: share of the contrast of the branch to its surroundings that remains; NaN if there was none.
    """

    before: float
    after: float
    inside: float
    outside: float
    stray: float
    ghost: float

    @property
    def shown(self) -> bool:
        """Whether the branch was visible at first."""
        return self.before >= VESSEL

    @property
    def gone(self) -> bool:
        """Whether the branch was visible and disappeared."""
        return self.shown and self.after < VESSEL

    @property
    def nothing_else(self) -> bool:
        """Whether the photograph and its vessels are unchanged elsewhere."""
        return self.outside <= min(SPREAD * self.inside, TONE) and self.stray <= STRAY

    @property
    def passed(self) -> bool:
        """Whether the branch disappeared without other changes."""
        return self.gone and self.nothing_else


@dataclass(frozen=True)
class Trial:
    """A removed branch, the photographs with and without it, (3, H, W), and the effect of its removal."""

    branch: Branch
    vessel: Share
    photographs: tuple[Photograph, Photograph]
    removal: Removal


def find_branches(vessel: ArrayLike, fov: ArrayLike, label: ArrayLike | None = None) -> list[Branch]:
    """Branches of a vessel map that can be removed without cutting off others.

    A branch is a segment of the centre line with a free end, inside the field of view or at its border. It must be long
    enough away from other vessels, and may touch them only at its root. The faint end, where a vessel is narrower than
    half a pixel, must not touch them either.

    Args:
        vessel: (H, W) in [0, 1].
        fov: field of view, (H, W) in {0, 1}.
        label: vessel pixels, (H, W) in {0, 1}; ``None`` for those of which at least half is vessel.

    Raises:
        ValueError: the shapes differ or are not (H, W), a share is outside [0, 1], or the field of view is empty.
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
    """Draw branches at random, in turn from each calibre class.

    Args:
        branches: branches to draw from.
        count: largest number of branches.
        generator: random generator.
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
    """Generate photographs of a vessel map with all branches and without each of them, and measure the changes.

    Args:
        vessel: (H, W) in [0, 1].
        fov: field of view, (H, W) in {0, 1}.
        branches: branches from :func:`find_branches`.
        paint: the tested generator, from (H, W) to (3, H, W). Appearance, noise and dropout must be the same in each
            call.
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
    """Measure the changes at a removed branch and elsewhere.

    Args:
        branch: the removed branch.
        vessel: (H, W) with the branch.
        fov: field of view, (H, W) in {0, 1}.
        photographs: photographs with and without the branch, (3, H, W).
        probabilities: vessel probabilities of both photographs, (H, W) in [0, 1].

    Raises:
        ValueError: as :func:`find_branches`; the size of a photograph or of probabilities differs from the map's.
    """
    share, inside = _checked(vessel, fov)
    first, second = (np.asarray(photograph, np.float64) for photograph in photographs)
    shapes = {array.shape[-2:] for array in (first, second, *probabilities)} | {branch.region.shape}
    if shapes != {share.shape}:
        raise ValueError(f"photographs and probabilities must have the map's size {share.shape}, got {shapes}")
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
        raise ValueError(f"vessel and fov must be (H, W) of one shape, got {share.shape} and {inside.shape}")
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("vessel must be shares of pixels in [0, 1]: divide 8-bit images by 255")
    if not inside.any():
        raise ValueError("fov is empty: give the mask of the field of view")
    return share, inside


def _diameter(fov: Mask) -> float:
    """Diameter of the field of view: the longer side, since cameras crop it."""
    return float(max(side.stop - side.start for side in ndimage.find_objects(fov.astype(np.uint8))[0]))


def _grown(window: tuple[slice, ...], by: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    sides = zip(window, shape, strict=True)
    return tuple(slice(max(side.start - by, 0), min(side.stop + by, length)) for side, length in sides)


def _distance(mask: Mask) -> Floats:
    """Distance from each pixel to the mask; infinite for an empty mask."""
    return ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)


def _branch(
    share: Share, drawn: Mask, line: Mask, width: Floats, own: Mask, window: tuple[slice, ...], diameter: float
) -> Branch | None:
    """The branch around a segment, or ``None`` if it cannot be removed alone. Only pixels in ``window`` are considered.

    A pixel belongs to the branch if it is nearer to its wall than to those of others. Walls are used instead of centre
    lines because a thin branch begins at the wall of the vessel from which it springs.
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
    """Whether a branch touches other vessels except at its root."""
    beside = ndimage.binary_dilation(region, NEIGHBOURS) & ~region & (share >= FAINT)
    return bool((np.linalg.norm(np.argwhere(beside) - root, axis=1) > width + 2).any())


def _length(line: Mask) -> float:
    """Length of a line in pixels: its steps and half a pixel at each end. Diagonals of corners do not count."""
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
