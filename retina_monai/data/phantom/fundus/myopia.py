"""High myopia of a phantom eye: tilted disc, peripapillary atrophy and tessellated fundus.

The disc is tilted: its ovality index (shorter by longer diameter) is below 0.75, and its long axis is rotated (How et
al., "Population prevalence of tilted and torted optic discs among an adult Chinese population in Singapore", Arch
Ophthalmol 2009). Beside it, mostly temporally, the pigment epithelium is missing (zone beta), which exposes sclera and
large choroidal vessels, with pigment along the border. The atrophy ranges from a crescent to a ring. Elsewhere, the
choroid is visible as a net through thin pigment, least in the macula (tessellation; Ohno-Matsui et al., "International
photographic classification and grading system for myopic maculopathy", Am J Ophthalmol 2015).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from retina_monai.data.phantom.fundus.canvas import Canvas, Map, bump, colour, inside, weigh
from retina_monai.data.phantom.fundus.phantom_eye import Eye, Generator, generator

__all__ = ["Myopia", "draw_myopia", "paint_atrophy", "reach_of_atrophy", "tessellate"]


@dataclass(frozen=True)
class Myopia:
    """Signs of myopia in one eye.

    Attributes:
        seed: seed of the eye.
        degree: degree of myopia in [0, 1].
        centre: centre of the ellipse around the atrophy, relative to the disc centre in mm.
        axes: half axes of the ellipse in mm. It is rotated like the disc.
        tessellation: optical density of the choroidal net.
    """

    seed: int
    degree: float
    centre: complex
    axes: tuple[float, float]
    tessellation: float


def draw_myopia(seed: int, eye: Eye, degree: float) -> tuple[Eye, Myopia]:
    """Tilt the disc of an eye and draw the other signs. Vessels and field of view are not changed."""
    rng = generator(seed, 2)
    eye = _tilted(rng, eye, degree)
    wide, high = eye.disc
    temporal, nasal = degree * rng.uniform(0.55, 1.9), degree * max(rng.uniform(-0.5, 0.45), 0.0)
    half = wide + (temporal + nasal) / 2
    upright = max(high * (1 + degree * rng.uniform(0.02, 0.25)), 0.8 * half)
    centre = -np.exp(1j * eye.turn) * (temporal - nasal) / 2
    return eye, Myopia(seed, degree, complex(centre), (half, upright), degree * rng.uniform(0.35, 0.6))


def _tilted(rng: Generator, eye: Eye, degree: float) -> Eye:
    """Narrow and rotate disc and cup. At degree 1, the ovality index is between 0.56 and 0.72."""
    longer = max(eye.disc) * (1 + 0.08 * degree)
    healthy = min(eye.disc) / max(eye.disc)
    disc = longer * (healthy + degree * (rng.uniform(0.56, 0.72) - healthy)), longer
    turn = float(np.radians(degree * rng.uniform(5, 30)) * np.where(rng.random() < 0.7, 1, -1))
    stretch = disc[0] / eye.disc[0], disc[1] / eye.disc[1]
    cup = eye.cup[0] * stretch[0], eye.cup[1] * stretch[1]
    centre = complex(eye.cup_centre.real * stretch[0], eye.cup_centre.imag * stretch[1]) * np.exp(1j * turn)
    return replace(eye, disc=disc, cup=cup, cup_centre=complex(centre), turn=turn)


def reach_of_atrophy(canvas: Canvas, myopia: Myopia) -> Map:
    """Relative distance of each pixel from the centre of the atrophy, 1 on its ragged edge. The disc is inside."""
    texture = generator(myopia.seed, 2, 1)
    ragged = 0.06 * canvas.noise(texture, 11) + 0.04 * canvas.noise(texture, 29)
    return canvas.ellipse(myopia.centre, myopia.axes, canvas.eye.turn) + ragged


def paint_atrophy(canvas: Canvas, myopia: Myopia, light: Map, base: Map, lit: Map) -> Map:
    """Paint bare sclera with large choroidal vessels, and clumps of pigment along the border.

    Args:
        canvas: pixel grid.
        myopia: signs of myopia.
        light: fundus ``(3, S, S)``.
        base: colour of the fundus under full illumination, ``(3, 1, 1)``.
        lit: fraction of the full illumination at each pixel, ``(3, S, S)``.
    """
    looks, texture = generator(myopia.seed, 2, 2), generator(myopia.seed, 2, 3)
    out = reach_of_atrophy(canvas, myopia)
    pale, glow = looks.uniform(0, 1), looks.uniform(0.75, 1.0)
    _, green, blue = base.ravel().tolist()
    sclera = glow * colour(280 - 20 * pale, (0.7 + 0.05 * pale) * 275 + 0.15 * green, 1.7 * blue + 15 + 35 * pale)
    vessels = bump(canvas.noise(texture, round(canvas.eye.extent / 0.18)), 0.35)
    patches = np.clip(0.9 + 0.4 * canvas.noise(texture, 13), 0.1, 1.3)
    bare = sclera * lit * np.exp(-weigh(looks.uniform(0.5, 0.9) * patches * vessels, (0.15, 0.6, 0.9)))
    light = light + inside(out, 0.07) * looks.uniform(0.75, 0.95) * (bare - light)
    clumps = np.clip(canvas.noise(texture, 13) + 0.8 * canvas.noise(texture, 47), 0, 1.6)
    specks = 0.4 * np.clip(canvas.noise(texture, 89) + 0.7 * canvas.noise(texture, 31) - 1.4, 0, 1) * inside(out, 0.1)
    border = looks.uniform(0.25, 0.6) * clumps * bump(out - 1, looks.uniform(0.05, 0.1))
    return light * np.exp(-weigh((specks + border).astype(np.float32), (0.7, 1.0, 1.0)))


def tessellate(canvas: Canvas, myopia: Myopia) -> Map:
    """Optical density ``(3, S, S)`` of the choroidal net: orange vessels on darker ground, least in the macula."""
    texture = generator(myopia.seed, 2, 4)
    far = np.minimum(canvas.distance(canvas.eye.fovea / 2) - 1.5, canvas.distance(canvas.eye.fovea) - 0.5)
    faint = 0.25 * np.clip(canvas.distance(canvas.eye.fovea / 2) / 1.5 - 0.4, 0, 1)  # vessels are too fine at the pole
    shown = (faint + 0.75 * np.clip(far / 2.5, 0, 1)) * np.clip(0.8 + 0.3 * canvas.noise(texture, 6), 0.3, 1.3)
    net = np.maximum(canvas.cords(texture, 0.08, 96, 11, 0.25), 0.8 * canvas.cords(texture, -0.08, 126, 15, 0.25))
    return weigh(myopia.tessellation * shown * (net - 0.6), (0.5, 1.0, 0.7))
