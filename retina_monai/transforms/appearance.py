"""Appearance: channel means and standard deviations inside the field of view, and the texture of the background.

The appearance depends on camera and eye, not on the vessel map. Training photographs are converted to a canonical
appearance, so that the network spends no capacity on guessing colours. A generated photograph is converted to the
appearance that the user chooses. Matching channel statistics is the colour transfer of Reinhard et al. 2001 (IEEE
Computer Graphics and Applications 21(5), eq. 10 and 11), here in RGB and inside the field of view.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple
from torch import Tensor

from retina_monai.masked_statistics import channel_statistics
from retina_monai.settings import Number, Rule
from retina_monai.transforms.texture import Texture, add_texture

__all__ = [
    "CANONICAL",
    "Appearance",
    "AppearanceMapd",
    "CanonicalAppearanced",
    "LikeAppearanced",
    "MatchAppearance",
    "appearance_map",
    "apply_appearance",
    "measure_appearance",
    "render_appearance",
]

FLAT = 1e-4
GREENEST = 1.6  # maximum ratio of green to red in unsaturated pixels, relative to that of the photograph's means
TINY = 1e-12

SETTINGS: dict[str, Rule] = {
    "appearance_mean": Number(-1, 1, count=3),
    "appearance_std": Number(0, open="low", count=3),
}


@dataclass(frozen=True)
class Appearance:
    """Appearance of a photograph or of a camera.

    Attributes:
        mean, std: statistics per channel R, G, B on the [-1, 1] scale.
        texture: texture of the background, or ``None`` if it is unknown and none is added.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    texture: Texture | None = None


CANONICAL = Appearance(mean=(0.25, -0.5, -0.8), std=(0.28, 0.16, 0.08))
"""Appearance of the network's output, close to the average of the training eyes of CHASE_DB1, HRF and FIVES."""


def measure_appearance(image: Tensor, fov: Tensor) -> Appearance:
    """Measure mean and (population) standard deviation of each channel inside the field of view.

    Args:
        image: photograph ``(C, H, W)`` in [-1, 1].
        fov: field of view ``(1, H, W)`` in {0, 1}.

    Raises:
        ValueError: if the field of view is empty.
    """
    _check_not_empty(fov[None])
    mean, std = channel_statistics(image.float()[None], fov[None])
    return Appearance(tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()))


def apply_appearance(image: Tensor, fov: Tensor, appearance: Appearance) -> Tensor:
    """Convert a photograph to another appearance inside the field of view, and set the outside to black (-1).

    Args:
        image: photographs ``(C, H, W)`` or ``(B, C, H, W)`` in [-1, 1].
        fov: fields of view ``(1, H, W)`` or ``(B, 1, H, W)`` in {0, 1}.
        appearance: appearance with as many channels as the image.

    Returns:
        Images of the same shape with the statistics of ``appearance``, apart from two corrections: values are clipped
        to [-1, 1], and red is raised where its ratio to green is too low for a fundus.

    Raises:
        ValueError: if the field of view is empty or the numbers of channels differ.
    """
    if image.shape[-3] != len(appearance.mean):
        raise ValueError(f"an appearance of {len(appearance.mean)} channels for an image of {image.shape[-3]}")
    batch, inside = image.reshape(-1, *image.shape[-3:]), fov.reshape(-1, *fov.shape[-3:]).to(image.dtype)
    _check_not_empty(inside)
    matched = MatchAppearance(appearance.mean, appearance.std)(batch, inside).clamp(-1, 1)
    return _red_leads(matched, appearance).view_as(image)


def render_appearance(
    image: Tensor, fov: Tensor, vessel: Tensor, appearance: Appearance, random: np.random.Generator | None
) -> Tensor:
    """Apply an appearance by :func:`apply_appearance` and add its texture by :func:`add_texture`.

    Args:
        image: photograph ``(C, H, W)`` in [-1, 1].
        fov: field of view ``(1, H, W)`` in {0, 1}.
        vessel: vessel map ``(1, H, W)`` in {0, 1}, which is excluded when textures are compared.
        appearance: appearance with as many channels as the image.
        random: generator of the texture, or ``None`` to add no texture.

    Returns:
        Photograph ``(C, H, W)`` in [-1, 1].

    Raises:
        ValueError: as :func:`apply_appearance`.
    """
    result = apply_appearance(image, fov, appearance)
    if random is None or appearance.texture is None:
        return result
    return add_texture(result, fov, vessel, appearance.texture, random)


def appearance_map(appearance: Appearance, size: int) -> Tensor:
    """An appearance as a condition of networks: a picture of its mean colour.

    Returns:
        ``(3, size, size)`` in [-1, 1].
    """
    return torch.tensor(appearance.mean).view(-1, 1, 1).expand(-1, size, size).contiguous()


class MatchAppearance:
    """The differentiable part of :func:`apply_appearance`, for losses, without clipping and validation.

    Args:
        mean, std: target statistics per channel on the [-1, 1] scale.
    """

    def __init__(self, mean: Sequence[float] = CANONICAL.mean, std: Sequence[float] = CANONICAL.std) -> None:
        self.mean = torch.tensor(mean).view(1, -1, 1, 1)
        self.std = torch.tensor(std).view(1, -1, 1, 1)

    def __call__(self, image: Tensor, fov: Tensor) -> Tensor:
        """Match the statistics of ``(B, C, H, W)`` inside the field of view ``(B, 1, H, W)``, and set -1 outside."""
        inside = fov.to(image.dtype)
        mean, std = channel_statistics(image, inside)
        result = (image - mean) / std.clamp_min(FLAT) * self.std.to(image) + self.mean.to(image)
        return result * inside + (inside - 1)


class CanonicalAppearanced(MapTransform):
    """Convert photographs to one appearance inside the field of view, and set the outside to black.

    Args:
        keys: keys of the photographs ``(C, H, W)`` in [-1, 1].
        fov_key: key of the field of view ``(1, H, W)`` in {0, 1}.
        mean, std: target statistics per channel on the [-1, 1] scale.
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


class AppearanceMapd(MapTransform):
    """Measure the appearance of photographs, for networks that take it as a condition.

    Args:
        keys: keys of the photographs ``(3, H, W)`` in [-1, 1].
        names: keys of their appearance maps (:func:`appearance_map`).
        fov_key: key of the field of view ``(1, H, W)`` in {0, 1}.
    """

    def __init__(self, keys: KeysCollection, names: KeysCollection, fov_key: str = "fov") -> None:
        super().__init__(keys)
        self.names = ensure_tuple(names)
        self.fov_key = fov_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, name in self.key_iterator(result, self.names):
            appearance = measure_appearance(result[key], result[self.fov_key])
            result[name] = appearance_map(appearance, result[key].shape[-1])
        return result


class LikeAppearanced(MapTransform):
    """Convert images to the appearance of a reference image of the same eye, and set the outside to black.

    Args:
        keys: keys of the images ``(C, H, W)`` in [-1, 1].
        reference_key: key of the reference image.
        fov_key: key of their common field of view ``(1, H, W)`` in {0, 1}.
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
    """Raise red where it is too low relative to green, up to saturation.

    Channels are matched independently, and cameras saturate at different levels. Without this correction, optic discs
    turn green. Real pixels are rarely that green, since blood and pigment absorb green more than red: only 0.1 % of the
    pixels of CHASE_DB1's training eyes, 0.4 % of HRF's and 0.7 % of FIVES's exceed ``GREENEST`` times the ratio of
    green to red of their photograph by more than 5 of 255.
    """
    if image.shape[1] != 3:
        return image
    red, green, blue = image.unbind(1)
    mean_red, mean_green = ((mean + 1) / 2 for mean in appearance.mean[:2])
    share = min(max(GREENEST * mean_green / max(mean_red, TINY), FLAT), 1.0)
    needed = torch.maximum((green + 1) / share - 1, green).clamp(max=1)
    return torch.stack([torch.maximum(red, needed), green, blue], dim=1)


def _check_not_empty(fov: Tensor) -> None:
    if bool((fov.flatten(1).sum(1) == 0).any()):
        raise ValueError("the field of view is empty: there is nothing to measure an appearance on")
