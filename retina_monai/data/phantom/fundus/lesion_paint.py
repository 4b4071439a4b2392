"""Render lesions: a mask for each type, and their appearance.

Contrasts are those of the photographs of IDRiD (``scripts/lesion_contrast.py``). Hard exudates reflect about 1.2 times
the red and 1.6 times the green of their surroundings, and large ones twice. Haemorrhages absorb 10 to 20 % of the red
and 30 to 50 % of the green.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.phantom.fundus.canvas import Canvas, Map, weigh
from retina_monai.data.phantom.fundus.lesions import Boat, Lesions
from retina_monai.data.phantom.fundus.phantom_eye import generator
from retina_monai.data.phantom.fundus.spots import HALF_DIAGONAL, Spots, rasterise_spots
from retina_monai.data.phantom.fundus.vessel_raster import rasterise

__all__ = ["LesionMaps", "draw_lesion_maps", "over_blood", "under_blood"]

Mask = NDArray[np.bool_]
NARROWEST = 0.52  # minimum radius in pixels to which new vessels are widened in their mask


@dataclass(frozen=True)
class LesionMaps:
    """Rasterised lesions.

    Attributes:
        masks: masks ``(S, S)`` by type. Types do not overlap.
        cover: covered share of each pixel by type, with haemorrhages divided into their kinds.
        seed: seed of the eye.
    """

    masks: dict[str, Mask]
    cover: dict[str, Map]
    seed: int


def draw_lesion_maps(canvas: Canvas, lesions: Lesions) -> LesionMaps:
    """Rasterise lesions. Lesions closer to the vitreous hide deeper ones."""
    soft = {"blots": 0.05, "flames": 0.04, "soft_exudates": 0.2}
    least = {"microaneurysms": HALF_DIAGONAL, "blots": HALF_DIAGONAL}
    kinds = ("microaneurysms", "blots", "flames", "hard_exudates", "soft_exudates")
    drawn = {kind: _spots(canvas, getattr(lesions, kind), soft.get(kind, 0.0), least.get(kind, 0.0)) for kind in kinds}
    drawn["neovascularisation"] = _tufts(canvas, lesions)
    drawn["boats"] = _boats(canvas, lesions.boats, lesions.seed)
    masks = {kind: mask for kind, (mask, _) in drawn.items()}
    masks["neovascularisation"] &= ~masks["boats"]
    masks["haemorrhages"] = masks.pop("blots") | masks.pop("flames") | masks.pop("boats")
    hidden = np.zeros(canvas.x.shape, np.bool_)
    for kind in ("neovascularisation", "haemorrhages", "microaneurysms", "soft_exudates", "hard_exudates"):
        masks[kind] = masks[kind] & ~hidden
        hidden |= masks[kind]
    return LesionMaps(masks, {kind: cover for kind, (_, cover) in drawn.items()}, lesions.seed)


def _spots(canvas: Canvas, spots: Spots, soft: float, least: float) -> tuple[Mask, Map]:
    return rasterise_spots(spots, len(canvas.x), canvas.scale, canvas.eye.view, soft, least)


def _tufts(canvas: Canvas, lesions: Lesions) -> tuple[Mask, Map]:
    if lesions.new_vessels is None:
        return np.zeros(canvas.x.shape, np.bool_), np.zeros(canvas.x.shape, np.float32)
    gap, radius = rasterise(lesions.new_vessels, len(canvas.x), canvas.scale, canvas.eye.view)
    return gap <= np.maximum(NARROWEST - radius, 0), np.clip(0.5 - gap, 0, np.minimum(1, 2 * radius))


def _boats(canvas: Canvas, boats: tuple[Boat, ...], seed: int) -> tuple[Mask, Map]:
    mask, cover = np.zeros(canvas.x.shape, np.bool_), np.zeros(canvas.x.shape, np.float32)
    for boat in boats:
        keel = (canvas.ellipse(boat.centre, (boat.length, boat.depth)) - 1) * boat.depth
        bend = 0.03 * boat.depth * np.cos(3 * (canvas.x - boat.centre.real) / boat.length)
        uneven = 0.03 * canvas.noise(generator(seed, 3, 9), 21)
        gap = (np.maximum(keel, boat.centre.imag + bend - canvas.y) + uneven) * canvas.scale
        mask |= gap <= 0
        cover = np.maximum(cover, np.clip(0.5 - gap / max(1.0, 0.08 * canvas.scale), 0, 1))
    return mask, cover


def under_blood(canvas: Canvas, maps: LesionMaps, light: Map) -> Map:
    """Paint the lesions below the retinal vessels: hard exudates, microaneurysms and blot haemorrhages."""
    looks, texture = generator(maps.seed, 3, 5), generator(maps.seed, 3, 6)
    cover = maps.cover
    bare = (1 - cover["soft_exudates"]) * (1 - np.maximum(cover["flames"], cover["boats"]))
    yellow, strength = looks.uniform(0.0, 0.7), looks.uniform(0.65, 0.95)
    deposit = cover["hard_exudates"] * np.clip(0.9 + 0.15 * canvas.noise(texture, 97), 0.5, 1.2) * bare
    light = light * np.exp(weigh(strength * deposit, (0.3, 1.0, yellow)))
    mottled = np.clip(0.9 + 0.15 * canvas.noise(texture, 61) + 0.25 * canvas.noise(texture, 23), 0.4, 1.4)
    dots = np.maximum(looks.uniform(0.7, 0.95) * cover["microaneurysms"], cover["blots"] * mottled)
    return light * np.exp(-weigh(looks.uniform(0.55, 0.95) * dots, (0.3, 0.85, 0.6)))


def over_blood(canvas: Canvas, maps: LesionMaps, light: Map, lit: Map) -> Map:
    """Paint the lesions above the vessels: soft exudates, flame haemorrhages, new vessels and preretinal blood.

    Args:
        canvas: pixel grid.
        maps: lesions.
        light: fundus with its vessels, ``(3, S, S)``.
        lit: fundus without vessels under the local illumination, ``(3, S, S)``.
    """
    looks, texture = generator(maps.seed, 3, 7), generator(maps.seed, 3, 8)
    cover = maps.cover
    fluff = _smooth(cover["soft_exudates"]) * np.clip(0.85 + 0.25 * canvas.noise(texture, 43), 0.4, 1.2)
    white = lit * np.exp(weigh(looks.uniform(0.4, 0.6) * np.ones_like(fluff), (0.4, 0.95, 1.5)))
    light = light + np.clip(0.8 * fluff, 0, 0.9) * (white - light)
    flames = _smooth(cover["flames"]) * np.clip(0.9 + 0.25 * canvas.noise(texture, 71), 0.5, 1.3)
    light = light * np.exp(-weigh(looks.uniform(0.5, 0.8) * flames, (0.2, 0.9, 0.8)))
    light = light * np.exp(-weigh(looks.uniform(0.6, 0.9) * cover["neovascularisation"], (0.15, 0.9, 0.8)))
    clots = np.clip(1 + 0.1 * canvas.noise(texture, 9) + 0.05 * canvas.noise(texture, 37), 0.6, 1.3)
    blood = lit * np.exp(-weigh(clots, (0.55, 1.35, 0.9)))
    return light + 0.94 * cover["boats"] * (blood - light)


def _smooth(share: Map) -> Map:
    return share * share * (3 - 2 * share)
