"""Rasterise vessel trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retina_monai.data.phantom.fundus.vessel_tree import VesselTree

__all__ = ["rasterise"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Map = NDArray[np.float32]


def rasterise(tree: VesselTree, size: int, scale: float, centre: complex, thinnest: float = 0.0) -> tuple[Map, Map]:
    """Rasterise a vessel tree.

    Args:
        tree: tree in mm.
        size: side length of the square image in pixels.
        scale: pixels per mm.
        centre: point at the image centre, in mm.
        thinnest: minimum radius in pixels of drawn vessels. Branches of a thinner vessel are omitted with it.

    Returns:
        Two maps ``(size, size)`` in pixels: the distance of each pixel centre to the edge of the nearest vessel
        (negative inside, infinite beyond a few pixels), and the local radius of that vessel.
    """
    points = (tree.points - centre) * scale + 0.5 * (size - 1) * (1 + 1j)
    at, step, radius = _beads(points, tree.radii * scale, 0.7)
    gap, width = np.full(size * size, np.inf), np.zeros(size * size)
    half = np.ceil(radius + 1.5).astype(np.int64)
    seen = (radius >= thinnest) & (np.maximum(np.abs(at.real - size / 2), np.abs(at.imag - size / 2)) < size / 2 + half)
    for reach in np.unique(half[seen]):
        chosen = seen & (half == reach)
        _stamp(gap, width, size, at[chosen], step[chosen], radius[chosen], int(reach))
    return gap.reshape(size, size).astype(np.float32), width.reshape(size, size).astype(np.float32)


def _beads(points: Complex, radii: Floats, spacing: float) -> tuple[Complex, Complex, Floats]:
    """Sample points along the segments at about ``spacing``, with the step to the next and the radius at each."""
    count = np.maximum(np.ceil(np.abs(np.diff(points, axis=1)).sum(axis=1) / spacing), 1).astype(np.int64)
    row = np.repeat(np.arange(len(points)), count)
    rank = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
    at = (rank + 0.5) / count[row] * (points.shape[1] - 1)
    low = np.minimum(at.astype(np.int64), points.shape[1] - 2)
    part = at - low
    step = points[row, low + 1] - points[row, low]
    width = radii[row, low] + (radii[row, low + 1] - radii[row, low]) * part
    return points[row, low] + step * part, step * ((points.shape[1] - 1) / count[row]), width


def _stamp(gap: Floats, width: Floats, size: int, at: Complex, step: Complex, radius: Floats, reach: int) -> None:
    """Lower ``gap`` to the distance of the rods ``at`` +- ``step`` / 2, in windows of ``reach`` pixels around each."""
    offset = np.arange(-reach, reach + 1)
    column = np.rint(at.real).astype(np.int64)[:, None, None] + offset
    row = np.rint(at.imag).astype(np.int64)[:, None, None] + offset[:, None]
    ahead = step.conj() / np.maximum(np.abs(step), 1e-9)
    away = ((column - at.real[:, None, None]) + 1j * (row - at.imag[:, None, None])) * ahead[:, None, None]
    beyond = np.maximum(np.abs(away.real) - np.abs(step)[:, None, None] / 2, 0)
    edge = np.hypot(beyond, away.imag) - radius[:, None, None]
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    index, edge = (row * size + column)[inside], edge[inside]
    np.minimum.at(gap, index, edge)
    nearest = edge <= gap[index]
    width[index[nearest]] = np.broadcast_to(radius[:, None, None], inside.shape)[inside][nearest]
