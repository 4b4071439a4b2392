from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.transforms.degradation import DEGRADATIONS, blur, degrade, inpaint, shift_colour

SIDE = 128


@pytest.fixture(scope="module")
def eye() -> dict[str, Tensor]:
    phantom = generate_phantom(3, SIDE)
    masks = {key: torch.from_numpy(phantom[key]).float() for key in ("fov", "vessel", "disc")}
    return masks | {"image": torch.from_numpy(phantom["image"]).float() / 127.5 - 1}


def spoilt(eye: dict[str, Tensor], kind: str, strength: float) -> Tensor:
    return degrade(eye["image"], eye["fov"], kind, strength, eye, np.random.default_rng(0))


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_strength_0_changes_nothing_and_more_changes_more(eye: dict[str, Tensor], kind: str) -> None:
    assert spoilt(eye, kind, 0) is eye["image"]
    changes = [(spoilt(eye, kind, strength) - eye["image"]).square().mean().item() for strength in (0.25, 0.5, 1)]
    assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_nothing_changes_outside_of_the_field_of_view_and_the_range_is_kept(eye: dict[str, Tensor], kind: str) -> None:
    image = spoilt(eye, kind, 1)
    outside = (eye["fov"] == 0).expand_as(image)
    assert torch.equal(image[outside], eye["image"][outside])
    assert image.min() >= -1 and image.max() <= 1


def test_blur_is_scipys() -> None:
    image = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))
    expected = np.stack([ndimage.gaussian_filter(channel, 2.0, mode="mirror", truncate=3) for channel in image.numpy()])
    torch.testing.assert_close(blur(image, 2.0), torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_the_rim_does_not_darken_when_a_photograph_is_blurred(eye: dict[str, Tensor]) -> None:
    flat = eye["fov"].expand(3, -1, -1) * 0.5 + (eye["fov"] - 1)
    image = degrade(flat, eye["fov"], "blur", 1.0)
    inside = (eye["fov"] > 0).expand_as(image)
    torch.testing.assert_close(image[inside], flat[inside], rtol=0, atol=1e-3)


def test_noise_has_the_deviation_that_it_says(eye: dict[str, Tensor]) -> None:
    grey = torch.zeros(3, SIDE, SIDE)
    image = degrade(grey, torch.ones(1, SIDE, SIDE), "noise", 0.5)
    assert image.std().item() == pytest.approx(0.1, rel=0.02) and abs(image.mean().item()) < 0.002


def test_colour_is_the_light_of_each_channel_by_a_factor() -> None:
    image = torch.tensor([-0.5, 0.0, 0.2]).view(3, 1, 1)
    shifted = shift_colour(image, torch.log(torch.tensor([2.0, 1.0, 0.5])))
    torch.testing.assert_close(shifted.flatten(), torch.tensor([0.0, 0.0, -0.4]))


def test_a_hole_in_a_smooth_picture_is_filled_with_what_was_there() -> None:
    ramp = torch.linspace(-0.5, 0.5, 64).expand(1, 64, 64)
    hole = torch.zeros(1, 64, 64)
    hole[:, 20:30, 20:30] = 1
    filled = inpaint(torch.where(hole > 0, torch.full_like(ramp, 9.0), ramp), hole, torch.ones(1, 64, 64))
    torch.testing.assert_close(filled, ramp, rtol=0, atol=0.06)
    assert torch.equal(filled[hole == 0], ramp[hole == 0])


def test_nothing_is_filled_from_outside_of_the_field_of_view() -> None:
    image, fov, hole = torch.zeros(1, 32, 32), torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)
    fov[:, 8:24, 8:24], hole[:, 8:16, 8:24] = 1, 1
    image[fov == 0] = 100.0
    assert inpaint(image, hole, fov)[hole > 0].abs().max() < 1e-5


def test_vessels_and_disc_are_gone(eye: dict[str, Tensor]) -> None:
    """The contrast of what is erased to what is beside it."""
    inside = eye["fov"] > 0
    vessel = (eye["vessel"] > 0) & inside & (eye["disc"] == 0)
    disc, ring = (eye["disc"] > 0) & inside, torch.nn.functional.max_pool2d(eye["disc"], 25, 1, 12) > 0

    def contrast(image: Tensor, region: Tensor, beside: Tensor) -> float:
        return (image[1][region[0]].mean() - image[1][(beside & ~region & inside)[0]].mean()).item()

    before, after = eye["image"], {kind: spoilt(eye, kind, 1) for kind in ("vessels", "disc")}
    assert abs(contrast(after["vessels"], vessel, inside)) < 0.35 * abs(contrast(before, vessel, inside))
    assert abs(contrast(after["disc"], disc, ring)) < 0.2 * abs(contrast(before, disc, ring))
    half = contrast(spoilt(eye, "vessels", 0.5), vessel, inside)
    assert abs(contrast(after["vessels"], vessel, inside)) < abs(half) < abs(contrast(before, vessel, inside))


def test_wrong_arguments(eye: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="kind must be one of blur, noise"):
        spoilt(eye, "rain", 1)
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\], got 1\.5"):
        spoilt(eye, "blur", 1.5)
    with pytest.raises(ValueError, match="vessels needs the mask vessel"):
        degrade(eye["image"], eye["fov"], "vessels", 0.5)
