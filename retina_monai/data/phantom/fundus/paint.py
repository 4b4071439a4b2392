"""Render a phantom eye as a photograph.

Light reflected to the camera has crossed the retina. Absorption (choroid, macular pigment, blood) and scattering (nerve
fibres) add up to an optical density with weights per colour. The disc hides the choroid. The camera adds uneven
illumination, haze at the rim, blur, saturation and grain. Pathology (``myopia``, ``lesion_paint``) uses its own random
numbers and does not change the rest. Ranges of colours and vessel contrasts were measured on CHASE_DB1, HRF and FIVES:
a wide vein absorbs 30 to 45 % of the green and a tenth of the red.

All maps are float32 ``(S, S)``, or ``(3, S, S)`` with one map per colour. The generator ``looks`` draws parameters that
vary between eyes, and ``texture`` draws the smooth noise of an eye.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.data.phantom.fundus.camera import ANY_CAMERA, Camera
from retina_monai.data.phantom.fundus.canvas import Canvas, Map, bump, colour, inside, weigh
from retina_monai.data.phantom.fundus.lesion_paint import LesionMaps, over_blood, under_blood
from retina_monai.data.phantom.fundus.myopia import Myopia, paint_atrophy, tessellate
from retina_monai.data.phantom.fundus.phantom_eye import Generator

__all__ = ["photograph"]


def photograph(
    seed: np.random.SeedSequence,
    canvas: Canvas,
    camera: Camera = ANY_CAMERA,
    myopia: Myopia | None = None,
    lesions: LesionMaps | None = None,
) -> NDArray[np.uint8]:
    """Paint the eye of ``canvas`` as RGB ``(3, S, S)`` in [0, 255], including the area outside the field of view."""
    looks, texture, film = (np.random.Generator(np.random.PCG64(child)) for child in seed.spawn(3))
    base = _background(camera, looks)
    density = _illumination(canvas, camera, looks, texture) + _choroid(canvas, looks, texture) + _macula(canvas, looks)
    density = density + _fibres(canvas, looks, texture)
    light = base * np.exp(density if myopia is None else density + tessellate(canvas, myopia))
    if myopia is not None:
        light = paint_atrophy(canvas, myopia, light, base, _lit(light, base))
    light = _disc(canvas, looks, texture, light, base, 0.0 if myopia is None else myopia.degree)
    if lesions is not None:
        bare, light = light, under_blood(canvas, lesions, light)
    light = light * np.exp(-_blood(canvas, looks))
    if lesions is not None:
        light = over_blood(canvas, lesions, light, bare)
    return _develop(_haze(canvas, camera, looks, light), camera, looks, film)


def _background(camera: Camera, looks: Generator) -> Map:
    """Colour of the fundus under full illumination, ``(3, 1, 1)``: orange to brick red, sometimes brown."""
    red = looks.uniform(*camera.colours.red)
    return colour(red, green := red * _ratio(looks, camera.colours.green), green * _ratio(looks, camera.colours.blue))


def _ratio(looks: Generator, spread: tuple[float, float, float, float]) -> float:
    median, deviation, least, greatest = spread
    return float(np.clip(looks.lognormal(np.log(median), deviation), least, greatest))


def _illumination(canvas: Canvas, camera: Camera, looks: Generator, texture: Generator) -> Map:
    """Uneven illumination: brightest near the centre, darker towards the rim and one side, with local red tints."""
    eye = canvas.eye
    bright = eye.view + eye.extent * complex(*looks.normal(0, 0.22, 2))
    fall = -looks.uniform(*camera.light.fall) * (canvas.distance(bright) / eye.extent) ** 2.2
    angle = looks.uniform(0, 2 * np.pi)
    across = (canvas.x - eye.view.real) * float(np.cos(angle)) + (canvas.y - eye.view.imag) * float(np.sin(angle))
    slope = looks.uniform(0, 0.35) / eye.extent * across
    rim = -looks.uniform(*camera.light.rim) * np.exp((canvas.distance(eye.view) / eye.extent - 1) / 0.06)
    tint = looks.uniform(0.03, 0.11) * canvas.noise(texture, 3)
    return weigh(fall + slope + rim, (0.8, 1.0, 1.0)) + weigh(tint, (1.0, -0.4, 0.0))


def _choroid(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """Pigment blotches, grain and vessels of the choroid."""
    blots = [
        share * canvas.noise(texture, cells) for cells, share in ((4, 0.08), (11, 0.025), (23, 0.016), (47, 0.013))
    ]
    grain = [share * canvas.noise(texture, cells) for cells, share in ((95, 0.014), (191, 0.016), (383, 0.016))]
    mottle = looks.uniform(0.6, 1.3) * np.add.reduce(blots) + np.add.reduce(grain)
    return weigh(mottle, (0.8, 1.0, 1.0)) + _tessellation(canvas, looks, texture)


def _tessellation(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """Visible choroidal vessels in every third eye, away from disc and macula."""
    strength = looks.uniform(0.06, 0.24) if looks.random() < 0.35 else 0.0
    if not strength:
        return np.zeros((3, 1, 1), np.float32)
    fovea = canvas.eye.fovea
    far = np.minimum(canvas.distance(fovea / 2) - 1.8, canvas.distance(fovea) - 1.0)
    shown = np.clip(far / 2, 0, 1) * np.clip(0.6 + 0.4 * canvas.noise(texture, 6), 0, 1.2)
    network = canvas.cords(texture, 0.12) + canvas.cords(texture, -0.12) - 0.6
    return weigh(strength * shown * network, (0.5, 1.0, 0.7))


def _macula(canvas: Canvas, looks: Generator) -> Map:
    """The yellow macular pigment, which absorbs blue and green, and the darker foveal pit with its reflex."""
    fovea = canvas.eye.fovea
    away = canvas.distance(fovea)
    pigment = looks.uniform(0.12, 0.35) * bump(away, looks.uniform(1.0, 1.6))
    pit = looks.uniform(0.1, 0.3) * bump(away, looks.uniform(0.3, 0.5))
    reflex = looks.uniform(0, 0.35) * bump(canvas.distance(fovea + complex(*looks.normal(0, 0.05, 2))), 0.09)
    return weigh(reflex, (0.6, 1.0, 1.0)) - weigh(pigment, (0.45, 0.9, 1.0)) - weigh(pit, (0.35, 0.9, 0.8))


def _fibres(canvas: Canvas, looks: Generator, texture: Generator) -> Map:
    """Reflections of the nerve fibres, strongest above and below the disc.

    In young eyes, the inner limiting membrane adds reflections in patches and along the vessels.
    """
    stripes = _stripes(canvas, texture)
    away = canvas.distance(0j)
    thick = bump(away, looks.uniform(2.0, 3.2)) * (0.2 + 0.8 * np.abs(canvas.y) / (away + 0.1))
    patches = np.clip(0.7 + 0.6 * canvas.noise(texture, 7), 0, 2)
    sheen = looks.uniform(0.02, 0.16) * thick * patches * (0.9 + 0.3 * stripes)
    if looks.random() < 0.35:
        glints = canvas.noise(texture, 9) + 0.7 * canvas.noise(texture, 31) + 0.5 * stripes
        blood = (np.minimum(canvas.arteries[0], canvas.veins[0]) < 0).astype(np.float32)
        walls = ndimage.gaussian_filter(blood, 0.06 * canvas.scale, truncate=2.5)
        shine = looks.uniform(0.15, 0.45) * np.clip(glints - 1.1, 0, 1.5) + looks.uniform(0.05, 0.2) * walls
        sheen = sheen + shine * np.sqrt(thick)
    return weigh(sheen, (0.45, 1.0, 1.1))


def _stripes(canvas: Canvas, texture: Generator) -> Map:
    """Noise that is constant along the parabolas of the arcades and, nasally, along rays."""
    arc = np.arctan2(canvas.y / 3, np.sqrt(np.maximum(-canvas.x, 0) / 4.7))
    course = np.where(canvas.x < 0, arc, np.pi - np.arctan2(canvas.y, canvas.x)) % (2 * np.pi)
    table = ndimage.gaussian_filter1d(texture.standard_normal(1024), 2.2, mode="wrap") * 2.6
    return np.interp(course, np.linspace(0, 2 * np.pi, 1024), table).astype(np.float32)


def _disc(canvas: Canvas, looks: Generator, texture: Generator, light: Map, base: Map, myopia: float) -> Map:
    """Paint the disc, with an optional pale temporal crescent and pigment ring, which fade with myopia."""
    axes, turn = canvas.eye.disc, canvas.eye.turn
    away = canvas.ellipse(0j, axes, turn) + 0.03 * canvas.noise(texture, 19)
    beside = canvas.ellipse(complex(-looks.uniform(0.08, 0.25), 0), axes, turn) + 0.04 * canvas.noise(texture, 23)
    crescent = (1 - myopia) * max(looks.uniform(-0.4, 0.35), 0) * inside(beside, 0.12)
    ring = (1 - myopia) * max(looks.uniform(-0.2, 0.2), 0) * bump(away - 1.1, 0.1)
    light = light * (1 + weigh(crescent, (0.6, 1.0, 1.0))) * (1 - weigh(ring, (0.8, 1.0, 1.0)))
    share = inside(away, looks.uniform(0.08, 0.25))
    return light + share * (_tissue(canvas, looks, texture, base) * _lit(light, base) - light)


def _tissue(canvas: Canvas, looks: Generator, texture: Generator, base: Map) -> Map:
    """Colour of the disc: a neuroretinal rim similar to the fundus and paler temporally, and the bright cup."""
    eye = canvas.eye
    red, green, blue = base.ravel().tolist()
    pallor, warmth = looks.uniform(0, 1), looks.uniform(0, 1)
    rim = colour(0.4 * red + 155, (1.2 + 0.6 * pallor) * green + 14, (1.1 + 0.9 * pallor) * blue + 6)
    bright = colour(275, 145 + 65 * warmth, 1.6 * blue + 10 + 60 * warmth * pallor)
    temporal = 0.2 * np.clip(-canvas.x / eye.disc[0], -1, 1) + 0.07 * canvas.noise(texture, 15)
    rim = rim * np.exp(weigh(temporal, (0.2, 1.0, 1.1)))
    away = canvas.ellipse(eye.cup_centre, eye.cup, eye.turn) + 0.09 * canvas.noise(texture, 21)
    return rim + (bright - rim) * looks.uniform(0.5, 0.95) * inside(away, looks.uniform(0.5, 1.2))


def _lit(light: Map, base: Map) -> Map:
    """Fraction of the full illumination at each pixel, estimated from red, which depends mostly on the camera."""
    share = np.clip(ndimage.gaussian_filter(light[0], len(light[0]) / 16, truncate=2.5) / base[0], 0.55, 1.05)
    return np.stack([share**0.7, share, share])


def _blood(canvas: Canvas, looks: Generator) -> Map:
    """Optical density of the vessels. Veins are denser, and arteries have a bright central reflex."""
    red, green = looks.uniform(0.08, 0.22), looks.uniform(0.45, 0.95)
    blue = looks.uniform(0.7, 1.0) * green
    veins = _column(canvas.veins, canvas.scale, reflex=looks.uniform(0.0, 0.15))
    arteries = _column(canvas.arteries, canvas.scale, reflex=looks.uniform(0.2, 0.5))
    paler = looks.uniform(0.65, 0.85)
    return weigh(veins, (red, green, blue)) + weigh(arteries, (0.5 * red, paler * green, paler * blue))


def _column(vessels: tuple[Map, Map], scale: float, reflex: float) -> Map:
    """Relative path length of light through round vessels, longer in wide ones and reduced by the central reflex."""
    gap, radius = vessels
    cover = np.clip(0.5 - gap, 0, np.minimum(1, 2 * radius))
    middle = np.clip((gap + radius) / np.maximum(radius, 0.3), 0, 1)
    depth = 0.6 + 0.4 * np.sqrt(1 - middle**2)
    wide = np.sqrt(np.minimum(radius / (0.06 * scale), 1.4))
    shine = reflex * bump(middle, 0.35) * np.clip(radius - 0.8, 0, 1)
    return cover * depth * wide * (1 - shine)


def _haze(canvas: Canvas, camera: Camera, looks: Generator, light: Map) -> Map:
    """Add a greenish haze of stray light at the rim in some photographs."""
    often, least, most = camera.light.haze
    strength = looks.uniform(least, most) if looks.random() < often else 0.0
    veil = looks.uniform(0.7, 1.2) * colour(105, 100, 45)
    out = canvas.distance(canvas.eye.view) / canvas.eye.extent
    return light + (veil - light) * (strength * np.clip((out - 0.6) / 0.4, 0, 1) ** 2)


def _develop(light: Map, camera: Camera, looks: Generator, film: Generator) -> NDArray[np.uint8]:
    """Apply blur of pixels and optics, soft saturation of the sensor and grain, and round to uint8."""
    size = light.shape[-1]
    blur = float(np.hypot(0.35, looks.uniform(*camera.sensor.blur) * size / 256))
    light = ndimage.gaussian_filter(light, (0, blur, blur), truncate=3)
    light = np.where(light > 200, 200 + 55 * np.tanh((light - 200) / 55), light)
    grain = ndimage.gaussian_filter(film.standard_normal((3, size, size), np.float32), (0.3, 0.6, 0.6), truncate=2)
    read, shot = looks.uniform(*camera.sensor.read), looks.uniform(*camera.sensor.shot)
    spread = np.sqrt(read**2 + shot**2 / 255 * np.maximum(light, 0)) if shot else read
    return np.clip(np.rint(light + spread * grain), 0, 255).astype(np.uint8)
