"""Warp vessel maps to imitate other eyes: random rotation, zoom, shift, smooth deformation and flip.

A photograph generated from a warped map has no real counterpart with the same map, so measures of privacy and
usefulness do not reward memorisation. The ranges are anatomically and photographically plausible: the optic disc stays
beside the fovea, and the arcades stay above and below it. The deformation is smooth, so that no vessel breaks: random
displacements of a coarse grid are interpolated by cubic splines (Simard et al., "Best practices for convolutional
neural networks applied to visual document analysis", ICDAR 2003).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from retina_monai.seeds import warp_generator

__all__ = ["VesselWarp", "draw_warp"]

FLIP = 0.5  # probability of a flip, which changes the laterality
ANGLE = (6.0, 18.0)  # degrees in either direction; the disc-fovea angle of adults is 7.8 +- 3.6, from -6 to 29:
# Jonas et al., "Optic disc-fovea angle: the Beijing Eye Study 2011", https://doi.org/10.1371/journal.pone.0141771
ZOOM = (1.02, 1.12)  # vessel calibres grow by this factor, less than they differ between eyes
SHIFT = 0.7  # maximum shift, as a fraction of the margin from the zoom, so that the field of view stays full of vessels
BEND = 0.02  # standard deviation of a node's displacement, as a fraction of the side
NODES = 5  # grid nodes per side


@dataclass(frozen=True)
class VesselWarp:
    """A warp of vessel maps.

    Attributes:
        flip: whether to flip horizontally, which swaps the laterality.
        angle: rotation in degrees.
        zoom: zoom factor; values above 1 enlarge.
        shift: shift of the centre in rows and columns, as fractions of the side.
        bend: displacements ``(2, NODES, NODES)`` of the grid nodes, as fractions of the side.
    """

    flip: bool
    angle: float
    zoom: float
    shift: tuple[float, float]
    bend: NDArray[np.float64]
    _grids: dict[int, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Warp images ``(C, S, S)`` with linear interpolation. Values from outside an image are 0."""
        warped = grid_sample(torch.from_numpy(images)[None], self._grid(images.shape[-1]), align_corners=True)[0]
        return (warped.flip(-1) if self.flip else warped).numpy()

    def laterality(self, side: str) -> str:
        """The laterality, ``L`` or ``R``, after the warp. An unknown laterality stays unknown."""
        return {"L": "R", "R": "L"}.get(side, side) if self.flip else side

    def _grid(self, size: int) -> Tensor:
        """Place ``(1, S, S, 2)`` of each pixel in the original map for ``grid_sample``, computed once per size."""
        if size not in self._grids:
            middle = (size - 1) / 2
            place, splines = np.arange(size) - middle, _splines(size)
            turn = np.exp(1j * np.deg2rad(self.angle)) / self.zoom
            turns = ((turn.real, turn.imag), (-turn.imag, turn.real))
            bend = np.einsum("ri,dij->drj", size * splines, self.bend)  # unlike matmul, einsum uses a single thread
            source = np.einsum("drj,jc->drc", bend, np.ascontiguousarray(splines.T))
            for part, (by_row, by_column), shift in zip(source, turns, self.shift, strict=True):
                part += by_row * place[:, None] + (shift * size + middle)
                part += by_column * place
            self._grids[size] = torch.from_numpy(source[::-1] / middle - 1).float().permute(1, 2, 0)[None]
        return self._grids[size]


@cache
def _splines(size: int) -> NDArray[np.float64]:
    """Weights ``(S, NODES)`` of the nodes of a line for its pixels, in the interpolation by cubic splines."""
    place = np.linspace(0, NODES - 1, size)[None]
    lines = [ndimage.map_coordinates(node, place, order=3, mode="nearest") for node in np.eye(NODES)]
    return np.stack(lines, axis=1)


def draw_warp(seed: int, index: int) -> VesselWarp:
    """Draw the warp of sample ``index``, which depends only on (seed, index).

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
