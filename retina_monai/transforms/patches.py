"""Training patches of segmentation, augmented to imitate different cameras."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, conv2d, grid_sample, interpolate, pad

from retina_monai.settings import SIDE, WEIGHT, Number, Rule

__all__ = ["PhotographRanged", "RandCamerad", "RandPatchd"]

NEARLY_HALF = 1.6  # minimum downscaling at which pairs of pixels are averaged before sampling
WIDEST = 1.18  # maximum stretch of each axis, which shrinks the other by the same factor
RIM = 0.92  # maximum distance of a patch centre from the centre of the eye, relative to the radius
OFTEN, SOMETIMES, SELDOM = 0.8, 0.5, 0.3  # probabilities of changes in colour, sharpness and illumination
GAMMA, GAIN, HUE = 0.4, 0.4, 0.15  # ranges of the logarithms of gamma and gain, and standard deviation per channel
UNEVEN = 0.25  # standard deviation of the log illumination across the patch
SMALLEST = 8  # minimum side of a downsampled patch in pixels

SETTINGS: dict[str, Rule] = {
    "patch": SIDE,
    "smallest_eye": Number(0, open="low"),
    "largest_eye": Number(0, open="low"),
    "resolution_loss": Number(1),
    "blur": WEIGHT,
    "noise": WEIGHT,
}


class RandPatchd(Randomizable, MapTransform):
    """Crop a random patch of an eye, with random rotation, flip, scale and stretch.

    All of these are one resampling, so that the cost depends only on the size of the patch.

    Args:
        keys: keys of images ``(C, S, S)`` of the same size, cropped to a square around the field of view.
        patch: side length of the patch in pixels.
        diameters: minimum and maximum diameter of the field of view in pixels of the patch, drawn on a log scale.
        rotation: maximum angle in radians.
    """

    def __init__(self, keys: KeysCollection, patch: int, diameters: Sequence[float], rotation: float = np.pi) -> None:
        super().__init__(keys)
        self.patch = patch
        self.diameters = tuple(diameters)
        self.rotation = rotation

    def _draw(self) -> tuple[Tensor, float]:
        """Draw the affine map from patch to eye, and the diameter."""
        diameter = float(np.exp(self.R.uniform(*np.log(self.diameters))))
        share = min(self.patch / diameter, 1.0)
        angle, place = self.R.uniform(-np.pi, np.pi, 2) * (self.rotation / np.pi, 1.0)
        radius = RIM * np.sqrt(self.R.random()) * (1 - 0.6 * share)
        stretch = np.exp(self.R.uniform(-1, 1) * np.log(WIDEST))
        side = -1.0 if self.R.random() < SOMETIMES else 1.0
        across, down = self.patch / diameter * np.cos(angle), self.patch / diameter * np.sin(angle)
        theta = [
            [side * across * stretch, -down / stretch, radius * np.cos(place)],
            [side * down * stretch, across / stretch, radius * np.sin(place)],
        ]
        return torch.tensor(theta, dtype=torch.float32), diameter

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        theta, diameter = self._draw()
        for key in self.key_iterator(result):
            picture = torch.as_tensor(result[key]).as_subclass(torch.Tensor)
            near, place = _part_around(picture, theta)
            if picture.shape[-1] > NEARLY_HALF * diameter:
                near = avg_pool2d(near, 2)
            grid = affine_grid(place[None], [1, 1, self.patch, self.patch], align_corners=False)
            result[key] = grid_sample(near, grid, align_corners=False)[0]
        return result


class RandCamerad(Randomizable, MapTransform):
    """Randomly imitate another camera, eye or resolution.

    Gamma and gain of each channel, the illumination across the patch, the sharpness and the noise are changed in this
    order. The sharpness is changed either by downsampling and upsampling or by blurring.

    Args:
        keys: keys of the photographs ``(3, P, P)`` in [0, 255].
        resolution_loss: maximum downsampling factor per side.
        blur: maximum standard deviation of the blur in pixels.
        noise: maximum standard deviation of the noise, as a fraction of the full scale.
    """

    def __init__(
        self, keys: KeysCollection, resolution_loss: float = 3.0, blur: float = 1.5, noise: float = 0.03
    ) -> None:
        super().__init__(keys)
        self.resolution_loss = resolution_loss
        self.blur = blur
        self.noise = noise

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            light = (result[key] / 255).clamp(0, 1)
            for change in (self._colour, self._illumination, self._sharpness, self._grain):
                light = change(light)
            result[key] = light.clamp(0, 1) * 255
        return result

    def _colour(self, light: Tensor) -> Tensor:
        if self.R.random() < OFTEN:
            light = light ** self._per_channel(GAMMA, HUE)
        return light * self._per_channel(GAIN, HUE) if self.R.random() < OFTEN else light

    def _per_channel(self, common: float, each: float) -> Tensor:
        drawn = self.R.uniform(-common, common) + self.R.normal(0, each, (3, 1, 1))
        return torch.from_numpy(np.exp(drawn).astype(np.float32))

    def _illumination(self, light: Tensor) -> Tensor:
        if self.R.random() >= SELDOM:
            return light
        coarse = torch.from_numpy(self.R.normal(0, UNEVEN, (1, 1, 3, 3)).astype(np.float32))
        return light * interpolate(coarse, light.shape[-2:], mode="bicubic", align_corners=True)[0].exp()

    def _sharpness(self, light: Tensor) -> Tensor:
        if self.R.random() < SOMETIMES:
            return self._fewer_pixels(light)
        return _blur(light, self.R.uniform(0.3, self.blur)) if self.R.random() < SOMETIMES else light

    def _fewer_pixels(self, light: Tensor) -> Tensor:
        side = max(int(light.shape[-1] / self.R.uniform(1.0, self.resolution_loss)), SMALLEST)
        mode = "bicubic" if self.R.random() < SOMETIMES else "bilinear"
        few = interpolate(light[None], (side, side), mode="area")
        return interpolate(few, light.shape[-2:], mode=mode, align_corners=False)[0]

    def _grain(self, light: Tensor) -> Tensor:
        if self.R.random() >= SOMETIMES:
            return light
        grain = self.R.normal(0, self.R.uniform(0, self.noise), tuple(light.shape)).astype(np.float32)
        return light + torch.from_numpy(grain)


class PhotographRanged(MapTransform):
    """Scale photographs to [-1, 1], black outside the field of view, and binarise masks, as the network's input.

    Args:
        image_key: key of the photograph ``(3, H, W)`` in [0, 255].
        mask_key: key of the share of each pixel covered by the mask, ``(1, H, W)`` in [0, 255]. It becomes 1 from a
            half.
        fov_key: key of the field of view in the same format.
    """

    def __init__(self, image_key: str = "image", mask_key: str = "vessel", fov_key: str = "fov") -> None:
        super().__init__([image_key, mask_key, fov_key])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        image, mask, fov = (torch.as_tensor(result[key]).as_subclass(torch.Tensor).float() for key in self.keys)
        inside = (fov >= 127.5).float()
        values = (image * inside / 127.5 - 1, (mask >= 127.5).float() * inside, inside)
        return result | dict(zip(self.keys, values, strict=True))


def _part_around(picture: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Crop ``(C, S, S)`` to the surroundings of a patch, as float ``(1, C, h, w)``, and adapt the affine map."""
    size, place = picture.shape[-1], theta.clone()
    cuts = []
    for axis in (0, 1):
        middle, reach = float(theta[axis, 2]), float(theta[axis, :2].abs().sum())
        low, high = ((middle + side * reach + 1) / 2 * size for side in (-1, 1))
        start = min(max(int(low) // 2 * 2 - 4, 0), size - 2)
        stop = max(min(int(high) // 2 * 2 + 6, size), start + 2)
        cuts.append(slice(start, stop))
        place[axis] *= size / (stop - start)
        place[axis, 2] = ((middle + 1) * size - 2 * start) / (stop - start) - 1
    return picture[:, cuts[1], cuts[0]][None].float(), place


def _blur(picture: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of ``(C, H, W)`` up to four standard deviations, with replicated borders."""
    reach = int(np.ceil(4 * deviation))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.softmax(-0.5 * (at / deviation) ** 2, dim=0)
    padded = pad(picture[:, None], [reach] * 4, "replicate")
    return conv2d(conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])[:, 0]
