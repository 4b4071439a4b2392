"""How a phantom eye looks in a photograph.

Light that comes back to the camera has crossed the retina: what absorbs it (choroid, macular pigment, blood) and what
scatters it (nerve fibres) add up as a density with its own weight per colour, the disc hides the choroid. Then the
camera: uneven light, haze at the rim, a blur, saturation, grain. The ranges of colours and vessel contrasts are those
measured on CHASE_DB1, HRF and FIVES: a wide vein takes 30 to 45 % of the green light and a tenth of the red.

All maps are float32 (S, S), or (3, S, S) with one map per colour. ``looks`` draws what differs from eye to eye,
``texture`` the smooth noise of one eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.data.phantom_eye import Eye

__all__ = ["Canvas", "photograph"]

Map = NDArray[np.float32]
Colour = tuple[float, float, float]
Generator = np.random.Generator


@dataclass(frozen=True)
class Canvas:
    """The pixels of a picture of ``eye``, as a right one.

    Attributes:
        eye: what is painted.
        x: (S, S) mm to the right of the disc's centre.
        y: (S, S) mm below it.
        scale: pixels per mm.
        arteries: distance to the edge of the nearest artery and its radius, both (S, S), in pixels (`rasterise`).
        veins: the same for veins.
    """

    eye: Eye
    x: Map
    y: Map
    scale: float
    arteries: tuple[Map, Map]
    veins: tuple[Map, Map]

    def distance(self, point: complex) -> Map:
        """Distance of each pixel from ``point``, mm."""
        return self.ellipse(point, (1.0, 1.0))

    def ellipse(self, centre: complex, axes: tuple[float, float]) -> Map:
        """How far each pixel lies from ``centre`` in units of the half axes: 1 on the ellipse."""
        return np.hypot((self.x - centre.real) / axes[0], (self.y - centre.imag) / axes[1])

    def noise(self, rng: Generator, cells: int) -> Map:
        """Smooth noise of unit variance, about ``cells`` blots across: the same picture at every size.

        A cubic B-spline over random numbers; nothing where the blots are finer than the pixels.
        """
        knots = rng.standard_normal((cells + 3, cells + 3), np.float32)
        size = len(self.x)
        if cells > size:
            return np.zeros((size, size), np.float32)
        return np.ascontiguousarray(_spline(np.ascontiguousarray(_spline(knots, size).T), size).T)


def _spline(knots: Map, size: int) -> Map:
    """(K, N) to (size, N): a uniform cubic B-spline along the rows, scaled to keep the variance of white noise."""
    cells = len(knots) - 3
    at = (np.arange(size) + 0.5) / size * cells
    low = np.minimum(at.astype(np.int64), cells - 1)
    t = at - low
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    parts = [(tap / 4.15).astype(np.float32)[:, None] * knots[low + k] for k, tap in enumerate(taps)]
    return parts[0] + parts[1] + parts[2] + parts[3]


def photograph(seed: np.random.SeedSequence, canvas: Canvas) -> NDArray[np.uint8]:
    """Paint the eye of ``canvas``; (3, S, S) in RGB. What lies outside of the field of view is painted too."""
    looks, texture, film = (np.random.Generator(np.random.PCG64(child)) for child in seed.spawn(3))
    base = _background(looks)
    density = _illumination(canvas, looks, texture) + _choroid(canvas, looks, texture) + _macula(canvas, looks)
    light = base * np.exp(density + _fibres(canvas, looks, texture))
    light = _disc(canvas, looks, texture, light, base)
    light = _haze(canvas, looks, light * np.exp(-_blood(canvas, looks)))
    return _develop(light, looks, film)


def _colour(red: float, green: float, blue: float) -> Map:
    return np.array([red, green, blue], np.float32)[:, None, None]


def _weigh(shade: Map, colour: Colour) -> Map:
    """(S, S) to (3, S, S)."""
    return shade * _colour(*colour)


def _bump(distance: NDArray[Any], width: float) -> Map:
    """1 at no distance, falling as a Gaussian."""
    return np.exp(-((distance / width) ** 2))


def _inside(distance: Map, edge: float) -> Map:
    """1 within an ellipse, 0 outside, falling over ``edge`` half axes."""
    return 1 / (1 + np.exp(np.clip((distance - 1) * (3 / edge), -30, 30)))


def _background(looks: Generator) -> Map:
    """Colour of the fundus under full light, (3, 1, 1): orange to brick red, now and then brown."""
    red = looks.uniform(140, 250)
    green = red * float(np.clip(looks.lognormal(np.log(0.37), 0.2), 0.27, 0.53))
    blue = green * float(np.clip(looks.lognormal(np.log(0.33), 0.45), 0.1, 0.65))
    return _colour(red, green, blue)


def _illumination(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """Uneven light: brightest somewhere in the middle, darker to the rim and to one side, redder here and there."""
    eye = canvas.eye
    bright = eye.view + eye.extent * complex(*looks.normal(0, 0.22, 2))
    fall = -looks.uniform(0.2, 0.9) * (canvas.distance(bright) / eye.extent) ** 2.2
    angle = looks.uniform(0, 2 * np.pi)
    across = (canvas.x - eye.view.real) * float(np.cos(angle)) + (canvas.y - eye.view.imag) * float(np.sin(angle))
    slope = looks.uniform(0, 0.35) / eye.extent * across
    rim = -looks.uniform(0.1, 0.5) * np.exp((canvas.distance(eye.view) / eye.extent - 1) / 0.06)
    tint = looks.uniform(0.03, 0.11) * canvas.noise(texture, 3)
    return _weigh(fall + slope + rim, (0.8, 1.0, 1.0)) + _weigh(tint, (1.0, -0.4, 0.0))


def _choroid(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """Blotches of pigment, grain, and the vessels of the choroid."""
    blots = [
        share * canvas.noise(texture, cells) for cells, share in ((4, 0.08), (11, 0.025), (23, 0.016), (47, 0.013))
    ]
    grain = [share * canvas.noise(texture, cells) for cells, share in ((95, 0.014), (191, 0.016), (383, 0.016))]
    mottle = looks.uniform(0.6, 1.3) * np.add.reduce(blots) + np.add.reduce(grain)
    return _weigh(mottle, (0.8, 1.0, 1.0)) + _tessellation(canvas, looks, texture)


def _tessellation(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """Choroidal vessels shining through: in every third eye, off the disc and the macula."""
    strength = looks.uniform(0.06, 0.24) if looks.random() < 0.35 else 0.0
    if not strength:
        return np.zeros((3, 1, 1), np.float32)
    fovea = canvas.eye.fovea
    far = np.minimum(canvas.distance(fovea / 2) - 1.8, canvas.distance(fovea) - 1.0)
    shown = np.clip(far / 2, 0, 1) * np.clip(0.6 + 0.4 * canvas.noise(texture, 6), 0, 1.2)
    network = _cords(canvas, texture, 0.12) + _cords(canvas, texture, -0.12) - 0.6
    return _weigh(strength * shown * network, (0.5, 1.0, 0.7))


def _cords(canvas: Canvas, texture: Generator, twist: float) -> Map:
    """One of two interwoven layers of cords, which spiral outwards from the posterior pole."""
    pole = canvas.eye.fovea / 2
    x, y = canvas.x - pole.real, canvas.y - pole.imag
    outwards = 0.5 * np.log(x * x + y * y + 9)
    around = np.arctan2(y, x) / (2 * np.pi) + twist * outwards
    knots = texture.standard_normal((84, 20), np.float32)
    at = np.stack([around * 84, outwards * 6])
    return _bump(ndimage.map_coordinates(knots, at, order=3, mode="grid-wrap", prefilter=False) / 0.48, 0.55)


def _macula(canvas: Canvas, looks: Generator) -> Map:
    """The yellow pigment, which takes blue and green light, and the darker pit of the fovea with its reflex."""
    fovea = canvas.eye.fovea
    away = canvas.distance(fovea)
    pigment = looks.uniform(0.12, 0.35) * _bump(away, looks.uniform(1.0, 1.6))
    pit = looks.uniform(0.1, 0.3) * _bump(away, looks.uniform(0.3, 0.5))
    reflex = looks.uniform(0, 0.35) * _bump(canvas.distance(fovea + complex(*looks.normal(0, 0.05, 2))), 0.09)
    return _weigh(reflex, (0.6, 1.0, 1.0)) - _weigh(pigment, (0.45, 0.9, 1.0)) - _weigh(pit, (0.35, 0.9, 0.8))


def _fibres(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """The sheen of the nerve fibres, thickest above and below the disc.

    In young eyes the inner limiting membrane glints besides, in patches and along the vessels.
    """
    stripes = _stripes(canvas, texture)
    away = canvas.distance(0j)
    thick = _bump(away, looks.uniform(2.0, 3.2)) * (0.2 + 0.8 * np.abs(canvas.y) / (away + 0.1))
    patches = np.clip(0.7 + 0.6 * canvas.noise(texture, 7), 0, 2)
    sheen = looks.uniform(0.02, 0.16) * thick * patches * (0.9 + 0.3 * stripes)
    if looks.random() < 0.35:
        glints = canvas.noise(texture, 9) + 0.7 * canvas.noise(texture, 31) + 0.5 * stripes
        blood = (np.minimum(canvas.arteries[0], canvas.veins[0]) < 0).astype(np.float32)
        walls = ndimage.gaussian_filter(blood, 0.06 * canvas.scale, truncate=2.5)
        shine = looks.uniform(0.15, 0.45) * np.clip(glints - 1.1, 0, 1.5) + looks.uniform(0.05, 0.2) * walls
        sheen = sheen + shine * np.sqrt(thick)
    return _weigh(sheen, (0.45, 1.0, 1.1))


def _stripes(canvas: Canvas, texture: Generator) -> Map:
    """Noise that is constant along the parabolas of the arcades, and along rays on the nasal side."""
    arc = np.arctan2(canvas.y / 3, np.sqrt(np.maximum(-canvas.x, 0) / 4.7))
    course = np.where(canvas.x < 0, arc, np.pi - np.arctan2(canvas.y, canvas.x)) % (2 * np.pi)
    table = ndimage.gaussian_filter1d(texture.standard_normal(1024), 2.2, mode="wrap") * 2.6
    return np.interp(course, np.linspace(0, 2 * np.pi, 1024), table).astype(np.float32)


def _disc(canvas: Canvas, looks: Generator, texture: Generator, light: Map, base: Map) -> Map:
    """The disc; around it sometimes a pale crescent, temporally, and a ring of pigment."""
    axes = canvas.eye.disc
    away = canvas.ellipse(0j, axes) + 0.03 * canvas.noise(texture, 19)
    beside = canvas.ellipse(complex(-looks.uniform(0.08, 0.25), 0), axes) + 0.04 * canvas.noise(texture, 23)
    crescent = max(looks.uniform(-0.4, 0.35), 0) * _inside(beside, 0.12)
    ring = max(looks.uniform(-0.2, 0.2), 0) * _bump(away - 1.1, 0.1)
    light = light * (1 + _weigh(crescent, (0.6, 1.0, 1.0))) * (1 - _weigh(ring, (0.8, 1.0, 1.0)))
    share = _inside(away, looks.uniform(0.08, 0.25))
    return light + share * (_tissue(canvas, looks, texture, base) * _lit(light, base) - light)


def _tissue(canvas: Canvas, looks: Generator, texture: Generator, base: Map) -> Map:
    """Colour of the disc: a rim of nerve fibres near that of the fundus, paler temporally, and the bright cup."""
    eye = canvas.eye
    red, green, blue = base.ravel().tolist()
    pallor, warmth = looks.uniform(0, 1), looks.uniform(0, 1)
    rim = _colour(0.4 * red + 155, (1.2 + 0.6 * pallor) * green + 14, (1.1 + 0.9 * pallor) * blue + 6)
    bright = _colour(275, 145 + 65 * warmth, 1.6 * blue + 10 + 60 * warmth * pallor)
    temporal = 0.2 * np.clip(-canvas.x / eye.disc[0], -1, 1) + 0.07 * canvas.noise(texture, 15)
    rim = rim * np.exp(_weigh(temporal, (0.2, 1.0, 1.1)))
    away = canvas.ellipse(eye.cup_centre, eye.cup) + 0.09 * canvas.noise(texture, 21)
    return rim + (bright - rim) * looks.uniform(0.5, 0.95) * _inside(away, looks.uniform(0.5, 1.2))


def _lit(light: Map, base: Map) -> Map:
    """How much of the full light reaches each pixel, judged by the red, which little but the camera changes."""
    share = np.clip(ndimage.gaussian_filter(light[0], len(light[0]) / 16, truncate=2.5) / base[0], 0.55, 1.05)
    return np.stack([share**0.7, share, share])


def _blood(canvas: Canvas, looks: Generator) -> Map:
    """Optical density of the vessels: that of veins is higher; arteries have a bright reflex along their middle."""
    red, green = looks.uniform(0.08, 0.22), looks.uniform(0.45, 0.95)
    blue = looks.uniform(0.7, 1.0) * green
    veins = _column(canvas.veins, canvas.scale, reflex=looks.uniform(0.0, 0.15))
    arteries = _column(canvas.arteries, canvas.scale, reflex=looks.uniform(0.2, 0.5))
    paler = looks.uniform(0.65, 0.85)
    return _weigh(veins, (red, green, blue)) + _weigh(arteries, (0.5 * red, paler * green, paler * blue))


def _column(vessels: tuple[Map, Map], scale: float, reflex: float) -> Map:
    """Relative length of the light's way through blood: a round column, longer in wide vessels, less in the reflex."""
    gap, radius = vessels
    cover = np.clip(0.5 - gap, 0, np.minimum(1, 2 * radius))
    middle = np.clip((gap + radius) / np.maximum(radius, 0.3), 0, 1)
    depth = 0.6 + 0.4 * np.sqrt(1 - middle**2)
    wide = np.sqrt(np.minimum(radius / (0.06 * scale), 1.4))
    shine = reflex * _bump(middle, 0.35) * np.clip(radius - 0.8, 0, 1)
    return cover * depth * wide * (1 - shine)


def _haze(canvas: Canvas, looks: Generator, light: Map) -> Map:
    """In every third photograph a greenish veil of stray light at the rim."""
    strength = looks.uniform(0.1, 0.4) if looks.random() < 0.3 else 0.0
    veil = looks.uniform(0.7, 1.2) * _colour(105, 100, 45)
    out = canvas.distance(canvas.eye.view) / canvas.eye.extent
    return light + (veil - light) * (strength * np.clip((out - 0.6) / 0.4, 0, 1) ** 2)


def _develop(light: Map, looks: Generator, film: Generator) -> NDArray[np.uint8]:
    """Blur of the pixels and of the optics, soft saturation of the sensor, grain; rounded to bytes."""
    size = light.shape[-1]
    blur = float(np.hypot(0.35, looks.uniform(0.05, 0.5) * size / 256))
    light = ndimage.gaussian_filter(light, (0, blur, blur), truncate=3)
    light = np.where(light > 200, 200 + 55 * np.tanh((light - 200) / 55), light)
    grain = ndimage.gaussian_filter(film.standard_normal((3, size, size), np.float32), (0.3, 0.6, 0.6), truncate=2)
    return np.clip(np.rint(light + looks.uniform(1.5, 4.0) * grain), 0, 255).astype(np.uint8)
