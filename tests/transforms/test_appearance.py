"""Appearance: six numbers that are measured, given, and stay as they were given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from retina_monai.transforms import (
    CANONICAL,
    Appearance,
    CanonicalAppearanced,
    LikeAppearanced,
    MatchAppearance,
    apply_appearance,
    measure_appearance,
)
from retina_monai.transforms.field_of_view import circle

SIZE = 32
WANTED = Appearance(mean=(0.4, -0.4, -0.5), std=(0.15, 0.1, 0.05))


def photograph(seed: int = 0, size: int = SIZE) -> Tensor:
    """Noise whose red is well above its green, as in every photograph of an eye."""
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed))
    return 0.3 * noise + torch.tensor([0.1, -0.6, -0.9]).view(3, 1, 1)


def round_fov(size: int = SIZE) -> Tensor:
    return torch.from_numpy(circle(size))


def close(appearance: Appearance, wanted: Appearance, tolerance: float = 1e-5) -> bool:
    difference = np.subtract([appearance.mean, appearance.std], [wanted.mean, wanted.std])
    return bool(np.abs(difference).max() < tolerance)


def test_measuring_is_mean_and_population_deviation_inside() -> None:
    image, fov = photograph(), round_fov()
    inside = image.numpy()[:, fov.numpy()[0].astype(bool)]
    measured = measure_appearance(image, fov)
    np.testing.assert_allclose(measured.mean, inside.mean(1), atol=1e-6)
    np.testing.assert_allclose(measured.std, inside.std(1, ddof=0), atol=1e-6)
    assert measured == measure_appearance(image, fov.bool())


def test_outside_does_not_count() -> None:
    image, fov = photograph(), round_fov()
    assert close(measure_appearance(image.masked_fill(fov == 0, 55.0), fov), measure_appearance(image, fov), 1e-7)


def test_a_known_value() -> None:
    image = torch.tensor([[0.5, -0.5, 0.9, 0.9], [0.1, 0.3, 0.9, 0.9]]).view(2, 1, 4)
    measured = measure_appearance(image, torch.tensor([1, 1, 0, 0]).view(1, 1, 4))
    assert measured.mean == pytest.approx((0.0, 0.2)) and measured.std == pytest.approx((0.5, 0.1))


def test_what_is_given_is_what_is_measured_and_outside_is_black() -> None:
    image, fov = photograph(), round_fov()
    result = apply_appearance(image, fov, WANTED)
    assert result.shape == image.shape and result.abs().max() <= 1
    assert close(measure_appearance(result, fov), WANTED)
    assert bool((result[:, fov[0] == 0] == -1).all())


def test_giving_it_twice_changes_nothing() -> None:
    image, fov = photograph(), round_fov()
    once = apply_appearance(image, fov, WANTED)
    torch.testing.assert_close(apply_appearance(once, fov, WANTED), once, atol=1e-6, rtol=0)


def test_its_own_appearance_leaves_a_photograph_as_it_is() -> None:
    image, fov = photograph(), round_fov()
    result = apply_appearance(image, fov, measure_appearance(image, fov))
    torch.testing.assert_close(result[:, fov[0] == 1], image[:, fov[0] == 1], atol=1e-5, rtol=0)


def test_what_would_leave_the_range_is_clipped() -> None:
    glaring = apply_appearance(photograph(), round_fov(), Appearance((0.9, 0.0, -0.9), (0.5, 3.0, 0.5)))
    assert glaring.min() == -1 and glaring.max() == 1


def test_red_follows_what_is_bright_in_green_up_to_saturation() -> None:
    orange = Appearance((0.2, -0.4, -0.8), (0.05, 0.3, 0.1))
    image, fov = photograph(), round_fov()
    result = apply_appearance(image, fov, orange)
    plain = MatchAppearance(orange.mean, orange.std)(image[None], fov[None])[0].clamp(-1, 1)
    share = 1.6 * 0.3 / 0.6
    needed = ((plain[1] + 1) / share - 1).clamp(max=1)
    assert 0.05 < (plain[0] < needed).float().mean() < 0.5
    torch.testing.assert_close(result, torch.stack([torch.maximum(plain[0], needed), plain[1], plain[2]]))
    other = apply_appearance(image[:2], fov, Appearance(orange.mean[:2], orange.std[:2]))
    torch.testing.assert_close(other, plain[:2])


def test_no_pixel_is_greener_than_it_is_red() -> None:
    yellow = Appearance((0.0, 0.0, -0.5), (0.1, 0.3, 0.1))
    result = apply_appearance(photograph(), round_fov(), yellow)
    assert (result[0] >= result[1]).all()


def test_a_flat_channel_gets_the_mean_and_stays_flat() -> None:
    image, fov = photograph(), round_fov()
    image[1] = 0.3
    result = apply_appearance(image, fov, WANTED)
    inside = result[1, fov[0] == 1]
    assert bool(inside.isfinite().all())
    assert inside.mean().item() == pytest.approx(WANTED.mean[1], abs=1e-3) and inside.std() < 1e-3


def test_a_batch_is_each_of_its_photographs() -> None:
    images = torch.stack([photograph(0), photograph(1)])
    fovs = torch.stack([round_fov(), torch.ones_like(round_fov())])
    batch = apply_appearance(images, fovs, WANTED)
    for index in range(2):
        torch.testing.assert_close(batch[index], apply_appearance(images[index], fovs[index], WANTED))


def test_an_empty_field_of_view_is_refused_also_in_a_batch() -> None:
    image, empty = photograph(), torch.zeros(1, SIZE, SIZE)
    with pytest.raises(ValueError, match="the field of view is empty"):
        measure_appearance(image, empty)
    with pytest.raises(ValueError, match="the field of view is empty"):
        apply_appearance(image, empty, WANTED)
    with pytest.raises(ValueError, match="the field of view is empty"):
        apply_appearance(torch.stack([image, image]), torch.stack([round_fov().float(), empty]), WANTED)


def test_an_appearance_of_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="an appearance of 3 channels for an image of 1"):
        apply_appearance(photograph()[:1], round_fov(), WANTED)


def test_for_losses_the_same_without_clipping_and_with_finite_gradients() -> None:
    images, fovs = torch.stack([photograph(0), torch.zeros(3, SIZE, SIZE)]).requires_grad_(), round_fov()[None]
    fovs = fovs.expand(2, -1, -1, -1)
    matched = MatchAppearance(WANTED.mean, WANTED.std)(images, fovs)
    torch.testing.assert_close(matched[0], apply_appearance(images[0], fovs[0], WANTED))
    wide = MatchAppearance((0.9, 0.9, 0.9), (1.0, 1.0, 1.0))(images, fovs)
    assert wide.max() > 1
    (gradient,) = torch.autograd.grad(matched.square().sum() + wide.square().sum(), images)
    assert bool(gradient.isfinite().all()) and gradient[0].abs().max() > 0


def test_canonical_appearance_as_a_transform() -> None:
    data = {"image": photograph(), "other": photograph(1), "fov": round_fov(), "name": "eye"}
    result = CanonicalAppearanced(["image"])(data)
    assert torch.equal(result["image"], apply_appearance(photograph(), round_fov(), CANONICAL))
    assert torch.equal(data["image"], photograph())
    assert result["other"] is data["other"] and result["fov"] is data["fov"] and result["name"] == "eye"
    chosen = CanonicalAppearanced("other", mean=WANTED.mean, std=WANTED.std)(data)
    assert close(measure_appearance(chosen["other"], round_fov()), WANTED)


def test_the_appearance_of_another_picture_as_a_transform() -> None:
    real, fov = apply_appearance(photograph(3), round_fov(), WANTED), round_fov()
    data = {"pred": photograph(), "photograph": real, "mask": fov}
    result = LikeAppearanced("pred", reference_key="photograph", fov_key="mask")(data)
    assert close(measure_appearance(result["pred"], fov), WANTED)
    assert bool((result["pred"][:, fov[0] == 0] == -1).all())
    assert result["photograph"] is real and torch.equal(data["pred"], photograph())


def test_what_monai_hands_over_is_taken() -> None:
    image = MetaTensor(photograph())
    result = apply_appearance(image, MetaTensor(round_fov().float()), WANTED)
    assert torch.equal(torch.as_tensor(result), apply_appearance(photograph(), round_fov(), WANTED))
