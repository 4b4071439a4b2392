"""The pixel grid of a phantom in mm of retina, and helpers for painting.

All maps are float32 ``(S, S)``, or ``(3, S, S)`` with one map per colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.data.phantom.fundus.phantom_eye import Eye, Generator

__all__ = ["Canvas", "Colour", "Map", "bump", "colour", "inside", "weigh"]

Map = NDArray[np.float32]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """The pixel grid of an image of an eye, drawn as a right eye.

    Attributes:
        eye: eye to paint.
        x: ``(S, S)`` horizontal position relative to the disc centre in mm, positive to the right.
        y: ``(S, S)`` vertical position relative to the disc centre in mm, positive downwards.
        scale: pixels per mm.
        arteries: distance to the edge of the nearest artery and its radius, both ``(S, S)`` in pixels, from
            ``rasterise``.
        veins: the same for veins.
    """

    eye: Eye
    x: Map
    y: Map
    scale: float
    arteries: tuple[Map, Map]
    veins: tuple[Map, Map]

    def distance(self, point: complex) -> Map:
        """Distance of each pixel from ``point`` in mm."""
        return self.ellipse(point, (1.0, 1.0))

    def ellipse(self, centre: complex, axes: tuple[float, float], turn: float = 0.0) -> Map:
        """Elliptical distance of each pixel from ``centre``: 1 on the ellipse with ``axes`` turned by ``turn``."""
        x, y = self.x - centre.real, self.y - centre.imag
        if turn:
            across, down = float(np.cos(turn)), float(np.sin(turn))
            x, y = x * across + y * down, y * across - x * down
        return np.hypot(x / axes[0], y / axes[1])

    def noise(self, rng: Generator, cells: int) -> Map:
        """Smooth noise of unit variance with about ``cells`` blobs per side, the same at every image size.

        The noise is a cubic B-spline of random numbers, or 0 if the blobs are smaller than the pixels.
        """
        knots = rng.standard_normal((cells + 3, cells + 3), np.float32)
        size = len(self.x)
        if cells > size:
            return np.zeros((size, size), np.float32)
        return np.ascontiguousarray(_spline(np.ascontiguousarray(_spline(knots, size).T), size).T)

    def cords(self, texture: Generator, twist: float, around: int = 84, outwards: float = 6, sway: float = 0.0) -> Map:
        """One layer of choroidal vessels, 1 at their centre lines, which spiral outwards from the posterior pole.

        Args:
            texture: generator of the positions.
            twist: turns per unit of log distance. Two layers of opposite twist interweave.
            around: noise cells per turn.
            outwards: noise cells per unit of log distance.
            sway: amplitude of the lateral displacement in mm.
        """
        pole = self.eye.fovea / 2
        x, y = self.x - pole.real, self.y - pole.imag
        if sway:
            x, y = x + sway * self.noise(texture, 13), y + sway * self.noise(texture, 13)
        away = 0.5 * np.log(x * x + y * y + 9)
        knots = texture.standard_normal((around, max(20, int(4 * outwards))), np.float32)
        at = np.stack([(np.arctan2(y, x) / (2 * np.pi) + twist * away) * around, away * outwards])
        return bump(ndimage.map_coordinates(knots, at, order=3, mode="grid-wrap", prefilter=False) / 0.48, 0.55)


def _spline(knots: Map, size: int) -> Map:
    """Interpolate ``(K, N)`` to ``(size, N)`` by a cubic B-spline, scaled to preserve the variance of white noise."""
    cells = len(knots) - 3
    at = (np.arange(size) + 0.5) / size * cells
    low = np.minimum(at.astype(np.int64), cells - 1)
    t = at - low
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    parts = [(tap / 4.15).astype(np.float32)[:, None] * knots[low + k] for k, tap in enumerate(taps)]
    return parts[0] + parts[1] + parts[2] + parts[3]


def colour(red: float, green: float, blue: float) -> Map:
    """A colour as an array ``(3, 1, 1)``."""
    return np.array([red, green, blue], np.float32)[:, None, None]


def weigh(shade: Map, weights: Colour) -> Map:
    """Multiply a map ``(S, S)`` by channel weights, to ``(3, S, S)``."""
    return shade * colour(*weights)


def bump(distance: NDArray[Any], width: float) -> Map:
    """A Gaussian of the distance, 1 at 0."""
    return np.exp(-((distance / width) ** 2))


def inside(distance: Map, edge: float) -> Map:
    """A soft indicator of an ellipse: 1 inside and 0 outside, with a transition of width ``edge`` half axes."""
    return 1 / (1 + np.exp(np.clip((distance - 1) * (3 / edge), -30, 30)))
