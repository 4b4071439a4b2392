"""Lay one photograph of an eye over another and say how well they agree: finds copies that were moved or recoloured.

Photographs are compared by their local contrast: what is left of the mean over the colours when the mean of each
pixel's surroundings is taken off and their standard deviation divided out, as in Jarrett, Kavukcuoglu, Ranzato and
LeCun, "What is the best multi-stage architecture for object recognition?", ICCV 2009. It hardly changes with
brightness, colour or illumination. It is taken twice: of the photograph, where vessels stand out (``whole``), and of
its grey closing, which fills in what is dark and narrow, so that the vessels are gone (``between``).

A placement is found in two steps. The first tries 280 turns, mirrorings and sizes at 25 shifts each on 40 x 40 pixels,
by one matrix product against all eyes at once. The second refines the best few as affine maps, from coarse to fine, by
the inverse compositional algorithm of Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004,
https://doi.org/10.1023/B:VISI.0000011205.11775.fd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

__all__ = ["SIDE", "Descriptor", "Gallery", "Match", "describe", "lay_over"]

SIDE = 256  # all photographs are compared at this many pixels a side, whatever they come in
RIM = 4  # pixels inside the field of view's border that are left out: its edge is no part of the eye
SMOOTH = 1.0  # sigma of what is too fine to survive a recompression
SURROUNDINGS = 8.0  # sigma of what counts as a pixel's surroundings
FAINT = 0.01  # standard deviation, in shares of white, below which contrast is noise and is not raised
CLOSING = 11  # side of the square that closes vessels: the widest are 10 pixels at this size
STEPS = 24  # of a contrast of 1 as it is stored, in 8 bits

COARSE = 40
SHIFTS = range(-4, 5, 2)  # pixels of COARSE: up to a tenth of the eye
TURNS = (-12, -8, -4, 0, 4, 8, 12)  # degrees, about each quarter turn
SIZES = (0.88, 0.94, 1.0, 1.06, 1.12)
PYRAMID = ((32, 8), (64, 8), (128, 6))  # pixels a side, and steps of refinement there
LEAST_OVERLAP = 0.5  # share of the field of view that both must show, for the agreement to count
CANDIDATES = 4  # eyes that are refined
ROWS = 1024  # of eyes in one matrix product


@dataclass(frozen=True)
class Descriptor:
    """What of a photograph is compared: 256 kB.

    Attributes:
        whole: local contrast, int8 (256, 256), in steps of 1/24.
        between: the same without vessels.
        inside: field of view less its rim, bool (256, 256).
        grey: mean over the colours, uint8 (256, 256).
    """

    whole: NDArray[np.int8]
    between: NDArray[np.int8]
    inside: NDArray[np.bool_]
    grey: NDArray[np.uint8]


@dataclass(frozen=True)
class Match:
    """One photograph laid over an eye of a gallery.

    Attributes:
        index: of the gallery's eye.
        whole: correlation of the local contrast where both are seen, in [-1, 1].
        between: the same for what lies between the vessels.
        placement: (2, 3): from the eye's coordinates (x, y, 1), in [-1, 1], to the photograph's.
    """

    index: int
    whole: float
    between: float
    placement: NDArray[np.float32]

    @property
    def score(self) -> float:
        """The copy score: the mean of both correlations. 1 for a copy; 0.25 or so for the nearest of other eyes."""
        return (self.whole + self.between) / 2


def describe(image: NDArray[np.uint8], fov: NDArray[np.bool_]) -> Descriptor:
    """What of a photograph is compared.

    Args:
        image: (3, S, S), RGB; brought to 256 pixels a side.
        fov: (S, S).

    Raises:
        ValueError: other shapes; a field of view without a pixel.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.shape[1] != image.shape[2] or fov.shape != image.shape[1:]:
        raise ValueError(f"image must be (3, S, S) and fov (S, S), not {image.shape} and {fov.shape}")
    if not fov.any():
        raise ValueError("the field of view is empty")
    grey = _resized(np.asarray(image, np.float32).mean(0) / 255)
    seen = _resized(np.asarray(fov, np.float32)) >= 0.5
    inside = ndimage.binary_erosion(np.pad(seen, 1), iterations=RIM)[1:-1, 1:-1]
    smooth = _gaussian(grey, SMOOTH)
    filled = np.where(seen, smooth, _gaussian(grey * seen, SURROUNDINGS) / _share(seen))
    closed = ndimage.grey_closing(filled, CLOSING)
    whole, between = (_local_contrast(picture, seen) * inside for picture in (smooth, closed))
    return Descriptor(_stored(whole), _stored(between), inside, np.rint(grey * 255).astype(np.uint8))


class Gallery:
    """Eyes among which the nearest to a photograph is looked for.

    Memory: 0.27 MB an eye. Time: some 0.1 s a photograph on one core, plus 0.5 ms for each eye of the gallery.

    Args:
        descriptors: of the eyes.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> eyes = [(255 * ndimage.zoom(rng.random((3, 32, 32)), (1, 4, 4), order=1)).astype(np.uint8) for _ in "ab"]
        >>> gallery = Gallery([describe(eye, np.ones((128, 128), bool)) for eye in eyes])
        >>> [match] = gallery.nearest(describe(eyes[1][:, :, ::-1], np.ones((128, 128), bool)), count=1)
        >>> match.index, match.score > 0.9
        (1, True)
    """

    def __init__(self, descriptors: Sequence[Descriptor] = ()) -> None:
        self.descriptors: list[Descriptor] = []
        self._coarse: list[Tensor] = []
        for descriptor in descriptors:
            self.add(descriptor)

    def __len__(self) -> int:
        return len(self.descriptors)

    def add(self, descriptor: Descriptor) -> None:
        """One eye more."""
        self.descriptors.append(descriptor)
        small = _reduced(_tensor(descriptor.whole), COARSE).flatten()
        self._coarse.append(small / small.norm().clamp_min(1e-6))

    def place(self, descriptor: Descriptor) -> tuple[Tensor, Tensor]:
        """The best of the coarse placements on each eye: their correlation (N,), and placements (N, 2, 3)."""
        if not self._coarse:
            return torch.zeros(0), torch.zeros(0, 2, 3)
        patches = _coarse_patches(_reduced(_tensor(descriptor.whole), COARSE))
        found = [
            (patches @ torch.stack(self._coarse[start : start + ROWS]).T).max(0) for start in range(0, len(self), ROWS)
        ]
        best = torch.cat([values for values, _ in found])
        return best, _coarse_placements()[torch.cat([places for _, places in found])]

    def nearest(
        self,
        descriptor: Descriptor,
        leave_out: NDArray[np.bool_] | None = None,
        count: int = CANDIDATES,
        placed: tuple[Tensor, Tensor] | None = None,
    ) -> list[Match]:
        """The eyes that a photograph is likeliest a copy of.

        Args:
            descriptor: of the photograph.
            leave_out: (N,), eyes that do not count (those of the same patient, say).
            count: how many eyes are refined.
            placed: what :meth:`place` gave, if it was asked before.

        Returns:
            At most ``count`` matches, the best copy score first; none where no eye is left.
        """
        best, placements = self.place(descriptor) if placed is None else placed
        if leave_out is not None:
            best = best.masked_fill(torch.from_numpy(leave_out), -math.inf)
        top = best.topk(min(count, int(torch.isfinite(best).sum()))).indices
        if not len(top):
            return []
        eyes = [self.descriptors[place] for place in top.tolist()]
        refined, whole, between = _refine(descriptor, eyes, placements[top])
        numbers = zip(top.tolist(), whole.tolist(), between.tolist(), refined.numpy(), strict=True)
        return sorted((Match(*values) for values in numbers), key=lambda match: -match.score)

    def pixels(self, descriptor: Descriptor, match: Match) -> tuple[Tensor, Tensor, Tensor]:
        """The photograph laid over its match, in grey and with the match's brightness and contrast.

        Returns:
            The photograph, the gallery's eye, both float32 (1, 1, 256, 256) in [0, 1], and where both are seen, {0, 1}.
        """
        eye = self.descriptors[match.index]
        placement = torch.from_numpy(match.placement)[None]
        seen = (_warped(_tensor(descriptor.inside), placement) * _tensor(eye.inside) > 0.99).float()
        target = _tensor(eye.grey) / 255
        moved = _warped(_tensor(descriptor.grey) / 255, placement)
        (mean, deviation), (aim, aimed) = _moments(moved, seen), _moments(target, seen)
        return ((moved - mean) * (aimed / deviation) + aim).clamp(0, 1) * seen, target * seen, seen


def lay_over(image: NDArray[np.uint8], match: Match) -> NDArray[np.uint8]:
    """A photograph (3, S, S) as it lies over its match, in its own colours: (3, S, S)."""
    planes = torch.from_numpy(np.asarray(image, np.float32))[:, None]
    placement = torch.from_numpy(match.placement)[None].expand(len(planes), -1, -1)
    return _warped(planes, placement)[:, 0].round().clamp(0, 255).numpy().astype(np.uint8)


def _resized(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    mode = "area" if len(picture) > SIDE else "bilinear"
    resized: NDArray[np.float32] = F.interpolate(_tensor(picture), (SIDE, SIDE), mode=mode)[0, 0].numpy()
    return resized


def _gaussian(picture: NDArray, sigma: float) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(np.asarray(picture, np.float32), sigma, mode="constant")
    return blurred


def _share(seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    return _gaussian(seen, SURROUNDINGS).clip(1e-3)


def _local_contrast(picture: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    share = _share(seen)
    difference = (picture - _gaussian(picture * seen, SURROUNDINGS) / share) * seen
    variance = _gaussian(difference**2, SURROUNDINGS) / share
    contrast: NDArray[np.float32] = difference / np.sqrt(variance + FAINT**2)
    return contrast


def _stored(contrast: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.rint(contrast * STEPS).clip(-127, 127).astype(np.int8)


def _tensor(picture: NDArray) -> Tensor:
    """(1, 1, H, W), float32."""
    return torch.from_numpy(np.asarray(picture, np.float32))[None, None]


def _reduced(pictures: Tensor, size: int) -> Tensor:
    return F.interpolate(pictures, (size, size), mode="area")


@cache
def _coarse_maps() -> Tensor:
    """Turns, mirrorings and sizes, (T, 2, 2)."""
    maps = []
    for mirror in (1.0, -1.0):
        for turn in (quarter + turn for quarter in (0, 90, 180, 270) for turn in TURNS):
            cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            rotation = torch.tensor([[cosine, -sine * mirror], [sine, cosine * mirror]])
            maps += [rotation * size for size in SIZES]
    return torch.stack(maps)


@cache
def _coarse_placements() -> Tensor:
    """(T * shifts, 2, 3), in the order of :func:`_coarse_patches`."""
    shifts = torch.tensor([(x, y) for y in SHIFTS for x in SHIFTS]) / (COARSE / 2)
    maps = _coarse_maps()
    offsets = torch.einsum("tij,sj->tsi", maps, shifts)
    return torch.cat([maps[:, None].expand(-1, len(shifts), -1, -1), offsets[..., None]], -1).flatten(0, 1)


@cache
def _coarse_grid() -> Tensor:
    """Where each coarse map looks, (T, P, P, 2), on a frame that holds every shift."""
    frame = COARSE + 2 * SHIFTS[-1]
    axis = (torch.arange(frame) + 0.5 - frame / 2) / (COARSE / 2)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    return torch.einsum("tij,hwj->thwi", _coarse_maps(), points)


def _coarse_patches(small: Tensor) -> Tensor:
    """The photograph in each coarse placement, of unit length: (T * shifts, COARSE ** 2)."""
    grid = _coarse_grid()
    moved = F.grid_sample(small.expand(len(grid), -1, -1, -1), grid, align_corners=False)[:, 0]
    patches = moved.unfold(1, COARSE, SHIFTS.step).unfold(2, COARSE, SHIFTS.step).reshape(-1, COARSE**2)
    return patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-6)


def _warped(pictures: Tensor, placement: Tensor) -> Tensor:
    size = (len(placement), 1, *pictures.shape[-2:])
    grid = F.affine_grid(placement, list(size), align_corners=False)
    return F.grid_sample(pictures.expand(len(placement), -1, -1, -1), grid, align_corners=False)


def _refine(photograph: Descriptor, eyes: Sequence[Descriptor], placement: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The refined placements, and both correlations there."""
    seen, views = _tensor(photograph.inside), torch.cat([_tensor(eye.inside) for eye in eyes])
    source, target = _tensor(photograph.whole) / STEPS, torch.cat([_tensor(eye.whole) for eye in eyes]) / STEPS
    for size, steps in PYRAMID:
        level = [_reduced(pictures, size) for pictures in (source, seen, target, views)]
        placement = _lucas_kanade(level[0], level[1], level[2], level[3], placement, steps)
    weight = _warped(seen, placement) * views
    area = torch.maximum(views.flatten(1).sum(1), seen.sum())
    counts = weight.flatten(1).sum(1) >= LEAST_OVERLAP * area
    whole = _correlation(_warped(source, placement), target, weight)
    closed = torch.cat([_tensor(eye.between) for eye in eyes])
    between = _correlation(_warped(_tensor(photograph.between), placement), closed, weight)
    return placement, whole * counts, between * counts


def _lucas_kanade(source: Tensor, seen: Tensor, target: Tensor, views: Tensor, start: Tensor, steps: int) -> Tensor:
    """Inverse compositional steps of least squares over affine maps, all eyes at once."""
    placement, jacobian = start, _steepest_descent(target)
    for _ in range(steps):
        weight = (_warped(seen, placement) * views).flatten(1)
        moved, aim = _warped(source, placement).flatten(1), target.flatten(1)
        gain = (weight * moved * aim).sum(1) / (weight * moved**2).sum(1).clamp_min(1e-6)
        error = weight * (gain.clamp(0.2, 5)[:, None] * moved - aim)
        hessian = torch.einsum("bin,bn,bjn->bij", jacobian, weight, jacobian)
        scale = hessian.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-6)
        damped = hessian + 1e-3 * scale[:, None, None] * torch.eye(6)
        step = torch.linalg.solve(damped, torch.einsum("bin,bn->bi", jacobian, error)).clamp(-0.1, 0.1)
        placement = _composed(placement, step)
    return placement


def _steepest_descent(target: Tensor) -> Tensor:
    """How the eye changes with each number of an affine map, (B, 6, pixels)."""
    size = target.shape[-1]
    down, right = (torch.gradient(target[:, 0], dim=axis)[0] * (size / 2) for axis in (1, 2))
    axis = (torch.arange(size) + 0.5) / (size / 2) - 1
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    return torch.stack([right * x, right * y, right, down * x, down * y, down], 1).flatten(2)


def _composed(placement: Tensor, step: Tensor) -> Tensor:
    """The placement after the inverse of a step."""
    last = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(len(step), 1, 3)
    moved = torch.eye(3)[:2] + step.view(-1, 2, 3)
    return (torch.cat([placement, last], 1) @ torch.linalg.inv(torch.cat([moved, last], 1)))[:, :2]


def _moments(pictures: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each picture, (B, 1, 1, 1)."""
    total = weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-6)
    mean = (pictures * weight).sum((1, 2, 3), keepdim=True) / total
    variance = ((pictures - mean) ** 2 * weight).sum((1, 2, 3), keepdim=True) / total
    return mean, variance.sqrt().clamp_min(1e-6)


def _correlation(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    (mean, deviation), (aim, aimed) = _moments(first, weight), _moments(second, weight)
    products = (first - mean) * (second - aim) / (deviation * aimed) * weight
    return products.sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1e-6)
