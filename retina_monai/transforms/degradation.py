"""What can be wrong with a generated photograph, at any strength: to teach an encoder by, and to test a metric with.

All act on a photograph ``(3, S, S)`` in [-1, 1], inside its field of view. Lengths are for 256 pixels a side and grow
with the picture.
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
WIDEST_BLUR = 3.0  # standard deviation in pixels of strength 1
COARSEST_GRAIN = 0.2  # standard deviation on the scale of [-1, 1]
STRONGEST_SHIFT = 0.5  # of the logarithm of a channel's light
STRONGEST_PATTERN = 0.15  # share of the light
PALE = (-1.0, 0.5, 1.0)  # direction of the shift: less red, more green and blue
VESSEL, DISC = "vessel", "disc"


@dataclass(frozen=True)
class Degradation:
    """One way in which a photograph is wrong.

    Attributes:
        name: of it.
        apply: ``(image, fov, masks, strength, generator)`` -> image.
        needs: the mask without which it cannot be done; empty for none.
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
    """Spoil a photograph in one of the ways of ``DEGRADATIONS``.

    Args:
        image: ``(3, S, S)`` in [-1, 1].
        fov: ``(1, S, S)`` in {0, 1}.
        kind: name of the way.
        strength: from 0, which changes nothing, to 1.
        masks: ``vessel`` and ``disc``, ``(1, S, S)`` in [0, 1], for those that need them.
        generator: of noise; ``None``: one with the seed 0.

    Returns:
        Of the image's shape, in [-1, 1], unchanged outside of the field of view.

    Raises:
        ValueError: no such way, a strength outside of [0, 1], or a mask that is needed is not there.
    """
    if kind not in DEGRADATIONS:
        raise ValueError(f"kind must be one of {', '.join(DEGRADATIONS)}, not {kind!r}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be from 0 to 1, not {strength}")
    way = DEGRADATIONS[kind]
    if way.needs and way.needs not in (masks or {}):
        raise ValueError(f"{kind} needs the mask {way.needs}")
    if strength == 0:
        return image
    spoilt = way.apply(image, fov, masks or {}, strength, generator or np.random.default_rng(0))
    return torch.where(fov > 0, spoilt.clamp(-1, 1), image)


def blur(image: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of ``(C, H, W)``; the border is mirrored."""
    reach = max(1, int(np.ceil(3 * deviation)))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (at / max(deviation, 1e-6)) ** 2)
    kernel = (kernel / kernel.sum()).to(image)
    rows = conv2d(pad(image[:, None], [0, 0, reach, reach], "reflect"), kernel[None, None, :, None])
    return conv2d(pad(rows, [reach, reach, 0, 0], "reflect"), kernel[None, None, None])[:, 0]


def shift_colour(image: Tensor, gains: Tensor) -> Tensor:
    """Multiply the light of each channel by ``exp(gains)``."""
    return (image + 1) * gains.to(image).exp().view(-1, 1, 1) - 1


def inpaint(image: Tensor, hole: Tensor, fov: Tensor) -> Tensor:
    """Fill a hole smoothly from around it: push-pull (Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4.2).

    Args:
        image: ``(C, S, S)``.
        hole: ``(1, S, S)``, above 0 where the picture is not to be seen.
        fov: ``(1, S, S)`` in {0, 1}; nothing is taken from outside of it.

    Returns:
        Of the image's shape; unchanged outside of the hole.
    """
    known = ((hole <= 0) & (fov > 0)).to(image)
    filled = _push_pull((image * known)[None], known[None])[0]
    return torch.where(hole > 0, filled, image)


def erase(image: Tensor, fov: Tensor, mask: Tensor, share: float, margin: int) -> Tensor:
    """Let what a mask covers fade into its surroundings.

    Args:
        image: ``(3, S, S)`` in [-1, 1].
        fov: ``(1, S, S)`` in {0, 1}.
        mask: ``(1, S, S)`` in [0, 1].
        share: how much of it goes, from 0 to 1.
        margin: pixels around the mask that go with it.
    """
    hole = max_pool2d((mask > 0.02).to(image)[None], 2 * margin + 1, 1, margin)[0]
    soft = blur(hole, max(0.7, margin / 2)) * hole if margin > 2 else hole
    return image + share * soft * (inpaint(image, hole, fov) - image)


def _push_pull(weighted: Tensor, weight: Tensor) -> Tensor:
    """Values whose weight is above 0 stay, the others come from the next coarser level."""
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
    """The checkerboard that transposed convolutions leave."""
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
    way.name: way
    for way in (
        Degradation("blur", _blurred),
        Degradation("noise", _grainy),
        Degradation("colour", _pale),
        Degradation("pattern", _patterned),
        Degradation("vessels", _without_vessels, VESSEL),
        Degradation("disc", _without_disc, DISC),
    )
}
"""By name: blurred, noisy, in another colour, with a checkerboard, without vessels, without disc."""
