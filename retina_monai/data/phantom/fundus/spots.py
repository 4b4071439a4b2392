"""Draw and rasterise spots on the retina, such as haemorrhages and exudates."""

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

LOBES = np.arange(2, 6)  # harmonics of an outline's deviation from an ellipse
HALF_DIAGONAL = 0.71  # radius in pixels at which the mask of a spot has at least one pixel
PIXELS = 4_000_000  # maximum number of pixels per batch of windows


@dataclass(frozen=True)
class Spots:
    """``N`` ellipses with irregular outlines.

    Attributes:
        at: ``(N,)`` complex centres in mm, in the coordinates of ``Eye``.
        along: ``(N,)`` half axes along ``heading`` in mm.
        across: ``(N,)`` half axes perpendicular to ``heading`` in mm.
        heading: ``(N,)`` complex unit vectors.
        lobes: ``(N, 4)`` complex relative amplitudes of the second to fifth harmonic of the outline.
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
    """Draw outlines with irregularity ``rough``. Without ``heading``, orientations are random."""
    if heading is None:
        heading = np.exp(1j * rng.uniform(0, 2 * np.pi, len(at)))
    depth = np.minimum(np.abs(rng.normal(0, rough, (len(at), len(LOBES)))) * 2 / LOBES, 0.25)
    lobes = depth * np.exp(2j * np.pi * rng.random(depth.shape))
    return Spots(np.asarray(at, np.complex128), along, across, heading, lobes)


def rasterise_spots(
    spots: Spots, size: int, scale: float, centre: complex, soft: float = 0.0, least: float = 0.0
) -> tuple[NDArray[np.bool_], Map]:
    """Rasterise spots.

    Args:
        spots: spots in mm.
        size: side length of the square image in pixels.
        scale: pixels per mm.
        centre: point at the image centre, in mm.
        soft: width of the soft edge in mm, at least a pixel.
        least: minimum radius in pixels to which spots are widened in the mask.

    Returns:
        Mask ``(size, size)``, and covered share of each pixel ``(size, size)`` in [0, 1].
    """
    points = (spots.at - centre) * scale + 0.5 * (size - 1) * (1 + 1j)
    edge = max(1.0, soft * scale)
    reach = np.ceil(1.25 * np.maximum(spots.along, spots.across) * scale + edge + 1)
    reach = np.exp2(np.ceil(2 * np.log2(reach)) / 2).astype(np.int64)  # limits the number of window sizes
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
    """Add spots centred at the pixels ``at``, in windows of ``reach`` pixels around each."""
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
    """Distance of points to the outline in pixels, along the ray from the centre, negative inside."""
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
