"""An eye of a set that is evaluated, real or synthetic: photograph, field of view, masks, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Condition", "Extractor", "Eye", "Eyes", "Judge", "as_image", "as_mask"]

Judge = Callable[[Tensor, Tensor], Tensor]
"""From photographs (B, 3, H, W) in [-1, 1] and fields of view (B, 1, H, W) of {0, 1} to (B, 1, H, W) in [0, 1]."""

Extractor = Callable[[Tensor], Tensor]
"""From photographs (B, 3, H, W) in [-1, 1] to features (B, D)."""


@dataclass(frozen=True)
class Condition:
    """What a synthetic photograph was made from.

    Attributes:
        patient: whose vessel map it was; a phantom's is ``phantom/...``.
        name: of the real eye.
        augmented: the map was warped before, so that no photograph of this very map exists.
        latent: tells the noise of a network that starts from noise.
    """

    patient: str
    name: str
    augmented: bool = False
    latent: int = 0


@dataclass(frozen=True)
class Eye:
    """An eye of a set, all pictures cropped to the field of view, square and of one size.

    Attributes:
        name: of the image.
        patient: whose it is; of a synthetic one, whose condition it was made from.
        dataset: the set that it belongs to; of a synthetic one, the set of its condition where that is known.
        image: (3, S, S), RGB.
        fov: (S, S).
        masks: key (``vessel``, ``disc``, ...) -> (S, S), share of each pixel that is covered, in [0, 1]; of ``vessel``
            the label, of {0, 1}.
        split: ``training``, ``validation`` or ``test`` for a real eye; empty for a synthetic one.
        condition: of a synthetic eye, where the set tells it.
        vessel_share: (S, S) in [0, 1], the share of each pixel that vessels cover; of a synthetic eye what its
            generator was given, where the set holds it.
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
"""Eyes that may be read when they are asked for: go through them once, and keep none."""


def as_image(eye: Eye) -> Tensor:
    """(1, 3, S, S), float32 in [-1, 1]."""
    return torch.from_numpy(eye.image.astype(np.float32))[None] / 127.5 - 1


def as_mask(mask: NDArray[np.bool_] | NDArray[np.float32]) -> Tensor:
    """(1, 1, S, S), float32."""
    return torch.from_numpy(np.asarray(mask, np.float32))[None, None]
