"""Grow retinal vessel trees, the geometry of the phantom.

A tree is grown from the optic disc in three steps:

1. *Course.* Two trunks leave the disc and follow the temporal arcades, which are parabolas with the vertex at the disc
   (Oloumi, Rangayyan and Ells, "Parabolic modeling of the major temporal arcade in retinal fundus images", IEEE TIM
   2012). Two nasal trunks branch from each. Scattered points of tissue, from coarse to fine, are supplied from the
   vessel that reaches them at the lowest cost downstream, as in constrained constructive optimisation (Schreiner and
   Buxbaum, "Computer-optimization of vascular trees", IEEE TBME 1993). Vessels do not enter the foveal avascular zone
   or touch other vessels of the same tree.
2. *Radius.* Flow is proportional to the cube of the radius (Murray, "The physiological principle of minimum work", PNAS
   1926), so that ``r0^3 = r1^3 + r2^3`` at a branching. Between branchings, some flow per mm is lost to invisible
   vessels, so vessels taper.
3. *Branching angles.* The angles minimise work (Murray, "The physiological principle of minimum work applied to the
   angle of branching of arteries", J Gen Physiol 1926): ``cos a1 = (r0^4 + r1^4 - r2^4) / (2 r0^2 r1^2)``.

A point is a complex number ``column + 1j * row`` in mm relative to the disc centre, in a *right* eye as photographed:
the fovea is to the left of the disc, at a negative real part. A left eye is its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Retina", "VesselTree", "branching_angles", "grow_tree"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLES = 97  # points per path
SEGMENT_SAMPLES = 25  # points per segment, the part of a path between two branchings
STRIDE = 4  # every fourth point of a path may branch
SPACINGS = (3.6, 2.8, 2.2, 1.7, 1.3, 1.0)  # mm between points of tissue, by generation of branches
LOSS = 0.25  # flow lost per mm to invisible vessels, in units of the flow of a terminal vessel


@dataclass(frozen=True)
class Retina:
    """The area in which vessels grow.

    Attributes:
        fovea: centre of the fovea.
        avascular: radius of the foveal avascular zone in mm.
        centre: centre of the visible circle of retina.
        extent: radius of that circle in mm.
        tortuosity: tortuosity of the vessels, 1 in an average eye.
    """

    fovea: complex
    avascular: float
    centre: complex
    extent: float
    tortuosity: float = 1.0


@dataclass(frozen=True)
class VesselTree:
    """A tree of ``S`` segments with ``K`` points each. A segment ends where the vessel branches or ends.

    Attributes:
        points: ``(S, K)`` complex points in mm.
        radii: ``(S, K)`` radii in mm, which decrease along a segment.
        parent: ``(S,)`` index of the parent segment, -1 at the root.
        turn: ``(S,)`` angle in radians between the start of a segment and the end of its parent, 0 at the root.
    """

    points: Complex
    radii: Floats
    parent: Ints
    turn: Floats


@dataclass(frozen=True)
class _Paths:
    """``P`` vessels from start to end, before radii and angles are known.

    A path starts on path ``parent`` at its point ``node``, and ``demand`` is the flow at its end.
    """

    curves: Complex
    parent: Ints
    node: Ints
    demand: Floats

    def joined(self, other: _Paths) -> _Paths:
        return _Paths(
            np.concatenate([self.curves, other.curves]),
            np.concatenate([self.parent, other.parent]),
            np.concatenate([self.node, other.node]),
            np.concatenate([self.demand, other.demand]),
        )


@dataclass(frozen=True)
class _Stretches:
    """The ``S`` segments of paths: path, first and last point on it, parent and sibling.

    Segments are ordered by path and along each path, so that daughters follow their parent. -1 stands for none.
    """

    path: Ints
    first: Ints
    last: Ints
    parent: Ints
    sibling: Ints


def _pairs(parent: Ints) -> Ints:
    """Daughters ``(B, 2)`` at each branching."""
    order = np.argsort(parent, kind="stable")
    return order[parent[order] >= 0].reshape(-1, 2)


def branching_angles(parent: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Angles between two daughters and the direction of their parent that minimise work (Murray 1926).

    Args:
        parent: radius of the parent at its end.
        first: radius of one daughter at its start.
        second: radius of the other daughter at its start.

    Returns:
        Angles of the first and the second daughter in radians, on opposite sides.
    """

    def leave(own: Floats, other: Floats) -> Floats:
        return np.arccos(np.clip((parent**4 + own**4 - other**4) / (2 * parent**2 * own**2), -1, 1))

    return leave(first, second), leave(second, first)


def grow_tree(
    rng: np.random.Generator,
    retina: Retina,
    caliber: float,
    openings: tuple[float, float],
    density: float,
    beside: VesselTree | None = None,
) -> VesselTree:
    """Grow one tree of a right eye.

    Args:
        rng: random generator.
        retina: area in which vessels grow.
        caliber: radius in mm of the central vessel, before it divides into the two trunks.
        openings: vertical distances in mm of the upper and the lower temporal arcade from the disc, at the column of
            the fovea.
        density: share in (0, 1] of the points of tissue that get a visible vessel.
        beside: tree of the other kind, which vessels may cross but not follow.
    """
    foreign = np.zeros((0, 1), np.complex128) if beside is None else beside.points
    drafts = [_trunks(rng, retina, openings) for _ in range(1 if beside is None else 6)]
    paths = min(drafts, key=lambda draft: _overlap(draft.curves, foreign).sum())
    for spacing in SPACINGS:
        paths = _sprout(rng, paths, retina, spacing, density, foreign)
    return _settle(paths, caliber)


def _overlap(curves: Complex, foreign: Complex, gap: float = 0.16) -> Floats:
    """Share of each curve within ``gap`` mm of ``foreign`` vessels."""
    return (_distance(curves[:, 4::3], foreign) < gap).mean(axis=1)


def _unit(vector: Complex) -> Complex:
    return vector / np.maximum(np.abs(vector), 1e-9)


def _tangents(curves: Complex) -> Complex:
    return _unit(np.gradient(curves, axis=1, edge_order=2))


def _wander(rng: np.random.Generator, curves: Complex, wavelength: float, swing: float) -> Complex:
    """Add tortuosity: lateral undulation by about ``swing`` of the wavelength. The start of each curve is kept."""
    along = np.linspace(0, 1, curves.shape[1]) * np.abs(np.diff(curves, axis=1)).sum(axis=1, keepdims=True)
    sway = np.zeros(along.shape)
    for octave, share in ((1.0, 1.0), (0.5, 0.5)):
        period = wavelength * octave * rng.uniform(0.8, 1.4, (len(curves), 1))
        phase = rng.uniform(0, 2 * np.pi, (len(curves), 1))
        depth = share * swing * period * rng.lognormal(-0.2, 0.5, (len(curves), 1))
        sway += depth * (np.sin(2 * np.pi * along / period + phase) - np.sin(phase))
    hold = 1 - np.exp(-((along / wavelength) ** 2) * 4)
    return curves + 1j * _tangents(curves) * sway * hold


def _trunks(rng: np.random.Generator, retina: Retina, openings: tuple[float, float]) -> _Paths:
    """Draw the upper and lower temporal arcade from the disc, and two nasal trunks from each."""
    root = complex(*rng.normal((0.1, 0.0), (0.12, 0.15)))
    arms = zip(
        (-1, 1), openings * rng.normal(1.0, 0.05, 2), rng.normal(0, 0.09, 2), rng.normal(0.7, 0.5, 2), strict=True
    )
    temporal = np.stack([_arcade(root, side, opening, tilt, lean, retina) for side, opening, tilt, lean in arms])
    temporal = _wander(rng, _wander(rng, _cut(temporal, retina), 4.5, 0.026), 1.6, 0.022 * retina.tortuosity)
    along = np.abs(np.diff(temporal, axis=1)).cumsum(axis=1)
    near, far = ((along < rng.uniform(*reach, (2, 1))).sum(axis=1) for reach in ((0.1, 0.6), (0.7, 1.5)))
    near = near // STRIDE * STRIDE + STRIDE
    node = np.concatenate([near, np.maximum(far // STRIDE * STRIDE + STRIDE, near + STRIDE)])
    parent = np.array([0, 1, 0, 1])
    nasal = _nasal(rng, temporal[parent, node], retina)
    demand = np.array([7.0, 7.0, 4.0, 4.0, 3.0, 3.0])
    curves = np.concatenate([temporal, nasal])
    return _Paths(curves, np.array([-1, -1, *parent]), np.array([0, 0, *node]), demand)


def _nasal(rng: np.random.Generator, start: Complex, retina: Retina) -> Complex:
    """Draw nasal trunks: steep at first, then 10 to 45 or 50 to 90 degrees from the horizontal."""
    side = np.array([-1, 1, -1, 1])
    lift = np.exp(1j * side * np.radians(np.concatenate([rng.uniform(10, 45, 2), rng.uniform(50, 90, 2)])))
    steep = lift * np.exp(1j * side * np.radians(rng.uniform(10, 30, 4)))
    reach = 2 * retina.extent + abs(retina.centre)
    curves = _cut(_hermite(start, steep, start + reach * lift, lift), retina)
    return _wander(rng, curves, 1.8, 0.026 * retina.tortuosity)


def _arcade(root: complex, side: int, opening: float, tilt: float, lean: float, retina: Retina) -> Complex:
    """One arm of a parabola with the vertex at ``root`` and the axis rotated by ``tilt``, which first swings nasally.

    Args:
        side: -1 for the upper arm, 1 for the lower.
        opening: height in mm at the column of the fovea.
        lean: initial nasal swing, in mm per unit of relative height.
    """
    axis = (retina.fovea - root) * np.exp(1j * tilt)
    height = np.linspace(0, 2.4, 4 * SAMPLES)
    bulge = lean * height * np.exp(-((height / 0.25) ** 2))
    return root + axis * height**2 - axis / abs(axis) * bulge + 1j * side * opening * np.exp(1j * tilt) * height


def _cut(curves: Complex, retina: Retina) -> Complex:
    """Cut each curve slightly outside the visible circle, and resample it to ``SAMPLES`` equidistant points."""
    inside = np.abs(curves - retina.centre) < 1.12 * retina.extent
    last = np.where(inside.all(axis=1), curves.shape[1] - 1, np.argmin(inside, axis=1))
    return np.stack([_resample(curve[: end + 1]) for curve, end in zip(curves, last, strict=True)])


def _resample(curve: Complex) -> Complex:
    along = np.concatenate([[0], np.abs(np.diff(curve)).cumsum()])
    return np.interp(np.linspace(0, along[-1], SAMPLES), along, curve)


def _hermite(start: Complex, leaving: Complex, end: Complex, arriving: Complex) -> Complex:
    """Cubic curves ``(N, SAMPLES)`` from ``start`` to ``end`` with the given directions at both ends."""
    t = np.linspace(0, 1, SAMPLES)
    pull = np.abs(end - start)
    terms = (
        (start, 2 * t**3 - 3 * t**2 + 1),
        (leaving * pull, t**3 - 2 * t**2 + t),
        (end, 3 * t**2 - 2 * t**3),
        (arriving * pull, t**3 - t**2),
    )
    return sum((point[:, None] * weight for point, weight in terms), np.zeros((len(start), SAMPLES), complex))


def _sprout(
    rng: np.random.Generator, paths: _Paths, retina: Retina, spacing: float, density: float, foreign: Complex
) -> _Paths:
    """Grow one generation of branches towards points of tissue about ``spacing`` mm apart."""
    targets = _scatter(rng, retina, spacing, density)
    targets = targets[_distance(targets, paths.curves) > 0.3 * spacing]
    targets, parent, node = _hosts(targets, paths, retina, 0.4 * spacing)
    curves = _reach(rng, targets, paths.curves[parent, node], _tangents(paths.curves)[parent, node], retina)
    clear = _clear(curves, paths.curves, retina)
    clear = clear[_overlap(curves[clear], foreign, 0.1) < 0.35]
    outside = np.abs(targets - retina.centre) > 0.97 * retina.extent
    demand = np.where(outside, max(1.0, spacing**1.3), max(0.55, spacing / 3)) * rng.uniform(0.6, 1.4, len(targets))
    return paths.joined(_Paths(curves[clear], parent[clear], node[clear], demand[clear]))


def _scatter(rng: np.random.Generator, retina: Retina, spacing: float, density: float) -> Complex:
    """Points of tissue on a jittered hexagonal lattice, away from disc and foveal avascular zone."""
    count = int(np.ceil(1.2 * retina.extent / spacing)) + 1
    row, column = np.mgrid[-count : count + 1, -count : count + 1]
    lattice = (column + 0.5 * (row % 2) + 1j * row * np.sqrt(0.75)).ravel()
    shake = rng.uniform(-0.45, 0.45, (2, lattice.size))
    points = (lattice + shake[0] + 1j * shake[1]) * spacing * np.exp(2j * np.pi * rng.random()) + retina.centre
    from_fovea = np.abs(points - retina.fovea)
    wanted = rng.random(lattice.size) < np.where(from_fovea < 2.5, 1.0, 0.8) * density
    seen = np.abs(points - retina.centre) < 1.08 * retina.extent
    return points[wanted & seen & (np.abs(points) > 1.3) & (from_fovea > 1.5 * retina.avascular)]


def _distance(points: Complex, curves: Complex) -> Floats:
    """Distance of each point to the nearest point of ``curves``; infinite if there are none."""
    tree = cKDTree(np.column_stack([curves.real.ravel(), curves.imag.ravel()]))
    return tree.query(np.stack([points.real, points.imag], axis=-1))[0]


def _run(points: Complex, retina: Retina) -> Complex:
    """Local direction of vessels: away from the disc, and in the macula towards the fovea."""
    to_fovea = retina.fovea - points
    return _unit(_unit(points) + 2.2 * np.exp(-((np.abs(to_fovea) / 2.6) ** 4)) * _unit(to_fovea))


def _hosts(targets: Complex, paths: _Paths, retina: Retina, run_weight: float) -> tuple[Complex, Ints, Ints]:
    """Choose for each target the path and point that supply it at the lowest cost, and drop targets without one.

    The cost is the distance, increased if the connection deviates from the flow or the local direction of vessels. A
    point supplies one target, and branchings of a path keep a minimum distance.
    """
    sites = np.arange(2 * STRIDE, SAMPLES - STRIDE, STRIDE)
    points, flow = paths.curves[:, sites].ravel(), _tangents(paths.curves)[:, sites].ravel()
    unseen = np.abs(points - retina.centre) > 0.93 * retina.extent
    way = targets[:, None] - points
    distance = np.abs(way)
    along_flow = (way * flow.conj()).real / np.maximum(distance, 1e-9)
    along_run = (way * _run(targets, retina).conj()[:, None]).real / np.maximum(distance, 1e-9)
    cost = distance * (1 + 0.9 * (1 - along_flow) ** 1.5 + run_weight * (1 - along_run))
    best = np.argmin(np.where(unseen, np.inf, cost), axis=1)
    parent, node = best // len(sites), sites[best % len(sites)]
    keep = _spaced(np.argsort(cost[np.arange(len(targets)), best], kind="stable"), parent, points[best], paths)
    return targets[keep], parent[keep], node[keep]


def _spaced(order: Ints, parent: Ints, points: Complex, paths: _Paths, gap: float = 0.22) -> Ints:
    """Select in the given order the branchings that are ``gap`` mm apart from all others on their path."""
    taken: dict[int, list[complex]] = {}
    for path, at in zip(paths.parent, paths.curves[:, 0], strict=True):
        taken.setdefault(int(path), []).append(complex(at))
    kept = []
    for index in order:
        others = taken.setdefault(int(parent[index]), [])
        if all(abs(points[index] - other) > gap for other in others):
            others.append(complex(points[index]))
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def _reach(rng: np.random.Generator, targets: Complex, start: Complex, flow: Complex, retina: Retina) -> Complex:
    """Curves that leave ``start`` at an angle to the ``flow`` and arrive in the local direction of vessels."""
    way = _unit(targets - start)
    turn = np.angle(way * flow.conj())
    leaving = flow * np.exp(1j * np.sign(turn) * np.minimum(np.abs(turn) + 0.4, 1.2))
    arriving = _unit(way + 0.7 * _run(targets, retina))
    return _wander(rng, _hermite(start, leaving, targets, arriving), 1.4, 0.046 * retina.tortuosity)


def _clear(curves: Complex, others: Complex, retina: Retina, gap: float = 0.13) -> Ints:
    """Indices of curves that do not touch the avascular zone, ``others`` or earlier curves."""
    probes = curves[:, SAMPLES // 5 :: 6]
    open_ground = (_distance(probes, others) > gap) & (np.abs(probes - retina.fovea) > retina.avascular)
    free = np.array(open_ground.all(axis=1))
    owner = np.repeat(np.arange(len(curves)), probes.shape[1])
    tree = cKDTree(np.column_stack([probes.real.ravel(), probes.imag.ravel()]))
    for first, second in np.unique(np.sort(owner[tree.query_pairs(gap, output_type="ndarray")], axis=1), axis=0):
        free[second] &= first == second or not free[first]
    return np.flatnonzero(free)


def _settle(paths: _Paths, caliber: float) -> VesselTree:
    """Compute radii and branching angles of the paths."""
    stretches = _stretches(paths)
    lengths = np.abs(np.diff(paths.curves, axis=1, prepend=paths.curves[:, :1])).cumsum(axis=1)
    length = lengths[stretches.path, stretches.last] - lengths[stretches.path, stretches.first]
    demand = np.where(stretches.last == SAMPLES - 1, paths.demand[stretches.path], 0.0)
    flow = _flows(stretches.parent, length, demand)
    radii = caliber * np.cbrt(flow / flow[stretches.parent < 0, 0].sum())
    turn = _turns(paths, stretches, radii)
    return VesselTree(_bend(paths.curves, stretches, length, turn), radii, stretches.parent, turn)


def _stretches(paths: _Paths) -> _Stretches:
    """Divide the paths into segments at their branchings."""
    stops = [np.unique([0, *paths.node[paths.parent == index], SAMPLES - 1]) for index in range(len(paths.curves))]
    path = np.repeat(np.arange(len(stops)), [len(stop) - 1 for stop in stops])
    first, last = np.concatenate([stop[:-1] for stop in stops]), np.concatenate([stop[1:] for stop in stops])
    ending = {place: index for index, place in enumerate(zip(path.tolist(), last.tolist(), strict=True))}
    home, start = np.where(first > 0, path, paths.parent[path]), np.where(first > 0, first, paths.node[path])
    parent = np.array([ending.get(place, -1) for place in zip(home.tolist(), start.tolist(), strict=True)])
    pairs, sibling = _pairs(parent), np.full(len(path), -1)
    sibling[pairs] = pairs[:, ::-1]
    return _Stretches(path, first, last, parent, sibling)


def _flows(parent: Ints, length: Floats, demand: Floats) -> Floats:
    """Flow ``(S, SEGMENT_SAMPLES)`` along each segment: the demand of its daughters or its end, plus losses."""
    end = demand.copy()
    for index in range(len(parent) - 1, -1, -1):
        if parent[index] >= 0:
            end[parent[index]] += end[index] + LOSS * length[index]
    return end[:, None] + LOSS * length[:, None] * np.linspace(1, 0, SEGMENT_SAMPLES)


def _turns(paths: _Paths, stretches: _Stretches, radii: Floats) -> Floats:
    """Angle of each segment to its parent by Murray's law, towards the side of the branch."""
    heading = _tangents(paths.curves)
    begins = stretches.first == 0  # of two daughters, the branch starts a path and the other continues the path
    branch = stretches.path[np.where(begins, np.arange(len(begins)), stretches.sibling)]
    before = heading[paths.parent[branch], paths.node[branch]]
    side = np.sign(np.angle(heading[branch, SAMPLES // 12] * before.conj()))
    angle, _ = branching_angles(radii[stretches.parent, -1], radii[:, 0], radii[stretches.sibling, 0])
    return np.where(stretches.parent < 0, 0.0, angle * np.where(begins, side, -side))


def _bend(curves: Complex, stretches: _Stretches, length: Floats, turn: Floats) -> Complex:
    """Points of the segments, each bent near its start to the required direction."""
    path, first, last, parent = stretches.path, stretches.first, stretches.last, stretches.parent
    t = np.linspace(0, 1, SEGMENT_SAMPLES)
    at = first[:, None] + (last - first)[:, None] * t
    low = np.minimum(at.astype(np.int64), SAMPLES - 2)
    here = path[:, None]
    points = curves[here, low] + (curves[here, low + 1] - curves[here, low]) * (at - low)
    heading = _tangents(curves)
    before = np.where(parent < 0, heading[path, first], heading[path[parent], last[parent]])
    change = before * np.exp(1j * turn) - heading[path, first]
    return points + (length * change)[:, None] * (t * (1 - t) ** 2)
