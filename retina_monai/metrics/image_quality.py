"""How near a generated photograph is to the real one: MSE, PSNR and SSIM, per image, over it all or inside its fov.

SSIM is that of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13 (2004), https://doi.org/10.1109/TIP.2003.819861.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.metrics.regression import compute_ssim_and_cs
from monai.utils import convert_to_tensor
from torch import Tensor

from retina_monai.errors import parse_switch

__all__ = ["ImageQuality", "mse", "psnr", "ssim"]

WINDOW = 11
SIGMA = 1.5
ROUNDING = 1e-3  # how far, relative to data_range, a span may exceed it (half precision rounds)


def mse(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Mean squared error of each image, over all pixels and channels, or over those inside the field of view.

    Args:
        pred: ``(B, C, H, W)``, finite; on the scale [-1, 1] wherever the project prints the figure.
        target: as ``pred``.
        fov: ``(B, 1, H, W)`` of {0, 1}, or nothing for the whole image.

    Returns:
        ``(B,)``, float32, at least 0.

    Raises:
        ValueError: shapes that differ, a value that is not finite, a field of view that is no mask or is empty.

    Example:
        >>> mse(torch.zeros(2, 3, 16, 16), torch.ones(2, 3, 16, 16))
        tensor([1., 1.])
    """
    pred, target, fov = _checked(pred, target, fov)
    return _mean((pred - target) ** 2, fov)


def psnr(pred: Tensor, target: Tensor, data_range: float, fov: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels: ``10 log10(data_range^2 / mse)``.

    Identical images have no noise: their value is ``inf``, and so is every mean that it enters.

    Args:
        pred: ``(B, C, H, W)``, finite, spanning at most ``data_range``.
        target: as ``pred``.
        data_range: distance between the darkest and the brightest possible value: 2.0 for [-1, 1].
        fov: ``(B, 1, H, W)`` of {0, 1}, or nothing for the whole image.

    Returns:
        ``(B,)``, float32.

    Raises:
        ValueError: as :func:`mse`; a ``data_range`` that is not positive or that the values exceed.

    Example:
        >>> psnr(torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.2), data_range=2.0)
        tensor([20.])
    """
    _check_range(pred, target, data_range)
    return 10 * torch.log10(data_range**2 / mse(pred, target, fov))


def ssim(pred: Tensor, target: Tensor, data_range: float, fov: Tensor | None = None) -> Tensor:
    """Structural similarity of each image: the mean of its SSIM map over pixels and channels.

    As published: Gaussian window of 11x11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, channel by channel. At the
    picture's border only windows that lie within it count, so a rim of 5 pixels has no value of its own (the
    convention of scikit-image and MONAI). Inside the field of view, the mean is over the map's pixels that lie in it;
    the windows of those near its border see what is beyond.

    Args:
        pred: ``(B, C, H, W)``, finite, spanning at most ``data_range``, at least 11 pixels high and wide.
        target: as ``pred``.
        data_range: distance between the darkest and the brightest possible value: 2.0 for [-1, 1].
        fov: ``(B, 1, H, W)`` of {0, 1}, or nothing for the whole image.

    Returns:
        ``(B,)``, float32, at most 1.

    Raises:
        ValueError: as :func:`psnr`; an image smaller than the window; a field of view within the rim alone.

    Example:
        >>> image = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16)
        >>> ssim(image, image, data_range=2.0)
        tensor([1.])
    """
    _check_range(pred, target, data_range)
    pred, target, fov = _checked(pred, target, fov)
    if min(pred.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, not {tuple(pred.shape[-2:])}")
    similarity, _ = compute_ssim_and_cs(
        pred, target, spatial_dims=2, kernel_size=(WINDOW, WINDOW), kernel_sigma=(SIGMA, SIGMA), data_range=data_range
    )
    rim = WINDOW // 2
    return _mean(similarity, None if fov is None else fov[..., rim:-rim, rim:-rim])


class ImageQuality(Metric):
    """Mean over images of :func:`mse`, :func:`psnr` or :func:`ssim`, for any Ignite or MONAI engine.

    It reads the list of dictionaries that MONAI's engines leave in ``state.output`` after decollation, and averages
    image by image, whatever the batch size and the number of processes. One infinite PSNR makes the mean infinite.

    Args:
        metric: ``mse``, ``psnr``, ``ssim``, or a function of ``(pred, target, fov=None)`` that gives ``(B,)``.
        data_range: for the named metrics: distance between the darkest and the brightest possible value.
        inside_fov: measure inside the field of view only.
        pred_key: key of the generated image ``(C, H, W)``.
        target_key: key of the real image ``(C, H, W)``.
        fov_key: key of the field of view ``(1, H, W)`` of {0, 1}; needed only with ``inside_fov``.
        output_transform: from ``state.output`` to the list of dictionaries.
        device: where the sum is kept.

    Raises:
        ValueError: an unknown name of a metric.
        KeyError: on update, a dictionary without one of the keys.
        NotComputableError: on compute, no image was seen.

    Example:
        >>> quality = ImageQuality("psnr", data_range=2.0)
        >>> quality.update([{"pred": torch.zeros(3, 16, 16), "image": torch.full((3, 16, 16), 0.2)}])
        >>> round(quality.compute(), 3)
        20.0
    """

    _state_dict_all_req_keys = ("_sum", "_count")

    def __init__(
        self,
        metric: str | Callable[..., Tensor],
        data_range: float = 2.0,
        inside_fov: bool = False,
        pred_key: str = "pred",
        target_key: str = "image",
        fov_key: str = "fov",
        output_transform: Callable[[Any], Any] = lambda output: output,
        device: str | torch.device = "cpu",
    ) -> None:
        self.measure = metric if callable(metric) else _named(metric, data_range)
        self.inside_fov = parse_switch(inside_fov, "inside_fov")
        self.pred_key, self.target_key, self.fov_key = pred_key, target_key, fov_key
        super().__init__(output_transform, device, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        self._sum = torch.zeros((), dtype=self._double_dtype, device=self._device)
        self._count = 0

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Take one dictionary per image."""
        for item in output:
            fov = _one(item, self.fov_key) if self.inside_fov else None
            value = self.measure(_one(item, self.pred_key), _one(item, self.target_key), fov=fov)
            self._sum += value.detach().sum().to(self._sum)
            self._count += 1

    @sync_all_reduce("_sum", "_count")
    def compute(self) -> float:
        """The mean over the images of all processes."""
        if self._count == 0:
            raise NotComputableError("ImageQuality has seen no image: update it at least once before compute")
        return float(self._sum) / self._count


def _named(name: str, data_range: float) -> Callable[..., Tensor]:
    metrics: dict[str, Callable[..., Tensor]]
    metrics = {"mse": mse, "psnr": partial(psnr, data_range=data_range), "ssim": partial(ssim, data_range=data_range)}
    if name not in metrics:
        raise ValueError(f"metric must be one of {', '.join(metrics)}, or a function, not {name!r}")
    return metrics[name]


def _one(item: Mapping[str, Any], key: str) -> Tensor:
    if key not in item:
        raise KeyError(f"ImageQuality finds no {key!r} in the engine's output, which has {sorted(item)}")
    tensor: Tensor = convert_to_tensor(item[key], track_meta=False)
    return tensor[None]


def _checked(pred: Tensor, target: Tensor, fov: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    if pred.ndim != 4 or pred.shape != target.shape:
        raise ValueError(
            f"pred and target must both be (B, C, H, W), not {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    for name, image in (("pred", pred), ("target", target)):
        if not image.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")
    return pred.float(), target.float(), None if fov is None else _checked_fov(fov, pred)


def _checked_fov(fov: Tensor, image: Tensor) -> Tensor:
    expected = (len(image), 1, *image.shape[-2:])
    if tuple(fov.shape) != expected:
        raise ValueError(f"fov must be (B, 1, H, W) = {expected}, not {tuple(fov.shape)}")
    if not ((fov == 0) | (fov == 1)).all():
        raise ValueError("fov must hold 0 and 1 and nothing else")
    return fov.to(image.device, torch.float32)


def _check_range(pred: Tensor, target: Tensor, data_range: float) -> None:
    if data_range <= 0:
        raise ValueError(f"data_range must be positive, not {data_range}")
    both = torch.stack([*torch.aminmax(pred.float()), *torch.aminmax(target.float())])
    if (span := float(both.max() - both.min())) > data_range * (1 + ROUNDING):
        raise ValueError(f"the values span {span:g}, more than the data_range {data_range:g}")


def _mean(values: Tensor, fov: Tensor | None) -> Tensor:
    if fov is None:
        return values.flatten(1).mean(1)
    area = fov.flatten(1).sum(1)
    if not area.all():
        raise ValueError("fov is empty where the metric is defined")
    return (values.mean(1, keepdim=True) * fov).flatten(1).sum(1) / area
