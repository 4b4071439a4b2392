"""Texture: what is fine in a photograph's background, which no vessel map determines, measured and drawn anew.

Sensor grain, nerve fibres, the choroid: a network that is trained against single photographs leaves them out, since
their mean is nothing, and who learns vessels from its photographs has never seen a dark streak that is none. So the
texture of training eyes is measured, and what a generated photograph lacks of it is drawn by a seed, as film grain is
in video (Norkin and Birkbeck, DCC 2018).

Measured is the power spectrum of the background, with the colours' cross-spectra, away from vessels and from the rim.
Drawn is the Gaussian texture of that spectrum (Galerne, Gousseau and Morel 2011, IEEE Transactions on Image Processing
20(1)), times a smooth amplitude: a Gaussian scale mixture (Wainwright and Simoncelli, NeurIPS 1999), which is stronger
in some places than in others, as in photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["Texture", "add_texture", "measure_texture"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Matrix = tuple[tuple[float, ...], ...]

RINGS = tuple(6 * 2 ** (half / 2) for half in range(11))  # cycles per picture: the corners of 256 pixels have 181
SMOOTH = 5.6  # width of the Gaussian that texture is finer than, in pixels of a picture of 256
PATCHES = 8.0  # of the one that a patch of strong texture has
RIM, WALLS = 5, 2  # pixels, of the same, that are no background: within the rim, around vessels
SPIKE = 3.0  # robust standard deviations, beyond which detail is no texture
MEDIAN = 0.6745  # of the absolute value of a standard normal number
TINY = 1e-12


@dataclass(frozen=True)
class Texture:
    """The texture of a photograph, or the mean of several.

    Attributes:
        covariances: of the channels R, G, B on the [-1, 1] scale, (3, 3) for each of ten bands of half an octave, from
            6 to 192 cycles per picture; their sum is the covariance of a pixel.
        patchiness: standard deviation of the logarithm of the amplitude; 0: equally strong everywhere.
    """

    covariances: tuple[Matrix, ...]
    patchiness: float


def measure_texture(image: Tensor, fov: Tensor, vessel: Tensor) -> Texture | None:
    """The spectrum of a photograph's background, and how unevenly it is spread.

    Args:
        image: ``(C, H, W)`` in [-1, 1]; a band is of the same part of the picture whatever its size.
        fov: ``(1, H, W)`` in {0, 1}.
        vessel: ``(1, H, W)`` in {0, 1}.

    Returns:
        The texture; ``None`` where nothing in the field of view is background.
    """
    background = _background(fov, vessel)
    if not background.any():
        return None
    detail = _detail(image.cpu().numpy().astype(np.float64), background)
    waves = np.fft.fft2(detail)
    products = np.einsum("ahw,bhw->abhw", waves, waves.conj()).real / (background.size * background.sum())
    covariances = tuple(_as_tuples(products[:, :, ring].sum(2)) for ring in _rings(background.shape))
    inside = detail[:, background]
    return Texture(covariances, _patchiness(np.abs(inside).mean(1) / np.sqrt((inside**2).mean(1) + TINY)))


def add_texture(image: Tensor, fov: Tensor, vessel: Tensor, texture: Texture, random: np.random.Generator) -> Tensor:
    """Draw what a photograph lacks of a texture; of a band in which it has more, nothing is taken away.

    Args:
        image: ``(C, H, W)`` in [-1, 1].
        fov: ``(1, H, W)`` in {0, 1}.
        vessel: ``(1, H, W)`` in {0, 1}.
        texture: of as many channels as the image.
        random: of the noise.

    Returns:
        ``(C, H, W)`` clipped to [-1, 1], outside of the field of view as it was; all of it where nothing is background.

    Raises:
        ValueError: the channels do not match.
    """
    if image.shape[0] != len(texture.covariances[0]):
        raise ValueError(f"a texture of {len(texture.covariances[0])} channels for an image of {image.shape[0]}")
    own = measure_texture(image, fov, vessel)
    if own is None:
        return image
    missing = np.subtract(texture.covariances, own.covariances)
    waves = np.fft.fft2(random.standard_normal(image.shape))
    drawn = np.zeros_like(waves)
    for covariance, ring in zip(missing, _rings(image.shape[1:]), strict=True):
        if count := ring.sum():
            drawn[:, ring] = np.sqrt(ring.size / count) * _root(covariance) @ waves[:, ring]
    noise = np.fft.ifft2(drawn).real * _amplitude(image.shape[1:], texture.patchiness, random)
    return torch.where(fov > 0, (image + torch.from_numpy(noise).to(image)).clamp(-1, 1), image)


def _background(fov: Tensor, vessel: Tensor) -> Mask:
    """What of the field of view (H, W) is neither near the rim nor near a vessel."""
    inside, drawn = (np.asarray(mask[0].cpu() > 0) for mask in (fov, vessel))
    scale = _scale(inside.shape)
    near = ndimage.binary_dilation(drawn, iterations=max(round(WALLS * scale), 1))
    background: Mask = ndimage.binary_erosion(inside, iterations=max(round(RIM * scale), 1)) & ~near
    return background


def _detail(image: Floats, background: Mask) -> Floats:
    """An image (C, H, W) less a smooth one, of the background alone; 0 elsewhere.

    What stands out is no texture: the edge of the disc and of lesions is clipped.
    """
    sigma = SMOOTH * _scale(background.shape)
    share = np.maximum(_blur(background[None].astype(np.float64), sigma), TINY)
    detail: Floats = (image - _blur(image * background, sigma) / share) * background
    deviation = np.median(np.abs(detail[:, background]), axis=1) / MEDIAN
    most = SPIKE * deviation[:, None, None]
    return detail.clip(-most, most)


@cache
def _rings(shape: tuple[int, ...]) -> tuple[Mask, ...]:
    """Which frequencies (H, W) of a Fourier transform are of each band; of a small picture, the finest have none."""
    cycles = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) * max(shape) for side in shape), indexing="ij"))
    return tuple((low <= cycles) & (cycles < high) for low, high in pairwise(RINGS))


def _patchiness(spread: Floats) -> float:
    """Of x = a g, with g normal and log a normal of standard deviation t: E|x| = sqrt(2 / pi) sqrt(E x^2) exp(-t^2/2).

    Args:
        spread: mean of abs(x) over the root of the mean of its square, channel by channel.
    """
    return float(np.sqrt(max(np.log(2 / np.pi) - 2 * np.log(max(spread.mean(), TINY)), 0.0)))


def _amplitude(shape: tuple[int, ...], patchiness: float, random: np.random.Generator) -> Floats:
    """A smooth field (H, W) whose squares have the mean 1 and whose logarithm has the standard deviation given."""
    width = PATCHES * _scale(shape)
    field = 2 * np.sqrt(np.pi) * width * _blur(random.standard_normal((1, *shape)), width)[0]
    amplitude: Floats = np.exp(patchiness * field - patchiness**2)
    return amplitude


def _root(covariance: Floats) -> Floats:
    """A matrix whose product with its transpose is what is positive of a symmetric one."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0))
    return root


def _blur(image: Floats, sigma: float) -> Floats:
    """With a Gaussian, channel by channel, across the edges of the picture."""
    blurred: Floats = ndimage.gaussian_filter(image, (0, sigma, sigma), mode="wrap", truncate=3)
    return blurred


def _scale(shape: tuple[int, ...]) -> float:
    return max(shape) / 256


def _as_tuples(matrix: Floats) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())
