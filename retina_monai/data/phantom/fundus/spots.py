"""Spots on the retina (bleedings, deposits) in millimetres, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.phantom.fundus.canvas import Map
from retina_monai.data.phantom.fundus.phantom_eye import Generator

__all__ = ["HALF_DIAGONAL", "Spots", "draw_spots", "rasterise_spots"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOBES = np.arange(2, 6)  # harmonics by which an outline departs from an ellipse
HALF_DIAGONAL = 0.71  # of a pixel: a spot of this radius has a pixel in its mask wherever it lies
PIXELS = 4_000_000  # of the windows that are worked on at once


@dataclass(frozen=True)
class Spots:
    """``N`` ellipses with uneven outlines.

    Attributes:
        at: (N,) complex centres, mm (`Eye`).
        along: (N,) half axis along ``heading``, mm.
        across: (N,) half axis across it, mm.
        heading: (N,) complex of length 1.
        lobes: (N, 4) complex amplitude of the second to fifth harmonic of the outline, as a share of it.
    """

    at: Complex
    along: Floats
    across: Floats
    heading: Complex
    lobes: Complex

    def __len__(self) -> int:
        return len(self.at)

    def joined(self, other: Spots) -> Spots:
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("at", "along", "across", "heading", "lobes"))
        return Spots(*(np.concatenate(pair) for pair in pairs))


def draw_spots(
    rng: Generator, at: Complex, along: Floats, across: Floats, heading: Complex | None = None, rough: float = 0.1
) -> Spots:
    """Spots with outlines as uneven as ``rough``; without ``heading`` they lie in any direction."""
    if heading is None:
        heading = np.exp(1j * rng.uniform(0, 2 * np.pi, len(at)))
    depth = np.minimum(np.abs(rng.normal(0, rough, (len(at), len(LOBES)))) * 2 / LOBES, 0.25)
    lobes = depth * np.exp(2j * np.pi * rng.random(depth.shape))
    return Spots(np.asarray(at, np.complex128), along, across, heading, lobes)


def rasterise_spots(
    spots: Spots, size: int, scale: float, centre: complex, soft: float = 0.0, least: float = 0.0
) -> tuple[NDArray[np.bool_], Map]:
    """Draw spots.

    Args:
        spots: in mm.
        size: of the square picture, pixels.
        scale: pixels per mm.
        centre: the point that comes to lie in the middle of the picture, mm.
        soft: width of their edge, mm; never less than a pixel.
        least: radius in pixels to which smaller spots are widened in the mask.

    Returns:
        The mask (size, size), and the share of each pixel that is covered, (size, size) in [0, 1].
    """
    points = (spots.at - centre) * scale + 0.5 * (size - 1) * (1 + 1j)
    edge = max(1.0, soft * scale)
    reach = np.ceil(1.25 * np.maximum(spots.along, spots.across) * scale + edge + 1)
    reach = np.exp2(np.ceil(2 * np.log2(reach)) / 2).astype(np.int64)  # few sizes of window
    seen = np.maximum(np.abs(points.real - size / 2), np.abs(points.imag - size / 2)) < size / 2 + reach
    mask, cover = np.zeros((size, size), np.bool_), np.zeros((size, size))
    for half in np.unique(reach[seen]):
        chosen = np.flatnonzero(seen & (reach == half))
        for part in np.array_split(chosen, len(chosen) * (2 * half + 1) ** 2 // PIXELS + 1):
            _stamp(mask, cover, points[part], _pick(spots, part), scale, int(half), edge, least)
    return mask, cover.astype(np.float32)


def _pick(spots: Spots, index: Ints) -> Spots:
    return Spots(*(getattr(spots, name)[index] for name in ("at", "along", "across", "heading", "lobes")))


def _stamp(
    mask: NDArray[np.bool_],
    cover: Floats,
    at: Complex,
    spots: Spots,
    scale: float,
    reach: int,
    edge: float,
    least: float,
) -> None:
    """Add ``spots``, whose centres are the pixels ``at``, in windows of ``reach`` pixels about each."""
    offset, size = np.arange(-reach, reach + 1), len(mask)
    column = np.rint(at.real).astype(np.int64)[:, None, None] + offset
    row = np.rint(at.imag).astype(np.int64)[:, None, None] + offset[:, None]
    away = (column - at.real[:, None, None] + 1j * (row - at.imag[:, None, None])) * spots.heading.conj()[:, None, None]
    gap = _gap(away, spots, scale)
    radius = np.minimum(spots.along, spots.across)[:, None, None] * scale
    within = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    index = (row * size + column)[within]
    mask.ravel()[index[(gap <= np.maximum(least - radius, 0))[within]]] = True
    share = np.clip(0.5 - gap / edge, 0, np.minimum(1, np.pi * radius * radius))
    np.maximum.at(cover.ravel(), index, share[within])


def _gap(away: Complex, spots: Spots, scale: float) -> Floats:
    """Distance in pixels of points to the outline along the ray from the centre, negative inside."""
    length = np.abs(away)
    along, across = (half[:, None, None] * scale for half in (spots.along, spots.across))
    ellipse = np.hypot(away.real / along, away.imag / across)
    outline = np.ones(away.shape)
    ray = away / np.maximum(length, 1e-9)
    power = ray
    for amplitude in spots.lobes.T:
        power = power * ray
        outline += (power * amplitude.conj()[:, None, None]).real
    edge = np.where(length > 0, length / np.maximum(ellipse, 1e-9), across) * outline
    return length - edge
