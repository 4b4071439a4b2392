"""A new vessel map from an old one: turned, drawn nearer, shifted, bent and perhaps mirrored, as another eye could be.

A photograph generated around it has no real photograph of the same map beside it, so that what is measured on it
(privacy, usefulness) is not answered by memory. Bounds are those of anatomy and of a photographer: the optic disc
stays beside the fovea, the arcades stay above and below it. Bends are smooth (random displacements of a coarse grid,
interpolated by cubic splines: Simard et al., "Best practices for convolutional neural networks applied to visual
document analysis", ICDAR 2003), so that no vessel breaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.seeds import warp_generator

__all__ = ["VesselWarp", "draw_warp"]

FLIP = 0.5  # the chance that the eye becomes one of the other side
ANGLE = (6.0, 18.0)  # degrees, either way; from disc to fovea adults have 7.8 with a deviation of 3.6, from -6 to 29:
# Jonas et al., "Optic disc-fovea angle: the Beijing Eye Study 2011", https://doi.org/10.1371/journal.pone.0141771
ZOOM = (1.02, 1.12)  # calibres grow by it, less than they differ between eyes; what lay at the rim moves out
SHIFT = 0.7  # share of the way, freed by the zoom, that the middle may move: the field of view stays full of vessels
BEND = 0.02  # sides; standard deviation of a node's displacement
NODES = 5  # of the grid, a side


@dataclass(frozen=True)
class VesselWarp:
    """Where each pixel of the new map looks in the old one.

    Attributes:
        flip: whether left and right are exchanged, and with them the laterality.
        angle: of the turn, degrees.
        zoom: above 1, vessels come nearer.
        shift: of the middle, rows and columns, shares of the side.
        bend: (2, NODES, NODES) displacements of a grid's nodes, shares of the side.
    """

    flip: bool
    angle: float
    zoom: float
    shift: tuple[float, float]
    bend: NDArray[np.float64]

    def __call__(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Warp a picture (S, S), interpolating linearly; what comes from outside of it is 0."""
        source = self._source(len(picture))
        warped = ndimage.map_coordinates(picture, source, order=1, mode="constant", output=np.float32)
        return np.ascontiguousarray(warped[:, ::-1]) if self.flip else warped

    def laterality(self, side: str) -> str:
        """The side, ``L`` or ``R``, of an eye after the warp; an unknown one stays unknown."""
        return {"L": "R", "R": "L"}.get(side, side) if self.flip else side

    def _source(self, size: int) -> NDArray[np.float64]:
        """(2, S, S) rows and columns in the old map."""
        place = (np.arange(size) - (size - 1) / 2) / size
        rows, columns = np.meshgrid(place, place, indexing="ij")
        turn = np.exp(1j * np.deg2rad(self.angle)) / self.zoom
        turned = (columns + 1j * rows) * turn
        nodes = np.linspace(0, NODES - 1, size)
        grid = np.meshgrid(nodes, nodes, indexing="ij")
        bent = np.stack([ndimage.map_coordinates(part, grid, order=3, mode="nearest") for part in self.bend])
        shift = np.array(self.shift)[:, None, None]
        return (np.stack([turned.imag, turned.real]) + shift + bent) * size + (size - 1) / 2


def draw_warp(seed: int, index: int) -> VesselWarp:
    """The warp of sample ``index``, which depends on (seed, index) alone.

    Example:
        >>> warp = draw_warp(0, 3)
        >>> 6 <= abs(warp.angle) <= 18 and warp.zoom == draw_warp(0, 3).zoom
        True
    """
    rng = warp_generator(seed, index)
    flip = bool(rng.random() < FLIP)
    angle = float(rng.choice((-1, 1)) * rng.uniform(*ANGLE))
    zoom = float(rng.uniform(*ZOOM))
    way = SHIFT * (1 - 1 / zoom) / 2 * np.sqrt(rng.random())
    towards = rng.uniform(0, 2 * np.pi)
    shift = (float(way * np.sin(towards)), float(way * np.cos(towards)))
    return VesselWarp(flip, angle, zoom, shift, BEND * rng.standard_normal((2, NODES, NODES)))
