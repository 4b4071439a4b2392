"""Similarity of generated and real photographs: MAE, MSE, PSNR, SSIM, MS-SSIM and cosine, optionally inside the fov.

SSIM is that of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13 (2004), https://doi.org/10.1109/TIP.2003.819861.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from retina_monai.metrics.mean_metric import MeanMetric

__all__ = ["ImageQuality", "cosine_similarity", "mae", "ms_ssim", "mse", "psnr", "ssim"]

WINDOW = 11
SIGMA = 1.5
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik, section 3.2
ROUNDING = 1e-3  # relative tolerance of data_range for the rounding of half precision


def mae(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Mean absolute error (L1) of each image over all pixels and channels, or over those inside the field of view.

    Args:
        pred: ``(B, C, H, W)``, finite. All reported figures are on the scale [-1, 1].
        target: as ``pred``.
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image.

    Returns:
        ``(B,)``, float32, at least 0.

    Raises:
        ValueError: as :func:`mse`.

    Example:
        >>> mae(torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), -0.5))
        tensor([0.5000])
    """
    pred, target, fov = _checked(pred, target, fov)
    return _mean((pred - target).abs(), fov)


def mse(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Mean squared error of each image, over all pixels and channels, or over those inside the field of view.

    Args:
        pred: ``(B, C, H, W)``, finite. All reported figures are on the scale [-1, 1].
        target: as ``pred``.
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image.

    Returns:
        ``(B,)``, float32, at least 0.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the field of view is not a mask or is empty.

    Example:
        >>> mse(torch.zeros(2, 3, 16, 16), torch.ones(2, 3, 16, 16))
        tensor([1., 1.])
    """
    pred, target, fov = _checked(pred, target, fov)
    return _mean((pred - target) ** 2, fov)


def psnr(pred: Tensor, target: Tensor, data_range: float, fov: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels: ``10 log10(data_range^2 / mse)``.

    The value of identical images is ``inf``, and so is every mean that contains it.

    Args:
        pred: ``(B, C, H, W)``, finite, with a span of at most ``data_range``.
        target: as ``pred``.
        data_range: difference between the largest and the smallest possible value: 2.0 for [-1, 1].
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image.

    Returns:
        ``(B,)``, float32.

    Raises:
        ValueError: as :func:`mse`; ``data_range`` is not positive or smaller than the span of the values.

    Example:
        >>> psnr(torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.2), data_range=2.0)
        tensor([20.])
    """
    _check_range(pred, target, data_range)
    return 10 * torch.log10(data_range**2 / mse(pred, target, fov))


def ssim(pred: Tensor, target: Tensor, data_range: float, fov: Tensor | None = None) -> Tensor:
    """Structural similarity of each image: the mean of its SSIM map over pixels and channels.

    As published: Gaussian window of 11x11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, channel by channel. Only windows
    inside the image count, so the outer 5 pixels have no value (the convention of scikit-image and MONAI). With a field
    of view, the mean is over the pixels of the map inside it. The windows of pixels near its border extend beyond it.

    Args:
        pred: ``(B, C, H, W)``, finite, with a span of at most ``data_range``, at least 11 pixels high and wide.
        target: as ``pred``.
        data_range: difference between the largest and the smallest possible value: 2.0 for [-1, 1].
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image.

    Returns:
        ``(B,)``, float32, at most 1.

    Raises:
        ValueError: as :func:`psnr`; an image is smaller than the window; the field of view is only in the outer pixels.

    Example:
        >>> image = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16)
        >>> ssim(image, image, data_range=2.0)
        tensor([1.])
    """
    _check_range(pred, target, data_range)
    pred, target, fov = _checked(pred, target, fov)
    if min(pred.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, got {tuple(pred.shape[-2:])}")
    return _similarity(pred, target, data_range, fov)[0]


def ms_ssim(
    pred: Tensor,
    target: Tensor,
    data_range: float,
    fov: Tensor | None = None,
    weights: Sequence[float] = MS_WEIGHTS,
) -> Tensor:
    """Multi-scale structural similarity of each image: ``l_M^w_M prod_j cs_j^w_j``, where each scale halves the size.

    As published (Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", Asilomar
    2003, eq. 7, https://doi.org/10.1109/ACSSC.2003.1292216): contrast and structure at every scale, luminance at the
    coarsest only, each averaged over its map. Windows are those of :func:`ssim`, and scales are reduced by the mean of
    2x2 pixels. A negative mean, which has no real root, counts as 0 (as in MONAI and torchmetrics). A pixel of a coarse
    scale is in the field of view if all its original pixels are.

    Args:
        pred: ``(B, C, H, W)``, finite, with a span of at most ``data_range``. Five scales need at least 176 pixels in
            height and width, so that a window fits into the coarsest.
        target: as ``pred``.
        data_range: difference between the largest and the smallest possible value: 2.0 for [-1, 1].
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image.
        weights: weights of the scales, the finest first, each above 0; the published ones sum to 1.

    Returns:
        ``(B,)``, float32, in [0, 1].

    Raises:
        ValueError: as :func:`ssim`; the image or the field of view is too small for the scales; there are no weights or
            one is not above 0.

    Example:
        >>> image = torch.linspace(-1, 1, 176).expand(1, 3, 176, 176)
        >>> ms_ssim(image, image, data_range=2.0)
        tensor([1.])
    """
    _check_range(pred, target, data_range)
    pred, target, fov = _checked(pred, target, fov)
    _check_scales(pred, weights)
    result = pred.new_ones(len(pred))
    for scale, weight in enumerate(weights):
        if scale:
            pred, target = avg_pool2d(pred, 2), avg_pool2d(target, 2)
            fov = None if fov is None else -max_pool2d(-fov, 2)
        similarity, structure = _similarity(pred, target, data_range, fov)
        result = result * (similarity if scale == len(weights) - 1 else structure).clamp_min(0) ** weight
    return result


def cosine_similarity(pred: Tensor, target: Tensor, fov: Tensor | None = None, black: float = -1.0) -> Tensor:
    """Cosine of the angle between each image and the real one as vectors of all pixels and channels.

    The vectors are not centred: they start at black instead of their mean. A change of brightness by a factor therefore
    preserves the direction, and a change of colour does not. Since all photographs of eyes have a similar mean colour,
    values are near 1 and should be compared with those of another real eye. Source: Salton and McGill, "Introduction to
    Modern Information Retrieval" (1983), chapter 4.

    Args:
        pred: ``(B, C, H, W)``, finite, at least ``black``.
        target: as ``pred``.
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image. Pixels outside are ignored.
        black: value of a black pixel: -1.0 for [-1, 1].

    Returns:
        ``(B,)``, float32, in [0, 1]; NaN for a black image.

    Raises:
        ValueError: as :func:`mse`; a value is below ``black``.

    Example:
        >>> image = torch.rand(1, 3, 16, 16)
        >>> round(cosine_similarity(image, 0.5 * image, black=0.0).item(), 4)
        1.0
    """
    pred, target, fov = _checked(pred, target, fov)
    pred, target = pred - black, target - black
    if min(float(pred.min()), float(target.min())) < -ROUNDING:
        raise ValueError(f"values must be at least black ({black:g})")
    product, own, real = (_mean(values, fov) for values in (pred * target, pred**2, target**2))
    return (product / (own.sqrt() * real.sqrt())).clamp(0, 1)


class ImageQuality(MeanMetric):
    """Mean over images of a metric of this module, for any Ignite or MONAI engine; see :class:`MeanMetric`.

    A single infinite PSNR makes the mean infinite.

    Args:
        metric: ``mae``, ``mse``, ``psnr``, ``ssim``, ``ms_ssim`` or ``cosine_similarity``, or a function of
            ``(pred, target, fov=None)`` that returns ``(B,)``.
        data_range: for named metrics, the difference between the largest and the smallest possible value.
        inside_fov: whether to measure only inside the field of view.
        black: for ``cosine_similarity``, the value of a black pixel.
        arguments: other arguments of :class:`MeanMetric`.

    Raises:
        ValueError: the name of the metric is unknown.

    Example:
        >>> quality = ImageQuality("psnr", data_range=2.0)
        >>> quality.update([{"pred": torch.zeros(3, 16, 16), "image": torch.full((3, 16, 16), 0.2)}])
        >>> round(quality.compute(), 3)
        20.0
    """

    def __init__(
        self,
        metric: str | Callable[..., Tensor],
        data_range: float = 2.0,
        inside_fov: bool = False,
        black: float = -1.0,
        **arguments: Any,
    ) -> None:
        measure = metric if callable(metric) else _named(metric, data_range, black)
        super().__init__(measure, inside_fov, **arguments)


def _named(name: str, data_range: float, black: float) -> Callable[..., Tensor]:
    metrics: dict[str, Callable[..., Tensor]] = {
        "mae": mae,
        "mse": mse,
        "psnr": partial(psnr, data_range=data_range),
        "ssim": partial(ssim, data_range=data_range),
        "ms_ssim": partial(ms_ssim, data_range=data_range),
        "cosine_similarity": partial(cosine_similarity, black=black),
    }
    if name not in metrics:
        raise ValueError(f"metric must be one of {', '.join(metrics)}, or a function, got {name!r}")
    return metrics[name]


def _checked(pred: Tensor, target: Tensor, fov: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    if pred.ndim != 4 or pred.shape != target.shape:
        raise ValueError(
            f"pred and target must both be (B, C, H, W), got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    for name, image in (("pred", pred), ("target", target)):
        if not image.isfinite().all():
            raise ValueError(f"{name} must be finite: it has NaN or infinite values")
    return pred.float(), target.float(), None if fov is None else _checked_fov(fov, pred)


def _checked_fov(fov: Tensor, image: Tensor) -> Tensor:
    expected = (len(image), 1, *image.shape[-2:])
    if tuple(fov.shape) != expected:
        raise ValueError(f"fov must be (B, 1, H, W) = {expected}, got {tuple(fov.shape)}")
    if not ((fov == 0) | (fov == 1)).all():
        raise ValueError("fov must be a mask of 0 and 1")
    return fov.to(image.device, torch.float32)


def _check_range(pred: Tensor, target: Tensor, data_range: float) -> None:
    if data_range <= 0:
        raise ValueError(f"data_range must be positive, got {data_range}")
    both = torch.stack([*torch.aminmax(pred.float()), *torch.aminmax(target.float())])
    if (span := float(both.max() - both.min())) > data_range * (1 + ROUNDING):
        raise ValueError(f"the values span {span:g}, which exceeds data_range {data_range:g}")


def _mean(values: Tensor, fov: Tensor | None) -> Tensor:
    if fov is None:
        return values.flatten(1).mean(1)
    area = fov.flatten(1).sum(1)
    if not area.all():
        raise ValueError("fov is empty where the metric is defined")
    return (values.mean(1, keepdim=True) * fov).flatten(1).sum(1) / area


def _similarity(pred: Tensor, target: Tensor, data_range: float, fov: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means of the SSIM map and of its part without luminance, ``(B,)`` each."""
    maps = compute_ssim_and_cs(
        pred, target, spatial_dims=2, kernel_size=(WINDOW, WINDOW), kernel_sigma=(SIGMA, SIGMA), data_range=data_range
    )
    rim = WINDOW // 2
    inside = None if fov is None else fov[..., rim:-rim, rim:-rim]
    return _mean(maps[0], inside), _mean(maps[1], inside)


def _check_scales(image: Tensor, weights: Sequence[float]) -> None:
    if not weights or min(weights) <= 0:
        raise ValueError(f"weights must have a number above 0 for each scale, got {list(weights)}")
    least = WINDOW * 2 ** (len(weights) - 1)
    if min(image.shape[-2:]) < least:
        raise ValueError(
            f"MS-SSIM with {len(weights)} scales needs images of at least {least} x {least} pixels, got "
            f"{tuple(image.shape[-2:])}: give fewer weights, or use SSIM"
        )
