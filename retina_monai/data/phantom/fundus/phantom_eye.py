"""The anatomy of a phantom eye: positions of disc, cup, fovea and vessels, and the field of view.

Mean sizes in mm of retina are those of adult eyes: the disc is 1.75 wide and 1.85 high, and its centre is 4.7 from the
fovea and 0.4 above it. Diameters are 0.5 to 0.7 for the avascular zone, 0.2 for the central vein and 0.15 for the
central artery. A degree of visual angle is 0.29.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.phantom.fundus.camera import ANY_CAMERA, Camera
from retina_monai.data.phantom.fundus.vessel_tree import Retina, VesselTree, grow_tree
from retina_monai.errors import RetinaError

__all__ = ["MM_PER_DEGREE", "Eye", "Generator", "draw_eye", "generator"]

Generator = np.random.Generator

MM_PER_DEGREE = 0.29
REACH = 7.9  # radius in mm of the retina that is grown for all named cameras


@dataclass(frozen=True)
class Eye:
    """An eye, described as a right eye. A left eye is its mirror image.

    Lengths are in mm, and points are ``column + 1j * row`` relative to the disc centre.

    Attributes:
        laterality: 'L' or 'R'.
        view: centre of the photograph.
        extent: radius of the field of view.
        margin: radius of the field of view as a fraction of half the image side.
        clip: fraction of the radius at which the field is clipped at the top and bottom; 1 for no clipping.
        fovea: centre of the fovea.
        disc: horizontal and vertical half axes of the disc.
        cup: half axes of the cup.
        cup_centre: centre of the cup.
        arteries: tree of arteries.
        veins: tree of veins.
        turn: rotation of disc and cup in radians, the torsion of a tilted disc.
    """

    laterality: str
    view: complex
    extent: float
    margin: float
    clip: float
    fovea: complex
    disc: tuple[float, float]
    cup: tuple[float, float]
    cup_centre: complex
    arteries: VesselTree
    veins: VesselTree
    turn: float = 0.0

    def sees(self, points: NDArray[np.complex128], margin: float) -> NDArray[np.bool_]:
        """Whether points are in the field of view, at least ``margin`` mm from its edge."""
        away = points - self.view
        return (np.abs(away) <= self.extent - margin) & (np.abs(away.imag) <= self.clip * self.extent - margin)


def generator(seed: int, *part: int) -> Generator:
    """The PCG64 generator of one part of a phantom. Separate generators make the parts independent.

    Raises:
        RetinaError: if ``seed`` is negative.
    """
    if seed < 0:
        raise RetinaError(f"seed must be an integer >= 0, got {seed}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, *part))))


def draw_eye(seed: int, camera: Camera = ANY_CAMERA) -> Eye:
    """Draw the anatomy of an eye.

    For a random camera, vessels are grown in its field of view. All named cameras see the same eye, whose vessels are
    grown in a fixed larger area.

    Raises:
        RetinaError: if ``seed`` is negative.
    """
    rng = generator(seed, 0)
    fovea = complex(-rng.normal(4.7, 0.2), rng.normal(0.4, 0.2))
    view, extent = _aim(rng, fovea)
    clip = rng.uniform(max(0.7, (abs(view.imag) + 1.3) / extent), 0.92) if rng.random() < 0.35 else 1.0
    disc = 0.87 * rng.normal(1, 0.06), 0.93 * rng.normal(1, 0.06)
    ratio = float(np.clip(rng.normal(0.45, 0.12), 0.2, 0.75))
    cup = disc[0] * ratio, disc[1] * ratio
    slack = 0.9 * (1 - ratio)
    cup_centre = slack * complex(-disc[0] * rng.uniform(0.0, 0.6), disc[1] * rng.uniform(-0.3, 0.3))
    avascular, tortuosity = rng.uniform(0.25, 0.35), rng.lognormal(0, 0.35)
    grown = (view, extent) if camera.field.degrees is None else (0.72 * fovea, REACH)
    laterality, margin = "LR"[int(rng.integers(2))], rng.uniform(0.95, 1.0)
    arteries, veins = _vessels(rng, Retina(fovea, avascular, *grown, tortuosity))
    eye = Eye(
        laterality=laterality,
        view=view,
        extent=extent,
        margin=margin,
        clip=clip,
        fovea=fovea,
        disc=disc,
        cup=cup,
        cup_centre=cup_centre,
        arteries=arteries,
        veins=veins,
    )
    return eye if camera.field.degrees is None else _aimed(eye, camera, camera.field.degrees / 2 * MM_PER_DEGREE, seed)


def _aimed(eye: Eye, camera: Camera, extent: float, seed: int) -> Eye:
    """Set the field of view of a named camera, whose centre varies between eyes as with manual aiming."""
    rng = generator(seed, 4)
    sway, height = rng.uniform(0, 1), rng.normal(0, 0.15)
    if camera.field.at_disc:
        view = complex(-0.5 - 0.6 * sway, height)
    else:
        view = min(0.7 + 0.2 * sway, (extent - 1.6) / 4.9) * eye.fovea + 1j * height
    return replace(eye, view=view, extent=extent, clip=camera.field.clip, margin=0.98)


def _aim(rng: Generator, fovea: complex) -> tuple[complex, float]:
    """Centre and radius of a random field of view: disc-centred, 30 to 37 degrees, or macular, 40 to 54 degrees."""
    if rng.random() < 0.35:
        return complex(-rng.uniform(0.3, 1.3), rng.uniform(-0.6, 0.6)), rng.uniform(4.3, 5.4)
    towards = rng.uniform(0.6, 1.0)
    return towards * fovea + 1j * rng.normal(0, 0.3), max(rng.uniform(5.8, 7.8), 4.9 * towards + 1.6)


def _vessels(rng: Generator, retina: Retina) -> tuple[VesselTree, VesselTree]:
    """Grow arteries, and wider veins that may cross but not follow them (arteriovenous ratio 0.7 to 0.82)."""
    openings = (rng.uniform(2.8, 4.3), rng.uniform(2.8, 4.3))
    caliber, density = rng.uniform(0.098, 0.124), rng.uniform(0.08, 0.5)
    arteries = grow_tree(rng, retina, caliber * rng.uniform(0.7, 0.82), openings, density)
    return arteries, grow_tree(rng, retina, caliber, openings, density, beside=arteries)
