"""Training tasks of the retina encoder: randomly transformed and degraded views of an eye, and their targets.

Unknown targets are NaN, such as the position of the disc in a photograph without a disc mask.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, Transform
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample, interpolate

from retina_monai.kinds import LESIONS
from retina_monai.settings import SHARE, Rule
from retina_monai.transforms.degradation import degrade, erase, shift_colour

__all__ = ["STRUCTURES", "TRAITS", "DetectedStructuresd", "EncoderTargetsd", "RandDegradedEyed", "RandViewd"]

STRUCTURES = ("vessel", "disc", "atrophy", *LESIONS)
"""Structures that the encoder learns to locate, in the order of its maps."""

DONE = ("blur", "noise", "pattern", "erased", "vessels", "disc")
LIGHT = ("red", "green", "blue", "red_spread", "green_spread", "blue_spread", "tilt_right", "tilt_down")
PLACE = ("disc_right", "disc_down", "grade")
TRAITS = (*DONE, *LIGHT, *PLACE)
"""Targets of the whole photograph: strengths of its degradations, its illumination and colours, and its anatomy."""

CHANCE = 0.35  # probability of each degradation
UNTOUCHED = 0.3  # probability that a photograph is not degraded
FAINT = 1.5  # exponent of a uniform strength, which makes weak degradations more frequent than strong ones
GAIN, HUE = 0.5, 0.35  # maximum change of the log intensity, of all channels together and of each
MOST_GRADE = 4

SETTINGS: dict[str, Rule] = {
    "turned": SHARE,
}


class RandViewd(Randomizable, MapTransform):
    """Apply the same random flip, rotation and zoom to all images of an eye, whatever their sizes.

    Args:
        keys: keys of square images ``(C, H, W)``.
        horizontal_flip: probability of a horizontal flip.
        rotation: maximum angle in radians.
        zoom: maximum zoom; 0.2 enlarges by a fifth around the centre.
        turned: probability of rotation and zoom.
    """

    def __init__(
        self, keys: KeysCollection, horizontal_flip: float, rotation: float, zoom: float, turned: float
    ) -> None:
        super().__init__(keys)
        self.horizontal_flip, self.rotation, self.zoom, self.turned = horizontal_flip, rotation, zoom, turned

    def _draw(self) -> Tensor:
        angle, shrink = self.R.uniform(-self.rotation, self.rotation), 1 / (1 + self.R.uniform(0, self.zoom))
        across, down = shrink * np.cos(angle), shrink * np.sin(angle)
        return torch.tensor([[[across, -down, 0.0], [down, across, 0.0]]], dtype=torch.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        mirrored, turned = self.R.random() < self.horizontal_flip, self.R.random() < self.turned
        theta = self._draw() if turned else None
        for key in self.key_iterator(result):
            picture = _plain(result[key])
            picture = picture.flip(-1) if mirrored else picture
            result[key] = picture if theta is None else _turn(picture, theta)
        return result


def _turn(picture: Tensor, theta: Tensor) -> Tensor:
    grid = affine_grid(theta, [1, *picture.shape], align_corners=False)
    return grid_sample(picture[None].float(), grid, padding_mode="zeros", align_corners=False)[0]


class RandDegradedEyed(Randomizable, MapTransform):
    """Randomly combine degradations of a photograph, and leave some photographs unchanged.

    Illumination and colours are changed as well. The strengths of blur, noise, checkerboard, an erased patch, faded
    vessels and a faded disc are recorded as targets. Erased structures are removed from the masks.

    Args:
        image_key: key of the photograph ``(3, S, S)`` in [-1, 1].
        fov_key: key of the field of view ``(1, S, S)`` in {0, 1}.
        anatomy_key: key of the masks of ``STRUCTURES``, ``(K, M, M)`` in [0, 255] with ``M`` at most ``S``.
        known_key: key of ``(K,)``, which of the masks are known.

    Returns:
        The sample with photograph and masks replaced, and with ``spoilt``, the strengths ``(len(DONE),)`` in [0, 1],
        and ``plain``, a Boolean scalar, whether the photograph is unchanged.
    """

    def __init__(
        self,
        image_key: str = "image",
        fov_key: str = "fov",
        anatomy_key: str = "anatomy",
        known_key: str = "known",
    ) -> None:
        super().__init__([image_key, fov_key, anatomy_key, known_key])

    def _draw(self) -> tuple[dict[str, float], np.random.Generator]:
        drawn = {name: self.R.random() ** FAINT * (self.R.random() < CHANCE) for name in DONE}
        touched = self.R.random() >= UNTOUCHED
        generator = np.random.default_rng(int(self.R.randint(2**31)))
        return {name: strength for name, strength in drawn.items() if touched}, generator

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        image, fov, anatomy, known = (_plain(result[key]) for key in self.keys)
        drawn, generator = self._draw()
        strengths = dict.fromkeys(DONE, 0.0) | drawn
        anatomy = anatomy.float()
        image = _relight(image, fov, generator) if drawn else image
        for name in ("vessels", "disc"):
            image, anatomy = self._fade(image, fov, anatomy, known, name, strengths)
        image, anatomy, strengths["erased"] = _erase_patch(image, fov, anatomy, strengths["erased"], generator)
        for name in ("pattern", "blur", "noise"):
            image = degrade(image, fov, name, strengths[name], generator=generator)
        targets = {"spoilt": torch.tensor([strengths[name] for name in DONE]), "plain": torch.tensor(not drawn)}
        return result | {str(self.keys[0]): image, str(self.keys[2]): anatomy, **targets}

    def _fade(
        self, image: Tensor, fov: Tensor, anatomy: Tensor, known: Tensor, name: str, strengths: dict[str, float]
    ) -> tuple[Tensor, Tensor]:
        """Fade vessels or the disc out of the photograph and of the masks, if their mask is known.

        With the disc, other structures at the same place fade as well.
        """
        place = STRUCTURES.index({"vessels": "vessel"}.get(name, name))
        if not known[place] or not anatomy[place].any():
            strengths[name] = 0.0
            return image, anatomy
        mask = interpolate(anatomy[None, place : place + 1] / 255, image.shape[-2:], mode="bilinear")[0]
        image = degrade(image, fov, name, strengths[name], {"vessel": mask, "disc": mask})
        gone = anatomy[place : place + 1] / 255 if name == "disc" else torch.zeros_like(anatomy[:1])
        anatomy = anatomy * (1 - strengths[name] * gone)
        if name == "vessels":
            anatomy = torch.cat([anatomy[:place], (1 - strengths[name]) * anatomy[place, None], anatomy[place + 1 :]])
        return image, anatomy


class EncoderTargetsd(MapTransform):
    """Compute the targets of the encoder from a degraded photograph and its masks.

    Args:
        cells: number of grid cells per side in which structures are located.
        image_key, fov_key, anatomy_key, known_key: see :class:`RandDegradedEyed`.

    Returns:
        The sample with ``maps`` ``(K, cells, cells)`` in [0, 1], the square root of the share of each cell that a
        structure covers, and ``traits`` ``(len(TRAITS),)``. Unknown values are NaN. Field of view, masks, ``known``,
        ``spoilt`` and ``grade`` are removed.
    """

    def __init__(
        self,
        cells: int,
        image_key: str = "image",
        fov_key: str = "fov",
        anatomy_key: str = "anatomy",
        known_key: str = "known",
    ) -> None:
        super().__init__([image_key, fov_key, anatomy_key, known_key])
        self.cells = cells

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, fov, anatomy, known = (_plain(data[key]) for key in self.keys)
        share = adaptive_avg_pool2d(anatomy[None] / 255, self.cells)[0]
        unknown = ~known.bool().view(-1, 1, 1)
        maps = share.clamp(0, 1).sqrt().masked_fill(unknown, float("nan"))
        grade = torch.tensor([float(data["grade"]) / MOST_GRADE])
        traits = torch.cat([data["spoilt"], _light(image, fov), _place(anatomy, known), grade])
        dropped = (*self.keys[1:], "spoilt", "grade")
        kept = {key: value for key, value in data.items() if key not in dropped}
        return kept | {str(self.keys[0]): image, "maps": maps, "traits": traits.float()}


class DetectedStructuresd(Transform):
    """Draw detected and annotated structures as images: lesions and atrophy red, disc green, vessels blue.

    Args:
        size: side length of the images in pixels.

    Returns:
        The sample with ``located`` (from ``pred``) and ``annotated`` (from ``maps``), ``(3, size, size)`` in [-1, 1].
        Unknown structures are black.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        predicted, known = _plain(data["pred"]["maps"]).sigmoid(), _plain(data["maps"])
        return dict(data) | {"located": self._draw(predicted), "annotated": self._draw(known)}

    def _draw(self, maps: Tensor) -> Tensor:
        vessel, disc, *lesions = maps.float().nan_to_num(0)
        shown = torch.stack([torch.stack(lesions).amax(0), disc, vessel])
        return interpolate(shown[None], (self.size, self.size))[0] * 2 - 1


def _relight(image: Tensor, fov: Tensor, generator: np.random.Generator) -> Tensor:
    """Randomly change exposure and white balance, or leave them unchanged."""
    if generator.random() < UNTOUCHED:
        return image
    gains = generator.uniform(-GAIN, GAIN) + generator.uniform(-HUE, HUE, 3)
    shifted = shift_colour(image, torch.from_numpy(gains * generator.random()).float()).clamp(-1, 1)
    return torch.where(fov > 0, shifted, image)


def _erase_patch(
    image: Tensor, fov: Tensor, anatomy: Tensor, strength: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor, float]:
    """Erase a round patch. Its returned strength is its diameter as a fraction of the side."""
    if not strength:
        return image, anatomy, 0.0
    at, radius = generator.uniform(0.2, 0.8, 2), 0.05 + 0.2 * strength
    patches = [_round(side, at, radius) for side in (image.shape[-1], anatomy.shape[-1])]
    margin = max(1, round(image.shape[-1] / 128))
    return erase(image, fov, patches[0], 1.0, margin), anatomy * (1 - patches[1]), 2 * radius


def _round(side: int, at: np.ndarray, radius: float) -> Tensor:
    """Mask ``(1, side, side)`` of a circle. Centre and radius are fractions of the side."""
    step = (np.arange(side) + 0.5) / side
    inside = np.hypot(step[:, None] - at[0], step[None] - at[1]) <= radius
    return torch.from_numpy(inside[None].astype(np.float32))


def _light(image: Tensor, fov: Tensor) -> Tensor:
    """Channel means and standard deviations inside the field of view, and the brightness gradients right and down."""
    inside = fov > 0
    pixels = image[:, inside[0]]
    if not pixels.numel():
        return torch.full((len(LIGHT),), float("nan"))
    step = torch.linspace(-1, 1, image.shape[-1])
    brightness = (image.mean(0) + 1) * inside[0]
    total = brightness.sum().clamp_min(1e-6)
    tilt = torch.stack([(brightness * step).sum() / total, (brightness * step[:, None]).sum() / total])
    return torch.cat([pixels.mean(1), 2 * pixels.std(1), 4 * tilt])


def _place(anatomy: Tensor, known: Tensor) -> Tensor:
    """Disc centre relative to the image centre, right and down, in half sides; NaN if there is no disc left."""
    index = STRUCTURES.index("disc")
    disc = anatomy[index] / 255
    if not known[index] or disc.sum() < 1 or disc.max() < 0.5:
        return torch.full((2,), float("nan"))
    step = torch.linspace(-1, 1, disc.shape[-1])
    return torch.stack([(disc * step).sum() / disc.sum(), (disc * step[:, None]).sum() / disc.sum()])


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
