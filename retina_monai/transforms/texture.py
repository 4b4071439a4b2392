"""Texture: measure and synthesise the fine structure of a photograph's background, which no vessel map determines.

Sensor grain, nerve fibres and the choroid average out over photographs, so a network trained with a reconstruction loss
omits them. A segmentation network trained on its output then never sees dark streaks that are not vessels. Therefore
the texture of training eyes is measured, and the missing part is added to generated photographs as seeded noise, like
film grain in video (Norkin and Birkbeck, DCC 2018).

The measurement is the power spectrum of the background with the cross-spectra of the colours, away from vessels and
from the rim. The synthesis is the Gaussian texture of that spectrum (Galerne, Gousseau and Morel 2011, IEEE
Transactions on Image Processing 20(1)) times a smooth amplitude. The product is a Gaussian scale mixture (Wainwright
and Simoncelli, NeurIPS 1999), whose strength varies across the image as in photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage
from torch import Tensor

__all__ = ["Texture", "add_texture", "measure_texture"]

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
Matrix = tuple[tuple[float, ...], ...]

# Lengths are in pixels of an image of 256 x 256.
RINGS = tuple(6 * 2 ** (half / 2) for half in range(11))  # band edges in cycles per image; 256 pixels have up to 181
SMOOTH = 5.6  # sigma of the Gaussian that separates texture from coarser structure
PATCHES = 8.0  # sigma of the Gaussian that smooths the amplitude
RIM, WALLS = 5, 2  # widths inside the rim and around vessels that are not background
SPIKE = 3.0  # robust standard deviations at which texture is clipped
MEDIAN = 0.6745  # median of the absolute value of a standard normal variable
TINY = 1e-12


@dataclass(frozen=True)
class Texture:
    """The texture of a photograph, or the mean of several.

    Attributes:
        covariances: covariances ``(3, 3)`` of the channels R, G, B on the [-1, 1] scale, for each of ten bands of half
            an octave from 6 to 192 cycles per image. Their sum is the covariance of a pixel.
        patchiness: standard deviation of the log amplitude; 0 if the texture is equally strong everywhere.
    """

    covariances: tuple[Matrix, ...]
    patchiness: float


def measure_texture(image: Tensor, fov: Tensor, vessel: Tensor) -> Texture | None:
    """Measure spectrum and patchiness of a photograph's background.

    Args:
        image: photograph ``(C, H, W)`` in [-1, 1]. Bands are relative to its size.
        fov: field of view ``(1, H, W)`` in {0, 1}.
        vessel: vessel map ``(1, H, W)`` in {0, 1}.

    Returns:
        The texture, or ``None`` if there is no background in the field of view.
    """
    background = _background(fov, vessel)
    if not background.any():
        return None
    detail = _detail(image.cpu().numpy().astype(np.float32), background)
    bands = _bands(background.shape)
    pixels = np.count_nonzero(background)
    covariances = tuple(
        _as_tuples(np.einsum("in,jn,n->ij", waves, waves, times) / (background.size * pixels))
        for waves, times in zip(bands.split(fft.rfft2(detail)), bands.times, strict=True)
    )
    mean, square = np.abs(detail).sum((1, 2)) / pixels, (detail**2).sum((1, 2)) / pixels
    return Texture(covariances, _patchiness(mean / np.sqrt(square + TINY)))


def add_texture(image: Tensor, fov: Tensor, vessel: Tensor, texture: Texture, random: np.random.Generator) -> Tensor:
    """Add the part of a texture that a photograph lacks. Excess texture in a band is not removed.

    Args:
        image: photograph ``(C, H, W)`` in [-1, 1].
        fov: field of view ``(1, H, W)`` in {0, 1}.
        vessel: vessel map ``(1, H, W)`` in {0, 1}.
        texture: target texture with as many channels as the image.
        random: generator of the noise.

    Returns:
        Photograph ``(C, H, W)`` clipped to [-1, 1], unchanged outside the field of view, and entirely unchanged if
        there is no background.

    Raises:
        ValueError: if the numbers of channels differ.
    """
    if image.shape[0] != len(texture.covariances[0]):
        raise ValueError(f"a texture of {len(texture.covariances[0])} channels for an image of {image.shape[0]}")
    own = measure_texture(image, fov, vessel)
    if own is None:
        return image
    bands = _bands(image.shape[1:])
    white = bands.split(fft.rfft2(random.standard_normal(image.shape).astype(np.float32)))
    drawn = []
    for missing, waves, times in zip(
        np.subtract(texture.covariances, own.covariances), white, bands.times, strict=True
    ):
        root = _root(missing) * np.sqrt(2 * image[0].numel() / max(times.sum(), 1))  # times counts each wave twice
        drawn.append(np.einsum("ij,jn->in", root.astype(np.float32), waves))
    noise = fft.irfft2(bands.join(drawn), image.shape[1:]) * _amplitude(image.shape[1:], texture.patchiness, random)
    return torch.where(fov > 0, (image + torch.from_numpy(noise).to(image)).clamp(-1, 1), image)


def _background(fov: Tensor, vessel: Tensor) -> Mask:
    """The part ``(H, W)`` of the field of view away from the rim and from vessels."""
    inside, drawn = (np.asarray(mask[0].cpu() > 0) for mask in (fov, vessel))
    scale = _scale(inside.shape)
    near = ndimage.binary_dilation(drawn, iterations=max(round(WALLS * scale), 1))
    background: Mask = ndimage.binary_erosion(inside, iterations=max(round(RIM * scale), 1)) & ~near
    return background


def _detail(image: Floats, background: Mask) -> Floats:
    """High-pass filter an image ``(C, H, W)`` on the background; 0 elsewhere.

    Outliers, such as the edges of the disc and of lesions, are not texture and are clipped.
    """
    sigma = SMOOTH * _scale(background.shape)
    share = np.maximum(_blur(background[None].astype(np.float32), sigma), TINY)
    detail: Floats = (image - _blur(image * background, sigma) / share) * background
    deviation = np.median(np.abs(detail[:, background]), axis=1) / MEDIAN
    most = SPIKE * deviation[:, None, None]
    return detail.clip(-most, most)


class _Bands:
    """The frequencies of each band in the Fourier transform of a real image ``(C, H, W)``.

    Real and imaginary parts are separate values. Products use ``einsum``, which runs in a single thread: BLAS starts
    several, which slow down those of other samples.

    Attributes:
        times: for each band ``(2 N)``, how often its values occur in the full transform. The finest bands of small
            images are empty.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width // 2 + 1)
        cycles = np.hypot(*np.meshgrid(fft.fftfreq(height), fft.rfftfreq(width), indexing="ij")) * max(height, width)
        band = np.digitize(cycles.ravel(), RINGS)
        order = np.argsort(band, kind="stable")
        first, *self.ends, last = np.searchsorted(band[order], range(1, len(RINGS) + 1))
        self.order, self.ends = order[first:last], [end - first for end in self.ends]
        times = np.full(self.shape, 2, np.float32)
        times[:, 0] = 1
        times[:, width // 2 :] = 1 + width % 2
        self.times = [part.repeat(2) for part in np.split(times.ravel()[self.order], self.ends)]

    def split(self, waves: NDArray[np.complex64]) -> list[Floats]:
        """The values ``(C, 2 N)`` of each band in a transform ``(C, H, W // 2 + 1)``."""
        chosen = np.take(waves.reshape(len(waves), -1), self.order, axis=1)
        return [np.ascontiguousarray(part).view(np.float32) for part in np.split(chosen, self.ends, axis=1)]

    def join(self, parts: list[Floats]) -> NDArray[np.complex64]:
        """The transform with the given values. Frequencies outside all bands are 0."""
        chosen = np.concatenate(parts, axis=1).view(np.complex64)
        waves = np.zeros((len(chosen), *self.shape), np.complex64)
        waves.reshape(len(chosen), -1)[:, self.order] = chosen
        return waves


@cache
def _bands(shape: tuple[int, int]) -> _Bands:
    return _Bands(*shape)


def _patchiness(spread: Floats) -> float:
    """Estimate the standard deviation t of the log amplitude.

    For x = a g with g normal and log a normal, E|x| = sqrt(2 / pi) sqrt(E x^2) exp(-t^2/2).

    Args:
        spread: mean of abs(x) divided by the root mean square of x, per channel.
    """
    return float(np.sqrt(max(np.log(2 / np.pi) - 2 * np.log(max(spread.mean(), TINY)), 0.0)))


def _amplitude(shape: tuple[int, ...], patchiness: float, random: np.random.Generator) -> Floats:
    """A smooth random field ``(H, W)`` with mean square 1 and the given standard deviation of its logarithm."""
    width = PATCHES * _scale(shape)
    field = 2 * np.sqrt(np.pi) * width * _blur(random.standard_normal((1, *shape)).astype(np.float32), width)[0]
    amplitude: Floats = np.exp(patchiness * field - patchiness**2)
    return amplitude


def _root(covariance: Floats) -> Floats:
    """A square root of the positive semi-definite part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0))
    return root


def _blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of each channel with periodic borders."""
    shape = image.shape[1:]
    blurred: Floats = fft.irfft2(fft.rfft2(image) * _gaussian(shape, sigma), shape)
    return blurred


@cache
def _gaussian(shape: tuple[int, int], sigma: float) -> Floats:
    """A Gaussian filter ``(H, W // 2 + 1)`` for the Fourier transform of a real image."""
    height, width = (
        np.exp(-2 * (np.pi * sigma * place) ** 2) for place in (fft.fftfreq(shape[0]), fft.rfftfreq(shape[1]))
    )
    return np.asarray(np.outer(height, width), np.float32)


def _scale(shape: tuple[int, ...]) -> float:
    return max(shape) / 256


def _as_tuples(matrix: Floats) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())
