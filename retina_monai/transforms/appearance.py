"""Appearance: mean and deviation of each colour channel inside the field of view, and the texture of the background.

No vessel map determines them: they are the camera's and the eye's. Training photographs are brought to one canonical
appearance, so that the network spends nothing on guessing colours, and a generated photograph is given the appearance
that the user chooses. Matching channel statistics is Reinhard's colour transfer (Reinhard et al. 2001, IEEE Computer
Graphics and Applications 21(5), eq. 10 and 11), here in RGB and inside the field of view.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from retina_monai.masked_statistics import channel_statistics
from retina_monai.settings import Number, Rule
from retina_monai.transforms.texture import Texture, add_texture

__all__ = [
    "CANONICAL",
    "Appearance",
    "CanonicalAppearanced",
    "LikeAppearanced",
    "MatchAppearance",
    "apply_appearance",
    "measure_appearance",
    "render_appearance",
]

FLAT = 1e-4
GREENEST = 1.6  # green over red of a pixel that is not saturated, in those of the photograph's means
TINY = 1e-12  # keeps the gradient of the root of a flat picture's variance finite

SETTINGS: dict[str, Rule] = {
    "appearance_mean": Number(-1, 1, count=3),
    "appearance_std": Number(0, open="low", count=3),
}


@dataclass(frozen=True)
class Appearance:
    """Statistics of one photograph, or of a camera.

    Attributes:
        mean, std: per channel R, G, B on the [-1, 1] scale.
        texture: of the background; ``None``: not known, and none is drawn.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    texture: Texture | None = None


CANONICAL = Appearance(mean=(0.25, -0.5, -0.8), std=(0.28, 0.16, 0.08))
"""About the average of the training eyes of CHASE_DB1, HRF and FIVES: what the network itself draws."""


def measure_appearance(image: Tensor, fov: Tensor) -> Appearance:
    """Mean and (population) standard deviation of each channel inside the field of view.

    Args:
        image: ``(C, H, W)`` in [-1, 1].
        fov: ``(1, H, W)`` in {0, 1}.

    Raises:
        ValueError: the field of view is empty.
    """
    _refuse_empty(fov[None])
    mean, std = channel_statistics(image.float()[None], fov[None])
    return Appearance(tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()))


def apply_appearance(image: Tensor, fov: Tensor, appearance: Appearance) -> Tensor:
    """Give a photograph another appearance inside the field of view, and black (-1) outside of it.

    Args:
        image: ``(C, H, W)`` or ``(B, C, H, W)`` in [-1, 1].
        fov: ``(1, H, W)`` or ``(B, 1, H, W)`` in {0, 1}.
        appearance: of as many channels as the image.

    Returns:
        Of the image's shape, clipped to [-1, 1], red raised where it would lag behind green as in no fundus; up to
        these two its statistics are those of ``appearance``.

    Raises:
        ValueError: the field of view is empty, or the channels do not match.
    """
    if image.shape[-3] != len(appearance.mean):
        raise ValueError(f"an appearance of {len(appearance.mean)} channels for an image of {image.shape[-3]}")
    batch, inside = image.reshape(-1, *image.shape[-3:]), fov.reshape(-1, *fov.shape[-3:]).to(image.dtype)
    _refuse_empty(inside)
    matched = MatchAppearance(appearance.mean, appearance.std)(batch, inside).clamp(-1, 1)
    return _red_leads(matched, appearance).view_as(image)


def render_appearance(
    image: Tensor, fov: Tensor, vessel: Tensor, appearance: Appearance, random: np.random.Generator | None
) -> Tensor:
    """:func:`apply_appearance`, and then what the photograph lacks of the appearance's texture, drawn at random.

    Args:
        image: ``(C, H, W)`` in [-1, 1].
        fov: ``(1, H, W)`` in {0, 1}.
        vessel: ``(1, H, W)`` in {0, 1}, away from which textures are compared.
        appearance: of as many channels as the image.
        random: of the texture; ``None``: no texture.

    Returns:
        ``(C, H, W)`` in [-1, 1].

    Raises:
        ValueError: as :func:`apply_appearance`.
    """
    result = apply_appearance(image, fov, appearance)
    if random is None or appearance.texture is None:
        return result
    return add_texture(result, fov, vessel, appearance.texture, random)


class MatchAppearance:
    """The differentiable part of :func:`apply_appearance`, for losses: no clipping, and no look at a value.

    Args:
        mean, std: the appearance, per channel on the [-1, 1] scale.
    """

    def __init__(self, mean: Sequence[float] = CANONICAL.mean, std: Sequence[float] = CANONICAL.std) -> None:
        self.mean = torch.tensor(mean).view(1, -1, 1, 1)
        self.std = torch.tensor(std).view(1, -1, 1, 1)

    def __call__(self, image: Tensor, fov: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape: the statistics asked for inside ``(B, 1, H, W)``, -1 outside of it."""
        inside = fov.to(image.dtype)
        mean, std = channel_statistics(image, inside)
        result = (image - mean) / std.clamp_min(FLAT) * self.std.to(image) + self.mean.to(image)
        return result * inside + (inside - 1)


class CanonicalAppearanced(MapTransform):
    """Bring photographs to one appearance inside their field of view; black outside of it.

    Args:
        keys: images ``(C, H, W)`` in [-1, 1].
        fov_key: the field of view ``(1, H, W)`` in {0, 1}.
        mean, std: the appearance to bring them to, per channel on the [-1, 1] scale.
    """

    def __init__(
        self,
        keys: KeysCollection,
        fov_key: str = "fov",
        mean: tuple[float, ...] = CANONICAL.mean,
        std: tuple[float, ...] = CANONICAL.std,
    ) -> None:
        super().__init__(keys)
        self.fov_key = fov_key
        self.appearance = Appearance(tuple(mean), tuple(std))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = apply_appearance(result[key], result[self.fov_key], self.appearance)
        return result


class LikeAppearanced(MapTransform):
    """Give pictures the appearance of another picture of the same eye ("appearance given"); black outside.

    Args:
        keys: pictures ``(C, H, W)`` in [-1, 1].
        reference_key: the picture whose appearance they get.
        fov_key: the field of view ``(1, H, W)`` in {0, 1} of both.
    """

    def __init__(self, keys: KeysCollection, reference_key: str, fov_key: str = "fov") -> None:
        super().__init__(keys)
        self.reference_key = reference_key
        self.fov_key = fov_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        fov = result[self.fov_key]
        appearance = measure_appearance(result[self.reference_key], fov)
        for key in self.key_iterator(result):
            result[key] = apply_appearance(result[key], fov, appearance)
        return result


def _red_leads(image: Tensor, appearance: Appearance) -> Tensor:
    """Raise red where it lags: a disc that is bright in green is bright in red too, up to saturation.

    Channels are matched one by one, and what one camera saturates another does not: without this, discs turn green.
    Blood and pigment absorb green more than red. Relative to red, 0.1 % of the pixels of CHASE_DB1's training eyes,
    0.4 % of HRF's and 0.7 % of FIVES's are greener than ``GREENEST`` times their photograph, by more than 5 of 255.
    """
    if image.shape[1] != 3:
        return image
    red, green, blue = image.unbind(1)
    mean_red, mean_green = ((mean + 1) / 2 for mean in appearance.mean[:2])
    share = min(max(GREENEST * mean_green / max(mean_red, TINY), FLAT), 1.0)
    needed = torch.maximum((green + 1) / share - 1, green).clamp(max=1)
    return torch.stack([torch.maximum(red, needed), green, blue], dim=1)


def _refuse_empty(fov: Tensor) -> None:
    if bool((fov.flatten(1).sum(1) == 0).any()):
        raise ValueError("the field of view is empty: there is nothing to measure an appearance on")
