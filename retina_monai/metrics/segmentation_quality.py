"""Pixel-wise agreement of a vessel map with the real one inside the field of view, per image.

Dice, sensitivity, specificity and accuracy of binary masks, and the area under the receiver operating characteristic
of probabilities: the usual figures for retinal vessels (Fraz et al., "Blood vessel segmentation methodologies in
retinal images: a survey", Comput Methods Programs Biomed 2012). Undefined values are NaN and are left out of means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from retina_monai.metrics.mean_metric import MeanMetric

__all__ = ["SegmentationQuality", "accuracy", "dice", "masks_inside", "roc_auc", "sensitivity", "specificity"]


def dice(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Dice coefficient of each image, ``2 TP / (2 TP + FP + FN)``: 1 for two empty masks, 0 if only one is empty.

    Source: Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945).

    Args:
        pred: ``(B, 1, H, W)`` in {0, 1}, of any type.
        target: as ``pred``.
        fov: as ``pred``; ``None`` for the whole image. Pixels outside are ignored.

    Returns:
        ``(B,)``, float32, in [0, 1].

    Raises:
        ValueError: the shapes differ, a mask has values other than 0 and 1, or the field of view is empty.

    Example:
        >>> dice(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[0, 1, 0, 0]]]]))
        tensor([0.6667])
    """
    tp, fp, fn, _ = _confusion(pred, target, fov)
    return torch.where(tp + fp + fn > 0, 2 * tp / (2 * tp + fp + fn), 1.0)


def sensitivity(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Share of real vessel pixels that are predicted, ``TP / (TP + FN)``: NaN if ``target`` has none.

    Args, returns and raises as :func:`dice`.
    """
    tp, _, fn, _ = _confusion(pred, target, fov)
    return tp / (tp + fn)


def specificity(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Share of real background pixels that are predicted, ``TN / (TN + FP)``: NaN if ``target`` has none.

    Args, returns and raises as :func:`dice`.
    """
    _, fp, _, tn = _confusion(pred, target, fov)
    return tn / (tn + fp)


def accuracy(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Share of correct pixels, ``(TP + TN) / (TP + FP + FN + TN)``.

    Args, returns and raises as :func:`dice`.
    """
    tp, fp, fn, tn = _confusion(pred, target, fov)
    return (tp + tn) / (tp + fp + fn + tn)


def roc_auc(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Exact area under the receiver operating characteristic of each image, over all thresholds.

    It is the probability that a vessel pixel has a higher value than a background pixel, where ties count half: the
    statistic of Mann and Whitney divided by the number of pairs (Hanley and McNeil, Radiology 143, 1982). It is NaN if
    ``target`` has only one class inside the field of view.

    Args:
        pred: ``(B, 1, H, W)``, probabilities in [0, 1].
        target: ``(B, 1, H, W)`` in {0, 1}.
        fov: as ``target``; ``None`` for the whole image.

    Returns:
        ``(B,)``, float32, in [0, 1]; 0.5 for a constant ``pred``.

    Raises:
        ValueError: as :func:`dice`; ``pred`` is outside [0, 1] or not finite.

    Example:
        >>> roc_auc(torch.tensor([[[[0.1, 0.4, 0.35, 0.8]]]]), torch.tensor([[[[0, 0, 1, 1]]]]))
        tensor([0.7500])
    """
    _check_probabilities(pred)
    inside, vessel = masks_inside(fov, target=target)
    if pred.shape != vessel.shape:
        raise ValueError(f"pred and target must have one shape, got {tuple(pred.shape)} and {tuple(vessel.shape)}")
    inside, vessel = inside.to(pred.device), vessel.to(pred.device)
    return torch.stack([_area_under(p[i], v[i]) for p, v, i in zip(pred, vessel, inside, strict=True)])


class SegmentationQuality(MeanMetric):
    """Mean over images of a metric of this module, for any Ignite or MONAI engine; see :class:`MeanMetric`.

    Args:
        metric: ``dice``, ``sensitivity``, ``specificity``, ``accuracy`` or ``roc_auc``, or a function of
            ``(pred, target, fov=None)`` that returns ``(B,)``, for which ``pred`` is not thresholded.
        threshold: for named metrics of binary masks, the lowest probability of a vessel.
        inside_fov: whether to measure only inside the field of view.
        target_key: key of the real mask ``(1, H, W)`` in {0, 1}.
        arguments: other arguments of :class:`MeanMetric`.

    Raises:
        ValueError: the name of the metric is unknown, or ``threshold`` is outside (0, 1].

    Example:
        >>> quality = SegmentationQuality("accuracy", threshold=0.4)
        >>> quality.update([{"pred": torch.full((1, 8, 8), 0.4), "vessel": torch.ones(1, 8, 8)}])
        >>> quality.compute()
        1.0
    """

    METRICS: ClassVar[Mapping[str, Callable[..., Tensor]]] = {
        "dice": dice,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": accuracy,
        "roc_auc": roc_auc,
    }

    def __init__(
        self,
        metric: str | Callable[..., Tensor],
        threshold: float = 0.5,
        inside_fov: bool = False,
        target_key: str = "vessel",
        **arguments: Any,
    ) -> None:
        measure = metric if callable(metric) else self._named(metric, threshold)
        super().__init__(measure, inside_fov, target_key=target_key, **arguments)

    def _named(self, name: str, threshold: float) -> Callable[..., Tensor]:
        if name not in self.METRICS:
            raise ValueError(f"metric must be one of {', '.join(self.METRICS)}, or a function, got {name!r}")
        check_threshold(threshold)
        measure = self.METRICS[name]
        return measure if measure is roc_auc else partial(_thresholded, measure, threshold)


def check_threshold(threshold: float) -> float:
    """Return ``threshold`` if it is a valid threshold of probabilities.

    Raises:
        ValueError: it is outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    return threshold


def binarize(pred: Tensor, threshold: float) -> Tensor:
    """Mask of the probabilities that reach the threshold.

    Raises:
        ValueError: ``pred`` is outside [0, 1] or not finite.
    """
    _check_probabilities(pred)
    return pred >= threshold


def masks_inside(fov: Tensor | None, **masks: Tensor) -> list[Tensor]:
    """The field of view and each mask inside it, all boolean and on one device.

    Args:
        fov: ``(B, 1, H, W)`` in {0, 1}; ``None`` for the whole image.
        masks: ``(B, 1, H, W)`` in {0, 1}, under their names in error messages.

    Raises:
        ValueError: as :func:`dice`.
    """
    first = next(iter(masks.values()))
    if first.ndim != 4 or first.shape[1] != 1 or any(mask.shape != first.shape for mask in masks.values()):
        shapes = " and ".join(str(tuple(mask.shape)) for mask in masks.values())
        raise ValueError(f"{' and '.join(masks)} must be (B, 1, H, W) of one shape, got {shapes}")
    inside = torch.ones_like(first, dtype=torch.bool) if fov is None else _boolean("fov", fov).to(first.device)
    if inside.shape != first.shape:
        raise ValueError(f"fov must be (B, 1, H, W) = {tuple(first.shape)}, got {tuple(inside.shape)}")
    if not inside.flatten(1).any(1).all():
        raise ValueError("fov is empty: give the mask of the field of view")
    return [inside, *(_boolean(name, mask).to(first.device) & inside for name, mask in masks.items())]


def _boolean(name: str, mask: Tensor) -> Tensor:
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{name} must be a mask of 0 and 1: apply a threshold first")
    return mask.bool()


def _check_probabilities(pred: Tensor) -> None:
    if not ((pred >= 0) & (pred <= 1)).all():
        raise ValueError("pred must be probabilities in [0, 1]: apply the sigmoid to logits")


def _thresholded(
    measure: Callable[..., Tensor], threshold: float, pred: Tensor, target: Tensor, fov: Tensor | None = None
) -> Tensor:
    return measure(binarize(pred, threshold), target, fov)


def _confusion(pred: Tensor, target: Tensor, fov: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Numbers of true positives, false positives, false negatives and true negatives of each image, ``(B,)`` each."""
    inside, found, real = masks_inside(fov, pred=pred, target=target)
    parts = (found & real, found & ~real, ~found & real, inside & ~found & ~real)
    tp, fp, fn, tn = (part.flatten(1).sum(1) for part in parts)
    return tp, fp, fn, tn


def _area_under(probability: Tensor, vessel: Tensor) -> Tensor:
    """Area for ``(N,)`` pixels, from integers: twice the number of won pairs over twice the number of pairs."""
    values, place = probability.unique(return_inverse=True)
    positive = place[vessel].bincount(minlength=len(values))
    negative = place[~vessel].bincount(minlength=len(values))
    won = (positive * (2 * negative.cumsum(0) - negative)).sum()
    return won / (2 * positive.sum() * negative.sum())
