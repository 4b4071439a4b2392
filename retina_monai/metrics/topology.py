"""Topology of a vessel map compared with the real one: centreline Dice, Betti numbers and their errors.

Vessels are 8-connected and the background is 4-connected. Two lines that touch at a corner are therefore one, and no
background leaks through a diagonal vessel. Pixels outside the field of view are background, so a vessel that ends at
its border closes no loop there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize
from torch import Tensor

from retina_monai.metrics.segmentation_quality import SegmentationQuality, masks_inside

__all__ = ["TopologyQuality", "betti_0", "betti_0_error", "betti_1", "betti_1_error", "cldice"]

Mask = NDArray[np.bool_]

EIGHT = np.ones((3, 3), bool)
FOUR = ndimage.generate_binary_structure(2, 1)


def cldice(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Centreline Dice of each image: the harmonic mean of topology precision and topology sensitivity.

    Precision is the share of the predicted skeleton inside the real vessels, sensitivity the share of the real skeleton
    inside the predicted ones. The course of a vessel matters, its width hardly does. As for Dice, the value is 1 for
    two empty masks and 0 if only one is empty. Source: Shit, Paetzold et al., "clDice - a novel topology-preserving
    loss function for tubular structure segmentation", CVPR 2021, https://arxiv.org/abs/2003.07311, as the hard measure
    instead of the soft loss. Skeletons are those of Zhang and Suen (CACM 1984). They may leave the axis of a vessel at
    its ends by a pixel or two, so that the same vessel drawn thinner can lose their share.

    Args:
        pred: ``(B, 1, H, W)`` in {0, 1}, of any type.
        target: as ``pred``.
        fov: as ``pred``; ``None`` for the whole image. Masks are cropped to it before skeletonisation.

    Returns:
        ``(B,)``, float32, in [0, 1], on the device of ``pred``.

    Raises:
        ValueError: the shapes differ, a mask has values other than 0 and 1, or the field of view is empty.

    Example:
        >>> half, whole = torch.zeros(2, 1, 1, 9, 9)
        >>> half[..., 4, :4] = whole[..., 4, :8] = 1
        >>> cldice(half, whole)
        tensor([0.6667])
    """
    _, found, real = masks_inside(fov, pred=pred, target=target)
    values = [_cldice(p, r) for p, r in zip(_arrays(found), _arrays(real), strict=True)]
    return torch.tensor(values, dtype=torch.float32, device=pred.device)


def betti_0(mask: Tensor, fov: Tensor | None = None) -> Tensor:
    """Number of connected components (8-connectivity) of each mask.

    Args:
        mask: ``(B, 1, H, W)`` in {0, 1}, of any type.
        fov: as ``mask``; ``None`` for the whole image.

    Returns:
        ``(B,)``, int64, on the device of ``mask``; 0 for an empty mask.

    Raises:
        ValueError: as :func:`cldice`.

    Example:
        >>> betti_0(torch.tensor([[[[1, 0, 0], [0, 1, 0], [0, 0, 0]]]])), betti_0(torch.tensor([[[[1, 0, 1]]]]))
        (tensor([1]), tensor([2]))
    """
    return _each(_components, mask, fov)


def betti_1(mask: Tensor, fov: Tensor | None = None) -> Tensor:
    """Number of holes of each mask, that is loops of vessels: components of the background except the outer one.

    Args, returns and raises as :func:`betti_0`.

    Example:
        >>> betti_1(torch.tensor([[[[0, 1, 0], [1, 0, 1], [0, 1, 0]]]]))
        tensor([1])
    """
    return _each(_holes, mask, fov)


def betti_0_error(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Absolute difference of the numbers of components of predicted and real vessels, over the whole image.

    Betti errors were introduced by Hu, Li, Samaras and Chen, "Topology-preserving deep image segmentation", NeurIPS
    2019, https://arxiv.org/abs/1906.05404. Their figures are averages over random patches and not comparable with those
    of whole images. Components and holes are counted but not matched, so errors of opposite sign cancel.

    Args:
        pred: ``(B, 1, H, W)`` in {0, 1}, of any type.
        target: as ``pred``.
        fov: as ``pred``; ``None`` for the whole image.

    Returns:
        ``(B,)``, int64, at least 0, on the device of ``pred``.

    Raises:
        ValueError: as :func:`cldice`.
    """
    return _error(betti_0, pred, target, fov)


def betti_1_error(pred: Tensor, target: Tensor, fov: Tensor | None = None) -> Tensor:
    """Absolute difference of the numbers of holes of predicted and real vessels; otherwise as :func:`betti_0_error`."""
    return _error(betti_1, pred, target, fov)


class TopologyQuality(SegmentationQuality):
    """Mean over images of ``cldice``, ``betti_0_error`` or ``betti_1_error``; see :class:`SegmentationQuality`.

    Example:
        >>> quality = TopologyQuality("betti_0_error")
        >>> quality.update([{"pred": torch.tensor([[[0.9, 0.2, 0.9]]]), "vessel": torch.ones(1, 1, 3)}])
        >>> quality.compute()
        1.0
    """

    METRICS: ClassVar[Mapping[str, Callable[..., Tensor]]] = {
        "cldice": cldice,
        "betti_0_error": betti_0_error,
        "betti_1_error": betti_1_error,
    }


def _arrays(masks: Tensor) -> list[Mask]:
    return list(masks[:, 0].cpu().numpy())


def _cldice(pred: Mask, target: Mask) -> float:
    if not (pred.any() and target.any()):
        return float(pred.any() == target.any())
    precision = target[skeletonize(pred)].mean()
    recall = pred[skeletonize(target)].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _components(mask: Mask) -> int:
    return int(ndimage.label(mask, EIGHT)[1])


def _holes(mask: Mask) -> int:
    return int(ndimage.label(~np.pad(mask, 1), FOUR)[1]) - 1


def _each(count: Callable[[Mask], int], mask: Tensor, fov: Tensor | None) -> Tensor:
    _, cut = masks_inside(fov, mask=mask)
    return torch.tensor([count(array) for array in _arrays(cut)], dtype=torch.int64, device=mask.device)


def _error(number: Callable[..., Tensor], pred: Tensor, target: Tensor, fov: Tensor | None) -> Tensor:
    _, found, real = masks_inside(fov, pred=pred, target=target)
    return (number(found) - number(real)).abs()
