"""Detail of each size in a photograph: its power spectrum, averaged over directions.

The spectrum shows the blur of L1 training and the checkerboard of transposed convolutions, which PSNR hardly does.
Estimator: the windowed periodogram (Welch 1967, https://doi.org/10.1109/TAU.1967.1161901), averaged over rings of
frequencies as in Durall, Keuper and Keuper, "Watch your up-convolution", CVPR 2020, https://arxiv.org/abs/2003.01826.
It is differentiable and free of synchronisation with the host, so that it can be part of a loss.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "fov_taper",
    "frequencies",
    "log_spectral_distance",
    "radial_power_spectrum",
    "spectrum_ratio",
]

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
TAPER = 1 / 8  # half the side of the taper's square, in shorter sides of the image; narrower ones leak at steep spectra


def radial_power_spectrum(image: Tensor, fov: Tensor | None = None, bins: int | None = None) -> Tensor:
    """Power of an image's luminance in each ring of spatial frequencies, inside the field of view.

    The image is tapered to zero towards the border of the field of view (:func:`fov_taper`), so that the border does
    not leak into the spectrum, and its tapered mean is removed. Ring ``k`` contains the Fourier coefficients whose
    distance from the origin rounds to ``k`` cycles per shorter side, with ``k`` from 1 to Nyquist. The corners beyond
    are left out. The power is divided by that of the taper, so that white noise of variance ``v`` has the value ``v``
    in every ring, for any size of the image and its field of view.

    Args:
        image: ``(B, 3, H, W)``, converted to luminance (ITU-R BT.601), or ``(B, 1, H, W)``, of any scale; the power has
            its square. The computation is in float32, also under autocast. For the spectra of single channels, pass
            each as an image: ``image.flatten(0, 1)[:, None]``, ``fov.repeat_interleave(3, 0)``.
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image, whose border is then tapered.
        bins: number of bands of equal width into which rings are grouped; ``None`` for one per ring.

    Returns:
        ``(B, bins)``, float32, at least 0, in the order of :func:`frequencies`. NaN for an image whose field of view
        has no pixel inside the taper.

    Raises:
        ValueError: ``image`` is not ``(B, 1 or 3, H, W)``, ``fov`` has another shape, or ``bins`` is not from 1 to the
            number of rings.

    Example:
        >>> noise = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> radial_power_spectrum(noise, bins=2).mean(0).round(decimals=1)
        tensor([1., 1.])
    """
    luminance = _luminance(image)
    height, width = luminance.shape[-2:]
    bins = min(height, width) // 2 if bins is None else bins
    taper = fov_taper(luminance.new_ones(1, 1, height, width) if fov is None else _checked_fov(fov, image))[:, 0]
    mean = (taper * luminance).sum((-2, -1), keepdim=True) / taper.sum((-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(taper * (luminance - mean))
    power = (spectrum.real**2 + spectrum.imag**2) / taper.square().sum((-2, -1), keepdim=True)
    band, share = _bands(height, width, bins, power.device)
    total = power.new_zeros(len(power), bins + 1).index_add(1, band, power.flatten(1) * share)
    return total[:, :bins]


def frequencies(size: int, bins: int | None = None) -> Tensor:
    """Centre frequency of each band of :func:`radial_power_spectrum`.

    Args:
        size: shorter side of the image in pixels.
        bins: as in :func:`radial_power_spectrum`.

    Returns:
        ``(bins,)``, float32, cycles per pixel, rising, at most 0.5.

    Raises:
        ValueError: ``bins`` is not from 1 to the number of rings.

    Example:
        >>> frequencies(8)
        tensor([0.1250, 0.2500, 0.3750, 0.5000])
        >>> frequencies(8, bins=2)
        tensor([0.1875, 0.4375])
    """
    rings = torch.arange(1, size // 2 + 1)
    band = _band_of(rings, size // 2, size // 2 if bins is None else bins)
    return (torch.bincount(band, rings / size) / torch.bincount(band)).float()


def spectrum_ratio(generated: Tensor, real: Tensor) -> Tensor:
    """Mean spectrum of a generated set divided by that of a real one, at each frequency.

    Args:
        generated: ``(N, bins)`` from :func:`radial_power_spectrum`.
        real: ``(M, bins)``; the sets may be unpaired and of different sizes.

    Returns:
        ``(bins,)``: 1 if the sets agree, below 1 if the generated one is smoother.

    Raises:
        ValueError: the shapes differ, a set is empty, a value is not finite, or the real set has no power at some
            frequency.

    Example:
        >>> spectrum_ratio(torch.tensor([[2.0, 1.0], [2.0, 3.0]]), torch.tensor([[2.0, 4.0]]))
        tensor([1.0000, 0.5000])
    """
    if generated.ndim != 2 or real.ndim != 2 or generated.shape[1] != real.shape[1]:
        raise ValueError(f"the spectra must be (N, bins), got {tuple(generated.shape)} and {tuple(real.shape)}")
    above, below = generated.mean(0), real.mean(0)
    if not (above.isfinite().all() and below.isfinite().all() and (below > 0).all()):
        raise ValueError("the mean spectra must be finite and the real one above 0 at every frequency")
    return above / below


def log_spectral_distance(generated: Tensor, real: Tensor) -> Tensor:
    """Root mean square over frequencies of ``10 log10`` of :func:`spectrum_ratio`, in decibels.

    Source: Gray and Markel, "Distance measures for speech processing", IEEE Transactions on Acoustics, Speech, and
    Signal Processing 24 (1976), https://doi.org/10.1109/TASSP.1976.1162849.

    Args:
        generated: ``(N, bins)`` from :func:`radial_power_spectrum`.
        real: ``(M, bins)``; the sets may be unpaired and of different sizes.

    Returns:
        A scalar, at least 0; 3 if the generated set has half or twice the power everywhere.

    Raises:
        ValueError: as :func:`spectrum_ratio`; the generated set has no power at a frequency.

    Example:
        >>> log_spectral_distance(torch.tensor([[10.0, 1.0]]), torch.tensor([[1.0, 10.0]]))
        tensor(10.)
    """
    ratio = spectrum_ratio(generated, real)
    if not (ratio > 0).all():
        raise ValueError("the mean spectrum of the generated images must be above 0 at every frequency")
    return (10 * ratio.log10()).square().mean().sqrt()


@torch.no_grad()
def fov_taper(fov: Tensor) -> Tensor:
    """Window that is 1 inside the field of view and falls to 0 at its border along a raised cosine.

    The distance from the border is approximated by the share of the field of view in a square around each pixel. The
    share is one half at a straight border, where the window is 0, and 1 half a square further inside. Pixels beyond the
    image count as outside. Unlike a distance transform, this needs few operations on any device.

    Args:
        fov: ``(B, 1, H, W)`` in {0, 1}.

    Returns:
        ``(B, 1, H, W)``, float32 in [0, 1], 0 outside the field of view.

    Example:
        >>> fov_taper(torch.ones(1, 1, 8, 8))[0, 0, 4]
        tensor([0.2500, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 0.2500])
    """
    fov = fov.float()
    reach = max(1, round(min(fov.shape[-2:]) * TAPER))
    share = _share_of_window(_share_of_window(fov, reach).mT, reach).mT
    return fov * torch.sin(math.pi / 2 * (2 * share - 1).clamp(0, 1)) ** 2


def _share_of_window(values: Tensor, reach: int) -> Tensor:
    """Mean over ``2 * reach + 1`` neighbours along the last axis by running sums, ten times as fast as pooling."""
    side = 2 * reach + 1
    running = F.pad(values, (reach + 1, reach)).cumsum(-1)
    return (running[..., side:] - running[..., :-side]) / side


def _luminance(image: Tensor) -> Tensor:
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise ValueError(f"image must be (B, 1 or 3, H, W), got {tuple(image.shape)}")
    image = image.float()
    if image.shape[1] == 1:
        return image[:, 0]
    red, green, blue = image.unbind(1)
    return LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue


def _checked_fov(fov: Tensor, image: Tensor) -> Tensor:
    expected = (len(image), 1, *image.shape[-2:])
    if tuple(fov.shape) != expected:
        raise ValueError(f"fov must be (B, 1, H, W) = {expected}, got {tuple(fov.shape)}")
    return fov.to(image.device)


def _band_of(ring: Tensor, rings: int, bins: int) -> Tensor:
    if not 1 <= bins <= rings:
        raise ValueError(f"bins must be from 1 to {rings}, the number of rings, got {bins}")
    return (ring - 1) * bins // rings


@lru_cache(maxsize=16)
def _bands(height: int, width: int, bins: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Band of each coefficient of ``rfft2`` (``bins`` if it has none) and its share of the band's mean, both flat."""
    with torch.inference_mode(False):  # cached inference tensors could not be used in training
        size = min(height, width)
        radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
        ring = torch.round(radius * size).long()
        kept = (ring >= 1) & (ring <= size // 2)
        band = torch.where(kept, _band_of(ring, size // 2, bins), bins).flatten()
        column = torch.arange(width // 2 + 1)
        twice = 1.0 + ((column > 0) & (2 * column < width))  # coefficients whose mirror images are not in rfft2
        weight = twice.expand_as(ring).flatten()
        share = weight / torch.zeros(bins + 1).index_add(0, band, weight)[band]
        return band.to(device), share.to(device)
