"""Diabetic retinopathy of a phantom eye: positions and sizes of lesions in mm of retina.

Grades are those of the International Clinical Diabetic Retinopathy severity scale (Wilkinson et al., Ophthalmology
2003; 110:1677): 0 none; 1 microaneurysms only; 2 more than that, but less than severe; 3 more than 20 haemorrhages in
each of four quadrants (the only criterion of the "4-2-1 rule" that is drawn); 4 new vessels, with or without preretinal
haemorrhage. Quadrants are those of the field of view, since one photograph does not show those of the whole retina.

Sizes are those of the ETDRS (report 10, Ophthalmology 1991; 98:786): microaneurysms have a diameter below 125 um, and
soft exudates about a quarter to half of the disc's diameter. Numbers and sizes of hard exudates are those in the
photographs of IDRiD (Porwal et al., Data 2018; 3(3):25).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from retina_monai.data.phantom.fundus.myopia import Myopia
from retina_monai.data.phantom.fundus.phantom_eye import Eye, Generator, generator
from retina_monai.data.phantom.fundus.spots import Spots, draw_spots
from retina_monai.data.phantom.fundus.vessel_tree import VesselTree

__all__ = ["Boat", "Lesions", "draw_lesions"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Propose = Callable[[int], Complex]

AVASCULAR = 0.36  # minimum distance of haemorrhages from the fovea in mm
SEVERE = 21  # minimum number of haemorrhages per quadrant in grade 3
ANEURYSMS = ((0, 1), (3, 15), (12, 45), (25, 70), (15, 60))  # half-open range of microaneurysms by grade
STREAKS = 7  # streaks per flame haemorrhage


@dataclass(frozen=True)
class Boat:
    """A boat-shaped preretinal haemorrhage: blood with a horizontal level and a round lower border.

    Attributes:
        centre: centre of the level in mm.
        length: half of the length in mm.
        depth: depth in mm.
    """

    centre: complex
    length: float
    depth: float


@dataclass(frozen=True)
class Lesions:
    """All lesions of one eye.

    Attributes:
        seed: seed of the eye.
        microaneurysms: one spot each.
        blots: blot haemorrhages, one spot each.
        flames: streaks of the flame haemorrhages.
        bleedings: centres of all blot and flame haemorrhages in mm.
        hard_exudates: spots in clusters.
        soft_exudates: one or two spots each.
        new_vessels: all tufts of new vessels.
        boats: preretinal haemorrhages, at most one.
    """

    seed: int
    microaneurysms: Spots
    blots: Spots
    flames: Spots
    bleedings: Complex
    hard_exudates: Spots
    soft_exudates: Spots
    new_vessels: VesselTree | None
    boats: tuple[Boat, ...]


@dataclass
class _Ground:
    """Free area for lesions: inside the field of view, away from disc, atrophy, fovea, vessels and other lesions."""

    eye: Eye
    myopia: Myopia | None
    vessels: cKDTree
    at: Complex
    radius: Floats

    def free(self, points: Complex, radii: Floats, margin: float, vessels: float, fovea: float) -> NDArray[np.bool_]:
        """Whether spots keep the distances ``margin`` to the edge of the field, ``vessels`` and ``fovea``."""
        eye = self.eye
        open_ground = eye.sees(points, margin) & (np.abs(points - eye.fovea) > fovea + radii)
        open_ground &= _outside(points, 0j, eye.disc, eye.turn, radii + 0.1)
        if self.myopia is not None:
            open_ground &= _outside(points, self.myopia.centre, self.myopia.axes, eye.turn, radii + 0.25)
        if vessels:
            near = self.vessels.query(np.column_stack([points.real, points.imag]))[0]
            open_ground &= near > vessels + radii
        return open_ground

    def place(
        self,
        propose: Propose,
        radii: Floats,
        margin: float = 0.3,
        vessels: float = 0.0,
        fovea: float = AVASCULAR,
        gap: float = 0.08,
    ) -> Complex:
        """Place a spot for each of ``radii``, ``gap`` apart from others. Distances shrink if there is no room."""
        placed = np.zeros(len(radii), np.complex128)
        for index, radius in enumerate(radii):
            while True:
                points = propose(16)
                free = self.free(points, np.full(16, radius), margin, vessels, fovea)
                clear = np.abs(points[:, None] - self.at) > gap + radius + self.radius
                good = np.flatnonzero(free & clear.all(axis=1))
                if len(good):
                    break
                gap, vessels, margin = gap - 0.004, max(vessels - 0.004, 0.0), max(margin - 0.004, 0.06)
            placed[index] = points[good[0]]
            self.at, self.radius = np.append(self.at, placed[index]), np.append(self.radius, radius)
        return placed


def _outside(
    points: Complex, centre: complex, axes: tuple[float, float], turn: float, margin: Floats
) -> NDArray[np.bool_]:
    """Whether points are outside an ellipse by at least ``margin``."""
    away = (points - centre) * np.exp(-1j * turn)
    return np.hypot(away.real / (axes[0] + margin), away.imag / (axes[1] + margin)) > 1


def draw_lesions(seed: int, eye: Eye, myopia: Myopia | None, grade: int) -> Lesions:
    """Draw the lesions of an eye. Nothing else of the eye depends on its grade."""
    rng = generator(seed, 3, grade)
    ground = _Ground(eye, myopia, _vessel_points(eye), np.zeros(0, np.complex128), np.zeros(0))
    tufts, boats = (_new_vessels(rng, eye), _boats(rng, ground)) if grade == 4 else (None, ())
    soft = _soft_exudates(rng, ground, _soft_count(rng, grade))
    blots, flames, bleedings = _haemorrhages(rng, ground, _bleeding_counts(rng, grade))
    hard = _hard_exudates(rng, ground, grade)
    aneurysms = _microaneurysms(rng, ground, int(rng.integers(*ANEURYSMS[grade])))
    return Lesions(seed, aneurysms, blots, flames, bleedings, hard, soft, tufts, boats)


def _vessel_points(eye: Eye) -> cKDTree:
    points = np.concatenate([tree.points[tree.radii[:, 0] > 0.015].ravel() for tree in (eye.arteries, eye.veins)])
    return cKDTree(np.column_stack([points.real, points.imag]))


def _anywhere(rng: Generator, eye: Eye) -> Propose:
    def propose(count: int) -> Complex:
        away = eye.extent * np.sqrt(rng.random(count))
        return np.asarray(eye.view + away * np.exp(2j * np.pi * rng.random(count)), np.complex128)

    return propose


def _about(rng: Generator, centre: complex, spread: float, away: float = 0.0) -> Propose:
    """Points around ``centre`` at distance ``away`` with standard deviation ``spread``, in mm."""

    def propose(count: int) -> Complex:
        if not away:
            return np.asarray(centre + spread * (rng.standard_normal(count) + 1j * rng.standard_normal(count)))
        return np.asarray(centre + rng.normal(away, spread, count) * np.exp(2j * np.pi * rng.random(count)))

    return propose


def _fibre(points: Complex) -> Complex:
    """Direction of the nerve fibres: along parabolas with the vertex at the disc, and nasally along rays."""
    course = np.where(points.real < 0, 2 * points.real + 1j * points.imag, points)
    return np.asarray(course / np.maximum(np.abs(course), 1e-9), np.complex128)


# --- microaneurysms and haemorrhages


def _microaneurysms(rng: Generator, ground: _Ground, count: int) -> Spots:
    """Draw round dots at the posterior pole, most of them temporal to the fovea."""
    radii = np.clip(rng.lognormal(np.log(0.034), 0.3, count), 0.016, 0.058)
    macula = _about(rng, 1.15 * ground.eye.fovea, 2.2)
    at = ground.place(_mixed(rng, macula, _anywhere(rng, ground.eye), 0.7), radii, vessels=0.04, fovea=0.3)
    return draw_spots(rng, at, radii, radii * rng.uniform(0.85, 1, count), rough=0.03)


def _mixed(rng: Generator, often: Propose, seldom: Propose, share: float) -> Propose:
    def propose(count: int) -> Complex:
        chosen = rng.random(count) < share
        return np.asarray(np.where(chosen, often(count), seldom(count)), np.complex128)

    return propose


def _bleeding_counts(rng: Generator, grade: int) -> list[int]:
    """Number of haemorrhages in each quadrant, 21 or more in all four for grade 3."""
    severe = grade == 3 or (grade == 4 and rng.random() < 0.4)
    if severe:
        return [int(rng.integers(SEVERE, SEVERE + 10)) for _ in range(4)]
    if grade < 2:
        return [0] * 4
    total = 4 + min(int(rng.lognormal(np.log(12), 0.7)), 44)
    return [min(int(count), SEVERE - 2) for count in rng.multinomial(total, rng.dirichlet([2.0] * 4))]


def _haemorrhages(rng: Generator, ground: _Ground, counts: list[int]) -> tuple[Spots, Spots, Complex]:
    """Draw blot and flame haemorrhages in each quadrant, and return them with their centres."""
    blots, flames = _no_spots(rng), _no_spots(rng)
    eye, middles = ground.eye, [np.zeros(0, np.complex128)]
    for index, count in enumerate(counts):
        fiery = int(rng.binomial(count, 0.2))
        within = _quadrant(_anywhere(rng, eye), eye, index)
        length = rng.uniform(0.1, 0.26, fiery)
        at = ground.place(within, length, gap=0.1)
        flames = flames.joined(_streaks(rng, at, length))
        along = np.clip(rng.lognormal(np.log(0.064), 0.45, count - fiery), 0.035, 0.24)
        dots = ground.place(within, along, vessels=0.01, gap=0.1)
        across = along * rng.uniform(0.6, 1, len(along))
        blots = blots.joined(draw_spots(rng, dots, along, across, rough=0.13))
        middles += [at, dots]
    return blots, flames, np.concatenate(middles)


def _no_spots(rng: Generator) -> Spots:
    return draw_spots(rng, np.zeros(0, np.complex128), np.zeros(0), np.zeros(0))


def _quadrant(propose: Propose, eye: Eye, index: int) -> Propose:
    """Reflect proposed points into one quadrant of the field of view. Quadrants are numbered row by row."""

    def folded(count: int) -> Complex:
        away = propose(count) - eye.view
        across, down = (1 if index % 2 else -1), (1 if index // 2 else -1)
        return eye.view + across * (np.abs(away.real) + 1e-6) + 1j * down * (np.abs(away.imag) + 1e-6)

    return folded


def _streaks(rng: Generator, at: Complex, length: Floats) -> Spots:
    """Draw flame haemorrhages as bundles of parallel streaks along the nerve fibres with frayed ends."""
    course = np.repeat(_fibre(at), STREAKS)
    half = np.repeat(length, STREAKS)
    middle = np.tile(np.arange(STREAKS) == 0, len(at))
    sideways = np.where(middle, 0, rng.uniform(-0.22, 0.22, len(half)) * half)
    forwards = np.where(middle, 0, rng.uniform(-0.4, 0.4, len(half)) * half)
    along = half * np.where(middle, 0.9, rng.uniform(0.35, 0.6, len(half)))
    places = np.repeat(at, STREAKS) + course * (forwards + 1j * sideways)
    return draw_spots(rng, places, along, along * rng.uniform(0.16, 0.26, len(half)), course, rough=0.08)


# --- exudates


def _soft_count(rng: Generator, grade: int) -> int:
    if grade < 2 or rng.random() < (0.55 if grade == 2 else 0.2):
        return 0
    return int(rng.integers(1, 3 if grade == 2 else 6))


def _soft_exudates(rng: Generator, ground: _Ground, count: int) -> Spots:
    """Draw soft exudates around the disc and along the arcades, half of them with a second lobe."""
    radii = rng.uniform(0.22, 0.36, count)
    at = ground.place(_about(rng, 0j, 0.8, 2.6), radii, margin=0.6, fovea=1.2)
    course = _fibre(at)
    first = draw_spots(rng, at, radii, radii * rng.uniform(0.5, 0.8, count), course, rough=0.1)
    twin = np.flatnonzero(rng.random(count) < 0.5)
    beside = at[twin] + 0.4j * course[twin] * radii[twin]
    return first.joined(draw_spots(rng, beside, 0.6 * radii[twin], 0.42 * radii[twin], course[twin], rough=0.1))


def _hard_exudates(rng: Generator, ground: _Ground, grade: int) -> Spots:
    """Draw hard exudates around leaking vessels, in rings, clumps and scattered dots."""
    spots = _no_spots(rng)
    if grade < 2 or rng.random() < 0.12:
        return spots
    for _ in range(int(rng.integers(1, 4 if grade == 2 else 6))):
        centre = ground.eye.fovea + rng.uniform(0.9, 3.0) * np.exp(2j * np.pi * rng.random())
        if abs(centre) > 1.7 and ground.eye.sees(np.array([centre]), 0.8).all():
            spots = spots.joined(_cluster(rng, ground, centre, 0.3 if grade == 2 else 0.1))
    return spots


def _cluster(rng: Generator, ground: _Ground, centre: complex, fovea: float) -> Spots:
    """Draw the exudates of one leak: clumps of a few spots along an arc, surrounded by small dots."""
    radius, begin, part = rng.uniform(0.35, 0.9), rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.0)
    heaps = int(rng.integers(5, 16))
    angle = begin + 2 * np.pi * part * rng.random(heaps)
    middle = centre + radius * rng.normal(1, 0.2, heaps) * np.exp(1j * angle)
    owner = np.repeat(np.arange(heaps), rng.geometric(0.25, heaps))
    spread = 0.02 + 0.09 * rng.random(heaps)[owner]
    at = middle[owner] + spread * (rng.standard_normal(len(owner)) + 1j * rng.standard_normal(len(owner)))
    dust = int(rng.integers(8, 30))
    at = np.append(at, _about(rng, centre, 0.35 * radius, radius)(dust))
    along = np.clip(rng.lognormal(np.log(0.034), 0.45, len(owner)), 0.014, 0.15)
    along = np.append(along, np.clip(rng.lognormal(np.log(0.02), 0.3, dust), 0.012, 0.05))
    along[: min(2, len(owner))] *= rng.choice([1.0, 1.6, 3.0], p=[0.6, 0.25, 0.15])
    keep = ground.free(at, along, 0.15, 0.0, fovea)
    clear = np.abs(at[:, None] - ground.at) > along[:, None] + ground.radius
    keep &= clear.all(axis=1)
    return draw_spots(rng, at[keep], along[keep], along[keep] * rng.uniform(0.55, 1, keep.sum()), rough=0.16)


# --- proliferation


def _new_vessels(rng: Generator, eye: Eye) -> VesselTree:
    """Draw tufts of new vessels at the disc, elsewhere on a vein, or both."""
    at_disc = rng.random() < 0.5
    tufts = [_tuft(rng, _edge_of_disc(rng, eye), 0.8)] if at_disc else []
    for _ in range(int(rng.integers(0 if at_disc else 1, 3))):
        tufts.append(_tuft(rng, _on_a_vein(rng, eye), 0.65))
    points = np.concatenate(tufts)
    radii = rng.uniform(0.008, 0.017, len(points))[:, None] * np.linspace(1, 0.7, points.shape[1])
    return VesselTree(points, radii, np.full(len(points), -1), np.zeros(len(points)))


def _edge_of_disc(rng: Generator, eye: Eye) -> complex:
    angle = rng.uniform(0, 2 * np.pi)
    return complex(eye.disc[0] * np.cos(angle), eye.disc[1] * np.sin(angle)) * complex(np.exp(1j * eye.turn)) * 0.7


def _on_a_vein(rng: Generator, eye: Eye) -> complex:
    """A point on a larger vein inside the field of view, away from disc and macula."""
    points = eye.veins.points[eye.veins.radii[:, 0] > 0.03].ravel()
    good = eye.sees(points, 1.2) & (np.abs(points) > 2.0) & (np.abs(points - eye.fovea) > 1.8)
    return complex(rng.choice(points[good] if good.any() else points[eye.sees(points, 0.3)]))


def _tuft(rng: Generator, root: complex, length: float) -> Complex:
    """Curves ``(V, 33)`` of a tuft: a fan of looping stems, with branches that curve more."""
    stems = int(rng.integers(5, 9))
    towards = rng.uniform(0, 2 * np.pi)
    fan = towards + np.linspace(-1.3, 1.3, stems) + rng.normal(0, 0.15, stems)
    curves = _curls(rng, np.full(stems, root), fan, length * rng.uniform(0.7, 1.3, stems), 1.6)
    for share, bend in ((0.6, 2.6), (0.4, 3.4)):
        host = rng.integers(0, len(curves), 2 * stems)
        node = rng.integers(6, 30, 2 * stems)
        heading = np.angle(curves[host, node + 1] - curves[host, node - 1]) + rng.choice([-0.8, 0.8], 2 * stems)
        branches = _curls(rng, curves[host, node], heading, share * length * rng.uniform(0.5, 1.2, 2 * stems), bend)
        curves = np.concatenate([curves, branches])
    return curves


def _curls(rng: Generator, start: Complex, heading: Floats, length: Floats, bend: float) -> Complex:
    """Curves of 33 points that turn by about ``bend`` radians to one side, with random undulation."""
    t = np.linspace(0, 1, 33)
    turn = rng.normal(0, bend, (len(start), 1)) * t**2
    sway = rng.normal(0, 0.5, (len(start), 2, 1)) * np.sin(
        np.pi * t * rng.uniform(2, 6, (len(start), 2, 1)) + rng.uniform(0, 2 * np.pi, (len(start), 2, 1))
    )
    angle = heading[:, None] + turn + sway.sum(axis=1) - sway.sum(axis=1)[:, :1]
    step = np.exp(1j * angle) * (length / 32)[:, None]
    return start[:, None] + np.concatenate([np.zeros((len(start), 1)), step[:, 1:].cumsum(axis=1)], axis=1)


def _boats(rng: Generator, ground: _Ground) -> tuple[Boat, ...]:
    """Draw one preretinal haemorrhage in two of five eyes, in the lower half, if there is room."""
    if rng.random() > 0.4:
        return ()
    length = rng.uniform(0.8, 1.9)
    depth = length * rng.uniform(0.3, 0.6)
    away = _anywhere(rng, ground.eye)(64) - ground.eye.view
    points = ground.eye.view + away.real + 1j * np.abs(away.imag)
    points = points[ground.free(points, np.full(64, 0.8 * length), 0.7 * length, 0.0, 0.3)]
    if not len(points):
        return ()
    ground.at, ground.radius = np.append(ground.at, points[0]), np.append(ground.radius, 0.6 * length)
    return (Boat(complex(points[0]), length, depth),)
