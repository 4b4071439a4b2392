"""An eye of an evaluated set, real or synthetic: photograph, field of view, masks and patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Condition", "Extractor", "Eye", "Eyes", "Judge", "as_image", "as_mask"]

Judge = Callable[[Tensor, Tensor], Tensor]
"""Photographs (B, 3, H, W) in [-1, 1] and fields of view (B, 1, H, W) in {0, 1} -> vessels (B, 1, H, W) in [0, 1]."""

Extractor = Callable[[Tensor], Tensor]
"""Photographs (B, 3, H, W) in [-1, 1] -> features (B, D)."""


@dataclass(frozen=True)
class Condition:
    """The vessel map from which a synthetic photograph was made.

    Attributes:
        patient: patient of the map; ``phantom/...`` for a phantom.
        name: name of the real eye.
        augmented: whether the map was warped, so that no real photograph of it exists.
        latent: number of the noise sample, for networks that start from noise.
    """

    patient: str
    name: str
    augmented: bool = False
    latent: int = 0


@dataclass(frozen=True)
class Eye:
    """An eye of a set. All its images are cropped to the field of view, square and of one size.

    Attributes:
        name: name of the image.
        patient: patient of the eye; for a synthetic eye, the patient of its condition.
        dataset: data set of the eye; for a synthetic eye, the data set of its condition if known.
        image: (3, S, S), RGB.
        fov: (S, S).
        masks: key (``vessel``, ``disc``, ...) -> (S, S), covered share of each pixel, in [0, 1]. ``vessel`` is the
            label, in {0, 1}.
        split: ``training``, ``validation`` or ``test`` for a real eye; empty for a synthetic one.
        condition: condition of a synthetic eye, if the set records it.
        vessel_share: (S, S) in [0, 1], share of each pixel that is vessel. For a synthetic eye this is the input of
            its generator, if the set contains it.
    """

    name: str
    patient: str
    dataset: str
    image: NDArray[np.uint8]
    fov: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.float32]]
    split: str = ""
    condition: Condition | None = None
    vessel_share: NDArray[np.float32] | None = None


Eyes = Sequence[Eye]
"""Eyes that may be read on access: iterate once and keep no reference."""


def as_image(eye: Eye) -> Tensor:
    """(1, 3, S, S), float32 in [-1, 1]."""
    return torch.from_numpy(eye.image.astype(np.float32))[None] / 127.5 - 1


def as_mask(mask: NDArray[np.bool_] | NDArray[np.float32]) -> Tensor:
    """(1, 1, S, S), float32."""
    return torch.from_numpy(np.asarray(mask, np.float32))[None, None]
