"""Degradations of photographs at any strength, for training an encoder and for testing metrics.

They imitate faults of generated photographs. All act on a photograph ``(3, S, S)`` in [-1, 1] inside its field of view.
Lengths are given for a side of 256 pixels and scale with the size of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, pad

__all__ = ["DEGRADATIONS", "Degradation", "blur", "degrade", "erase", "inpaint", "shift_colour"]

SIDE = 256
WIDEST_BLUR = 3.0  # standard deviation in pixels at strength 1
COARSEST_GRAIN = 0.2  # standard deviation on the [-1, 1] scale at strength 1
STRONGEST_SHIFT = 0.5  # change of a channel's log intensity at strength 1
STRONGEST_PATTERN = 0.15  # fraction of the intensity at strength 1
PALE = (-1.0, 0.5, 1.0)  # direction of the colour shift: less red, more green and blue
VESSEL, DISC = "vessel", "disc"


@dataclass(frozen=True)
class Degradation:
    """A kind of degradation.

    Attributes:
        name: name of the degradation.
        apply: function from ``(image, fov, masks, strength, generator)`` to an image.
        needs: name of the required mask, or empty.
    """

    name: str
    apply: Callable[[Tensor, Tensor, Mapping[str, Tensor], float, np.random.Generator], Tensor]
    needs: str = ""


def degrade(
    image: Tensor,
    fov: Tensor,
    kind: str,
    strength: float,
    masks: Mapping[str, Tensor] | None = None,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Degrade a photograph in one of the ways of ``DEGRADATIONS``.

    Args:
        image: photograph ``(3, S, S)`` in [-1, 1].
        fov: field of view ``(1, S, S)`` in {0, 1}.
        kind: name of the degradation.
        strength: strength in [0, 1]; 0 changes nothing.
        masks: ``vessel`` and ``disc``, ``(1, S, S)`` in [0, 1], for degradations that need them.
        generator: generator of noise, or ``None`` for one with seed 0.

    Returns:
        Image of the same shape in [-1, 1], unchanged outside the field of view.

    Raises:
        ValueError: if the kind is unknown, the strength is outside [0, 1], or a required mask is missing.
    """
    if kind not in DEGRADATIONS:
        raise ValueError(f"kind must be one of {', '.join(DEGRADATIONS)}, got {kind!r}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], got {strength}")
    degradation = DEGRADATIONS[kind]
    if degradation.needs and degradation.needs not in (masks or {}):
        raise ValueError(f"{kind} needs the mask {degradation.needs}")
    if strength == 0:
        return image
    degraded = degradation.apply(image, fov, masks or {}, strength, generator or np.random.default_rng(0))
    return torch.where(fov > 0, degraded.clamp(-1, 1), image)


def blur(image: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of ``(C, H, W)`` with reflected borders."""
    reach = max(1, int(np.ceil(3 * deviation)))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (at / max(deviation, 1e-6)) ** 2)
    kernel = (kernel / kernel.sum()).to(image)
    rows = conv2d(pad(image[:, None], [0, 0, reach, reach], "reflect"), kernel[None, None, :, None])
    return conv2d(pad(rows, [reach, reach, 0, 0], "reflect"), kernel[None, None, None])[:, 0]


def shift_colour(image: Tensor, gains: Tensor) -> Tensor:
    """Multiply the intensity of each channel by ``exp(gains)``."""
    return (image + 1) * gains.to(image).exp().view(-1, 1, 1) - 1


def inpaint(image: Tensor, hole: Tensor, fov: Tensor) -> Tensor:
    """Fill a hole smoothly from its surroundings by push-pull (Gortler et al., The Lumigraph, SIGGRAPH 1996, 3.4.2).

    Args:
        image: image ``(C, S, S)``.
        hole: mask ``(1, S, S)`` of the hole, above 0 inside.
        fov: field of view ``(1, S, S)`` in {0, 1}, outside which pixels are not used.

    Returns:
        Image of the same shape, unchanged outside the hole.
    """
    known = ((hole <= 0) & (fov > 0)).to(image)
    filled = _push_pull((image * known)[None], known[None])[0]
    return torch.where(hole > 0, filled, image)


def erase(image: Tensor, fov: Tensor, mask: Tensor, share: float, margin: int) -> Tensor:
    """Fade the masked region into its surroundings.

    Args:
        image: photograph ``(3, S, S)`` in [-1, 1].
        fov: field of view ``(1, S, S)`` in {0, 1}.
        mask: mask ``(1, S, S)`` in [0, 1].
        share: strength of the fading in [0, 1].
        margin: width in pixels by which the mask is dilated.
    """
    hole = max_pool2d((mask > 0.02).to(image)[None], 2 * margin + 1, 1, margin)[0]
    soft = blur(hole, max(0.7, margin / 2)) * hole if margin > 2 else hole
    return image + share * soft * (inpaint(image, hole, fov) - image)


def _push_pull(weighted: Tensor, weight: Tensor) -> Tensor:
    """Keep values with positive weight and interpolate the others from the next coarser level."""
    own = weighted / weight.clamp_min(1e-6)
    if min(weight.shape[-2:]) < 2 or bool((weight > 0).all()):
        return own
    coarse = _push_pull(avg_pool2d(weighted, 2, ceil_mode=True), avg_pool2d(weight, 2, ceil_mode=True))
    return torch.where(weight > 0, own, interpolate(coarse, weight.shape[-2:], mode="bilinear", align_corners=False))


def _scale(image: Tensor) -> float:
    return image.shape[-1] / SIDE


def _normal(shape: tuple[int, ...], generator: np.random.Generator) -> Tensor:
    return torch.from_numpy(generator.standard_normal(shape, np.float32))


def _blurred(
    image: Tensor, fov: Tensor, masks: Mapping[str, Tensor], strength: float, generator: np.random.Generator
) -> Tensor:
    known = blur(fov.to(image), strength * WIDEST_BLUR * _scale(image)).clamp_min(1e-3)
    return blur((image + 1) * fov, strength * WIDEST_BLUR * _scale(image)) / known - 1


def _grainy(
    image: Tensor, fov: Tensor, masks: Mapping[str, Tensor], strength: float, generator: np.random.Generator
) -> Tensor:
    return image + strength * COARSEST_GRAIN * _normal(tuple(image.shape), generator).to(image)


def _pale(
    image: Tensor, fov: Tensor, masks: Mapping[str, Tensor], strength: float, generator: np.random.Generator
) -> Tensor:
    return shift_colour(image, strength * STRONGEST_SHIFT * torch.tensor(PALE))


def _patterned(
    image: Tensor, fov: Tensor, masks: Mapping[str, Tensor], strength: float, generator: np.random.Generator
) -> Tensor:
    """Add a checkerboard, the artefact of transposed convolutions."""
    at = torch.arange(image.shape[-1], device=image.device)
    board = ((at[:, None] + at[None]) % 2 * 2 - 1).to(image)
    return (image + 1) * (1 + strength * STRONGEST_PATTERN * board) - 1


def _without_vessels(
    image: Tensor, fov: Tensor, masks: Mapping[str, Tensor], strength: float, generator: np.random.Generator
) -> Tensor:
    return erase(image, fov, masks[VESSEL], strength, max(1, round(_scale(image))))


def _without_disc(
    image: Tensor, fov: Tensor, masks: Mapping[str, Tensor], strength: float, generator: np.random.Generator
) -> Tensor:
    return erase(image, fov, masks[DISC], strength, max(1, round(6 * _scale(image))))


DEGRADATIONS = {
    degradation.name: degradation
    for degradation in (
        Degradation("blur", _blurred),
        Degradation("noise", _grainy),
        Degradation("colour", _pale),
        Degradation("pattern", _patterned),
        Degradation("vessels", _without_vessels, VESSEL),
        Degradation("disc", _without_disc, DISC),
    )
}
"""Degradations by name: blur, noise, colour shift, checkerboard, removal of vessels and removal of the disc."""
