"""How well a vessel map agrees with the real one, pixel by pixel inside the field of view, per image.

Dice, sensitivity, specificity and accuracy of binary masks, and the area under the receiver operating characteristic
of probabilities: the figures that the literature on retinal vessels reports (Fraz et al., "Blood vessel segmentation
methodologies in retinal images: a survey", Comput Methods Programs Biomed 2012). What is undefined is NaN, never a
made-up value, and the mean over images leaves it out.
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
    """Dice coefficient of each image, ``2 TP / (2 TP + FP + FN)``: 1 if both masks are empty, 0 if one of them is.

    Source: Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945).

    Args:
        pred: ``(B, 1, H, W)`` of {0, 1}, of any type.
        target: as ``pred``.
        fov: as ``pred``, or nothing for the whole image; what lies outside does not count.

    Returns:
        ``(B,)``, float32, in [0, 1].

    Raises:
        ValueError: shapes that differ, a mask that holds anything but 0 and 1, a field of view without a pixel.

    Example:
        >>> dice(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[0, 1, 0, 0]]]]))
        tensor([0.6667])
    """
    tp, fp, fn, _ = _confusion(pred, target, fov)
    return torch.where(tp + fp + fn > 0, 2 * tp / (2 * tp + fp + fn), 1.0)


def sensitivity(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Share of the real vessel pixels that were found, ``TP / (TP + FN)``: NaN if ``target`` has none.

    Args, returns and raises as :func:`dice`.
    """
    tp, _, fn, _ = _confusion(pred, target, fov)
    return tp / (tp + fn)


def specificity(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Share of the real background that was left alone, ``TN / (TN + FP)``: NaN if ``target`` has none.

    Args, returns and raises as :func:`dice`.
    """
    _, fp, _, tn = _confusion(pred, target, fov)
    return tn / (tn + fp)


def accuracy(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Share of the pixels that are right, ``(TP + TN) / (TP + FP + FN + TN)``.

    Args, returns and raises as :func:`dice`.
    """
    tp, fp, fn, tn = _confusion(pred, target, fov)
    return (tp + tn) / (tp + fp + fn + tn)


def roc_auc(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Area under the receiver operating characteristic of each image, exact: over all thresholds, not over a grid.

    It is the chance that a vessel pixel has a higher probability than one of the background, a tie counting half:
    the statistic of Mann and Whitney over the number of pairs (Hanley and McNeil, Radiology 143, 1982). NaN if
    ``target`` has only one class inside the field of view.

    Args:
        pred: ``(B, 1, H, W)``, probabilities in [0, 1].
        target: ``(B, 1, H, W)`` of {0, 1}.
        fov: as ``target``, or nothing for the whole image.

    Returns:
        ``(B,)``, float32, in [0, 1]; 0.5 for a constant ``pred``.

    Raises:
        ValueError: as :func:`dice`; a ``pred`` outside of [0, 1] or not finite.

    Example:
        >>> roc_auc(torch.tensor([[[[0.1, 0.4, 0.35, 0.8]]]]), torch.tensor([[[[0, 0, 1, 1]]]]))
        tensor([0.7500])
    """
    _check_probabilities(pred)
    inside, vessel = masks_inside(fov, target=target)
    if pred.shape != vessel.shape:
        raise ValueError(f"pred and target must have one shape, not {tuple(pred.shape)} and {tuple(vessel.shape)}")
    inside, vessel = inside.to(pred.device), vessel.to(pred.device)
    return torch.stack([_area_under(p[i], v[i]) for p, v, i in zip(pred, vessel, inside, strict=True)])


class SegmentationQuality(MeanMetric):
    """Mean over images of one of the metrics of this file, for any Ignite or MONAI engine; see :class:`MeanMetric`.

    Args:
        metric: ``dice``, ``sensitivity``, ``specificity``, ``accuracy`` or ``roc_auc``, or a function of
            ``(pred, target, fov=None)`` that gives ``(B,)`` and takes ``pred`` as it is.
        threshold: for the named metrics of binary masks: the probability from which on a pixel is a vessel.
        inside_fov: measure inside the field of view only.
        target_key: key of the real mask ``(1, H, W)`` of {0, 1}.
        arguments: those of :class:`MeanMetric` that are left.

    Raises:
        ValueError: an unknown name of a metric, a threshold outside of (0, 1].

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
            raise ValueError(f"metric must be one of {', '.join(self.METRICS)}, or a function, not {name!r}")
        check_threshold(threshold)
        measure = self.METRICS[name]
        return measure if measure is roc_auc else partial(_thresholded, measure, threshold)


def check_threshold(threshold: float) -> float:
    """A probability from which on a pixel is a vessel, as it is given.

    Raises:
        ValueError: it lies outside of (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], not {threshold}")
    return threshold


def binarize(pred: Tensor, threshold: float) -> Tensor:
    """Where probabilities reach the threshold.

    Raises:
        ValueError: a ``pred`` outside of [0, 1] or not finite.
    """
    _check_probabilities(pred)
    return pred >= threshold


def masks_inside(fov: Tensor | None, **masks: Tensor) -> list[Tensor]:
    """The field of view, everywhere if there is none, and then each mask cut to it: all boolean, on one device.

    Args:
        fov: ``(B, 1, H, W)`` of {0, 1}, or nothing for the whole image.
        masks: ``(B, 1, H, W)`` of {0, 1}, under the names that errors call them by.

    Raises:
        ValueError: as :func:`dice`.
    """
    first = next(iter(masks.values()))
    if first.ndim != 4 or first.shape[1] != 1 or any(mask.shape != first.shape for mask in masks.values()):
        shapes = " and ".join(str(tuple(mask.shape)) for mask in masks.values())
        raise ValueError(f"{' and '.join(masks)} must be (B, 1, H, W) of one shape, not {shapes}")
    inside = torch.ones_like(first, dtype=torch.bool) if fov is None else _boolean("fov", fov).to(first.device)
    if inside.shape != first.shape:
        raise ValueError(f"fov must be (B, 1, H, W) = {tuple(first.shape)}, not {tuple(inside.shape)}")
    if not inside.flatten(1).any(1).all():
        raise ValueError("fov is empty: give the mask of the field of view")
    return [inside, *(_boolean(name, mask).to(first.device) & inside for name, mask in masks.items())]


def _boolean(name: str, mask: Tensor) -> Tensor:
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{name} must hold 0 and 1 and nothing else: apply a threshold to what is not yet a mask")
    return mask.bool()


def _check_probabilities(pred: Tensor) -> None:
    if not ((pred >= 0) & (pred <= 1)).all():
        raise ValueError("pred must hold probabilities in [0, 1]: apply the sigmoid to logits")


def _thresholded(
    measure: Callable[..., Tensor], threshold: float, pred: Tensor, target: Tensor, fov: Tensor | None = None
) -> Tensor:
    return measure(binarize(pred, threshold), target, fov)


def _confusion(pred: Tensor, target: Tensor, fov: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True and false positives, false and true negatives: how many pixels of each image, ``(B,)`` each."""
    inside, found, real = masks_inside(fov, pred=pred, target=target)
    parts = (found & real, found & ~real, ~found & real, inside & ~found & ~real)
    tp, fp, fn, tn = (part.flatten(1).sum(1) for part in parts)
    return tp, fp, fn, tn


def _area_under(probability: Tensor, vessel: Tensor) -> Tensor:
    """Of ``(N,)`` pixels; in whole numbers, twice the pairs that are won, up to the one division."""
    values, place = probability.unique(return_inverse=True)
    positive = place[vessel].bincount(minlength=len(values))
    negative = place[~vessel].bincount(minlength=len(values))
    won = (positive * (2 * negative.cumsum(0) - negative)).sum()
    return won / (2 * positive.sum() * negative.sum())
